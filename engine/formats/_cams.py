"""Between the `CamStack` and the dictionaries of maps that other tools keep per image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import UserError
from engine.formats._files import check_stem, listed, portability, root_of
from engine.formats._format import Incoming
from engine.formats._masks import Sizes
from engine.names import MAX_CLASSES
from engine.results import CamStack

__all__ = ["list_stacks", "stack_of", "write_dictionaries"]


def write_dictionaries(
    folder: Path, stacks: Iterable[CamStack], content: Callable[[CamStack], dict[Any, Any]]
) -> list[str]:
    """Write <image>.npy for each stack, a dictionary pickled by numpy; return what was lost."""
    stems, scored = [], 0
    for stack in stacks:
        np.save(folder / f"{check_stem(stack.image)}.npy", np.array(content(stack), dtype=object))
        stems.append(stack.image)
        scored += stack.background is not None
    lost = portability(stems)
    if scored:
        lost.append(f"The background score of {scored} image(s): only the maps of the classes are written.")
    return lost


def list_stacks(
    folder: Path,
    images: Sizes,
    accepted: str,
    read: Callable[[str, Path], CamStack],
) -> Incoming:
    """List the .npy files of known images; each is read as it is drawn."""
    files, notes = listed(root_of(folder, accepted), ".npy", images, accepted)

    def items() -> Iterator[CamStack]:
        for stem, path in files.items():
            yield read(stem, path)

    return Incoming(tuple(files), items(), notes)


def stack_of(
    stem: str,
    path: Path,
    size: tuple[int, int],
    found: Sequence[Any],
    maps: Sequence[Any],
    n_classes: int,
    accepted: str,
    *,
    cell: float = 1.0,
    origin: float = 0.0,
) -> CamStack:
    """Return the stack of maps that a file held, each checked.

    Values above 1 are divided by the map's maximum, which becomes its peak; the others are
    kept as they are, so that thresholds mean what they meant. The classifier's scores are
    not in such files: they are 1 for the classes that have a map and 0 for the others.

    Args:
        stem, path, size: The image, its file of maps, (H, W) in px.
        found: Class index (0-based) of each map.
        maps: `[h, w]` float each, all of one shape.
        n_classes: Classes of the project.
        accepted: For the messages.
        cell, origin: Geometry of the maps, as in `CamStack`.

    Raises:
        UserError: A class is unknown or there twice, a map is no picture of finite numbers
            or has another size.
    """

    def refuse(what: str, todo: str = "") -> UserError:
        return UserError(f"{path} {what}.", accepted, todo)

    if len(found) > MAX_CLASSES or len(found) != len(maps):
        raise refuse(f"names {len(found)} classes and holds {len(maps)} maps")
    for c in found:
        if isinstance(c, bool) or not isinstance(c, (int, np.integer)) or not 0 <= c < n_classes:
            raise refuse(
                f"has a map of class {c!r}, and the project has the classes 0 to {n_classes - 1}",
                "The indexes count the project's classes from 0, without the background.",
            )
    if len({int(c) for c in found}) != len(found):
        raise refuse("has two maps of one class")
    height, width = size
    shape = (-(-height // round(cell)), -(-width // round(cell)))
    made = np.zeros((len(maps), *shape), np.float16)
    peaks = np.ones(len(maps), np.float32)
    order = np.argsort(np.array(found, np.int64), kind="stable")
    for place, k in enumerate(order):
        one = maps[k]
        if not isinstance(one, np.ndarray):
            raise refuse(f"has a {type(one).__name__} in place of a map")
        if one.dtype.kind != "f" or one.shape != shape:
            raise refuse(
                f"has a map of {list(one.shape)} {one.dtype} for an image of {height} x {width} px",
                "Check that the maps were made for this image.",
            )
        if not np.isfinite(one).all():
            raise refuse("has a map with numbers that are not finite")
        top = float(one.max(initial=0))
        if top > 1 + 1e-3:
            peaks[place] = top
            one = one / top
        made[place] = np.clip(one, 0, 1)
    return CamStack(
        image=stem,
        size=(height, width),
        classes=tuple(int(found[k]) for k in order),
        maps=made,
        peaks=peaks,
        cell=cell,
        origin=origin,
        scores=np.isin(np.arange(n_classes), found).astype(np.float32),
        facts={"imported": path.name, "scores": "1 where the file has a map"},
    )
