"""What a format is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Format", "Incoming", "Labelled"]


class Labelled(NamedTuple):
    """One image to export.

    Attributes:
        stem: Name of the image.
        image: Its file.
        mask: `[H, W]` uint8 (0, class + 1, 255 unsure).
        instances: `[H, W]` uint16, number of the object that a pixel belongs to, 0 where none is
            known; pixels with one number have one class in the mask. None where nobody found objects.
    """

    stem: str
    image: Path
    mask: NDArray[np.uint8]
    instances: NDArray[np.uint16] | None = None


@dataclass(frozen=True)
class Incoming:
    """What a reader found; the files are read one by one as `items` is drawn.

    Args:
        stems: The images that will come, in order.
        items: (stem, mask `[H, W]` uint8 in the project's indexes), or `CamStack`s.
        notes: What was left aside or taken otherwise, one sentence each.
    """

    stems: tuple[str, ...]
    items: Iterator[Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """A way to lay a dataset on disk.

    Args:
        name: As `--format` takes it.
        title: For people, with the programs that read it.
        holds: One sentence: what a folder of it holds.
        loses: What every folder of it lacks; `write` returns what else was lost.
        kind: Whether it holds masks or class activation maps.
        write: Fills an empty folder and returns what was lost, one sentence each.
            masks: `write(folder, items: Iterable[Labelled], classes, colours, splits)`
            with the class names, their `#RRGGBB` and split name -> stems; `options=` beside
            them where the format has any.
            cams: `write(folder, stacks: Iterable[CamStack], tensor)` with a function from
            an array to a torch tensor, or None.
        read: Lists a folder and returns an `Incoming`.
            masks: `read(folder, images, classes)` with stem -> (H, W) of the upright image
            and the project's class names.
            cams: `read(folder, images, classes, load_storage)` with a function from the
            bytes of a saved torch storage to a 1-D array, or None.
            Both raise UserError with the name of the file that cannot be taken.
        options: Class of what can be chosen of the writing (see `engine.params`), None for nothing.
            The writer has its defaults.
        objects: Whether the writer makes use of `Labelled.instances`.
    """

    name: str
    title: str
    holds: str
    loses: tuple[str, ...]
    kind: Literal["masks", "cams"]
    write: Callable[..., list[str]]
    read: Callable[..., Incoming]
    options: type[Any] | None = None
    objects: bool = False
