"""Maps as IRN and AdvCAM keep them: <image>.npy with the dictionary keys, cam, high_res.

`keys` are the classes from 0 (torch int64 [K]), `cam` the maps at a quarter of the image
(torch float32 [K, ceil(H/4), ceil(W/4)]), `high_res` at image size (numpy float32 [K, H, W]).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.formats._cams import list_stacks, stack_of, write_dictionaries
from engine.formats._dictionaries import LoadStorage, read_dictionary
from engine.formats._format import Format, Incoming
from engine.formats._masks import Sizes
from engine.results import CamStack, enlarge

__all__ = ["FORMAT", "read", "write"]

_ACCEPTED = (
    "A folder of <image>.npy, each a dictionary of keys, cam and high_res saved by numpy, as IRN writes it."
)
# IRN's quarter maps are resized without aligned corners: cell 0 covers the pixels 0..3.
_CELL, _ORIGIN = 4, 1.5


def write(
    folder: Path, stacks: Iterable[CamStack], tensor: Callable[[NDArray[Any]], Any] | None = None
) -> list[str]:
    """Fill the folder with <image>.npy; see `Format.write`."""

    def content(stack: CamStack) -> dict[str, Any]:
        height, width = stack.size
        small = enlarge(
            stack.maps,
            (-(-height // _CELL), -(-width // _CELL)),
            stack.cell / _CELL,
            (stack.origin - _ORIGIN) / _CELL,
        )
        keys = np.array(stack.classes, np.int64)
        return {
            "keys": keys if tensor is None else tensor(keys),
            "cam": small if tensor is None else tensor(small),
            "high_res": stack.full(),
        }

    lost = write_dictionaries(folder, stacks, content)
    if tensor is None:
        lost.append(
            "keys and cam are numpy arrays instead of torch tensors: IRN's own code converts them first."
        )
    return lost


def read(
    folder: Path, images: Sizes, classes: Sequence[str], load_storage: LoadStorage | None = None
) -> Incoming:
    """List the maps of a folder; see `Format.read`. high_res is taken, cam where it is missing."""

    def one(stem: str, path: Path) -> CamStack:
        held = read_dictionary(path, _ACCEPTED, load_storage)
        keys, fine, coarse = (held.get(name) for name in ("keys", "high_res", "cam"))
        maps = coarse if fine is None else fine
        if (
            not isinstance(keys, np.ndarray)
            or keys.ndim != 1
            or not isinstance(maps, np.ndarray)
            or maps.ndim != 3
        ):
            raise UserError(
                f"{path} holds {sorted(map(str, held))[:5]}, not keys, cam and high_res.", _ACCEPTED
            )
        place = {"cell": float(_CELL), "origin": _ORIGIN} if fine is None else {}
        return stack_of(stem, path, images[stem], list(keys), list(maps), len(classes), _ACCEPTED, **place)

    return list_stacks(folder, images, _ACCEPTED, one)


FORMAT = Format(
    name="irn-cam",
    title="Class activation maps as IRN and AdvCAM keep them",
    holds="<image>.npy, a pickled dictionary of keys, cam (quarter size) and high_res (image size).",
    loses=(
        "Each map's peak before normalisation, and the classifier's scores.",
        "The maps at feature resolution: they are resized to a quarter and to the whole image.",
        "Class names: only their indexes are kept.",
    ),
    kind="cams",
    write=write,
    read=read,
)
