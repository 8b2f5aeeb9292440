"""Maps as PSA, SC-CAM and SEAM keep them: <image>.npy with {class from 0: float32 [H, W]}."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.formats._cams import list_stacks, stack_of, write_dictionaries
from engine.formats._dictionaries import LoadStorage, read_dictionary
from engine.formats._format import Format, Incoming
from engine.formats._masks import Sizes
from engine.results import CamStack

__all__ = ["FORMAT", "read", "write"]

_ACCEPTED = "A folder of <image>.npy, each a dictionary {class from 0: float32 [H, W]} saved by numpy."


def write(folder: Path, stacks: Iterable[CamStack], tensor: Any = None) -> list[str]:
    """Fill the folder with <image>.npy; see `Format.write`. The repositories use numpy arrays here."""
    del tensor
    return write_dictionaries(
        folder, stacks, lambda stack: dict(zip(stack.classes, stack.full(), strict=True))
    )


def read(
    folder: Path, images: Sizes, classes: Sequence[str], load_storage: LoadStorage | None = None
) -> Incoming:
    """List the maps of a folder; see `Format.read`."""
    del load_storage

    def one(stem: str, path: Path) -> CamStack:
        held = read_dictionary(path, _ACCEPTED)
        return stack_of(stem, path, images[stem], list(held), list(held.values()), len(classes), _ACCEPTED)

    return list_stacks(folder, images, _ACCEPTED, one)


FORMAT = Format(
    name="psa-cam",
    title="Class activation maps as PSA, SC-CAM and SEAM keep them",
    holds="<image>.npy, a pickled dictionary of maps at image size by class index from 0.",
    loses=(
        "Each map's peak before normalisation, and the classifier's scores.",
        "The maps at feature resolution: they are enlarged to the image.",
        "Class names: only their indexes are kept.",
    ),
    kind="cams",
    write=write,
    read=read,
)
