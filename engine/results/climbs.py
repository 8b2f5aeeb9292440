"""One adversarial climb, kept step by step in memory-mapped files that grow while it climbs.

A trace is a folder `<class>` or `<class>.<n>` (class: 0-based index) inside `<views>/<image>/climb/`:

    trace.json          facts; `rows` counts what is written, and is written after it
    maps.npy            [n, h, w] float16, attribution R^t, raw
    masks.npy           [n, h, w] uint8, 1 restricting mask M, 2 background D, 3 both
    scores.npy          [n, C] float32, pooled scores y_k of all classes
    penalties.npy       [n, 2] float32, lambda-weighted penalty inside M, and on the rest of D
    pictures.npy        [n, F, 3, H, W] float16, x^t - x^0 in grey levels, upright then mirrored
    saliency.npy        [n, H, W] uint8, |dy_c/dx^t|, greatest of the channels, 255 at its maximum

The last two are there only when pictures were kept; their H and W are those of the climbed
picture. Files are made at their full length and sparse, so an array is written once and never
moved, and the window maps it while it grows. Going on from a step, with the same settings or
with others, makes a new trace that names its `parent` and the step `at` which it leaves it;
nothing is changed in place.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.atomic import write_json
from engine.errors import UserError
from engine.names import quote, stem_fault

__all__ = ["ENDINGS", "MOST_CELLS", "ClimbTrace", "TraceWriter", "free_id", "is_id", "remove", "unfit"]

ENDINGS = ("", "finished", "stopped", "plateau")
# Half a GiB of float16: more steps times cells than this is no climb, and would fill the memory.
MOST_CELLS = 1 << 28
_NAME = re.compile(r"[0-9]{1,3}(\.[0-9]{1,5})?")
_MOST_FACTS = 1 << 20
_MOST_STEPS = 1 << 16
_MOST_IN_A_PICTURE = 1 << 28
_DTYPES: dict[str, Any] = {
    "maps": np.float16,
    "masks": np.uint8,
    "scores": np.float32,
    "penalties": np.float32,
    "pictures": np.float16,
    "saliency": np.uint8,
}
_ALWAYS = ("maps", "masks", "scores", "penalties")
# What a forged header raises in numpy, which reads it as Python text.
_DAMAGED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    SyntaxError,
    EOFError,
    RecursionError,
    TokenError,
)


@dataclass(frozen=True, eq=False)
class ClimbTrace:
    """What one climb wrote so far; arrays are read-only maps of its files.

    Attributes:
        folder: Where it lies; its name is the trace's id.
        image: Stem of the image.
        cls: 0-based class whose score is climbed.
        size: (H, W) of the upright image in px.
        picture_size: (H, W) of the climbed picture in px: `size` times the climbed scale.
        cell: Side of one map cell in px of the image.
        origin: Pixel of the image on which cell 0 is centred.
        first: Step of row 0: 0 for a climb from the photograph, `at + 1` for a branch.
        planned: The step that would be its last, as it was asked for.
        rows: Rows that are written.
        parent: Id of the trace that it branched from, or None.
        at: Step of the parent from which it goes on (0 without one).
        ending: "" while it climbs, then "finished", "stopped" or "plateau".
        settings: Every setting of the climb.
        facts: The whole of trace.json.
    """

    folder: Path
    image: str
    cls: int
    size: tuple[int, int]
    picture_size: tuple[int, int]
    cell: float
    origin: float
    first: int
    planned: int
    rows: int
    parent: str | None
    at: int
    ending: str
    settings: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict, repr=False)

    KIND = "climb"

    @property
    def id(self) -> str:
        """The name that `--trace` takes."""
        return self.folder.name

    @property
    def last(self) -> int:
        """The last step that is written."""
        return self.first + self.rows - 1

    @property
    def has_pictures(self) -> bool:
        """Whether the perturbed pictures and the saliency were kept, so that one can go on from any step."""
        return "pictures" in self.facts["shapes"] and (self.folder / "pictures.npy").is_file()

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w), cells of the maps."""
        _, h, w = self.facts["shapes"]["maps"]
        return int(h), int(w)

    def array(self, name: str) -> NDArray[Any]:
        """Return the rows written of `maps`, `masks`, `scores`, `penalties`, `pictures` or `saliency`.

        Raises:
            UserError: The file is missing, damaged, or of another shape than the facts say.
        """
        path = self.folder / f"{name}.npy"
        try:
            wanted = tuple(self.facts["shapes"][name])
            if not path.is_file():
                raise ValueError("there is no such file")
            mapped = np.lib.format.open_memmap(path, mode="r")
            if mapped.dtype != _DTYPES[name] or mapped.shape != wanted:
                raise ValueError(
                    f"{mapped.dtype} {mapped.shape} instead of {_DTYPES[name].__name__} {wanted}"
                )
        except _DAMAGED as error:
            raise _damaged(self.folder, f"{path.name}: {error}") from None
        rows: NDArray[Any] = mapped[: self.rows]
        return rows

    def reread(self) -> ClimbTrace:
        """Return the trace as it stands on disk now."""
        return ClimbTrace.load(self.folder)

    @classmethod
    def load(cls, folder: Path) -> ClimbTrace:
        """Read a trace.

        Raises:
            FileNotFoundError: There is none.
            UserError: It is damaged.
        """
        path = folder / "trace.json"
        try:
            if path.exists() and not path.is_file():
                raise ValueError("trace.json is no file")  # a pipe would block for ever
            with path.open("rb") as file:
                text = file.read(_MOST_FACTS + 1)
            if len(text) > _MOST_FACTS:
                raise ValueError("trace.json is too long")
            facts = json.loads(text)
            found = _read(folder, facts)
            _check(found)
            return found
        except FileNotFoundError:
            raise
        except _DAMAGED as error:
            raise _damaged(folder, str(error) or type(error).__name__) from None


class TraceWriter:
    """Makes a trace and fills it row by row.

    Args:
        folder: Where; it must not exist.
        rows: The most rows that there will be.
        arrays: Name -> shape of one row, of the names in the module's docstring.
        facts: image, class, size, picture_size, cell, origin, first, planned, parent, at,
            settings, and whatever else is worth keeping.

    Raises:
        FileExistsError: `folder` exists.
        ValueError: A fact or a shape is out of its limits.
    """

    def __init__(
        self, folder: Path, rows: int, arrays: Mapping[str, tuple[int, ...]], facts: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self._facts = {
            "kind": ClimbTrace.KIND,
            **facts,
            "shapes": {name: [rows, *shape] for name, shape in arrays.items()},
            "rows": 0,
            "ending": "",
        }
        _check(_read(folder, self._facts))
        folder.mkdir(parents=True)
        self._shapes = {name: tuple(shape) for name, shape in arrays.items()}
        self._files = {name: self._make(name, (rows, *shape)) for name, shape in self._shapes.items()}
        self._most = rows
        self._write_facts()

    def add(self, row: Mapping[str, NDArray[Any]], *, tell: bool = True) -> None:
        """Write the next row.

        Args:
            row: Name -> values of each array.
            tell: Let readers see it once this returns. Without, they see it with the next row that
                is told, or at the end, and a batch is spared a write of trace.json.

        Raises:
            UserError: A number of it is not finite.
            ValueError: A shape is another one, or there are more rows than were announced.
        """
        at = self._facts["rows"]
        if at >= self._most:
            raise ValueError(f"the trace is full: {at} rows")
        for name, (file, start) in self._files.items():
            values = np.asarray(row[name])
            if values.shape != self._shapes[name]:
                raise ValueError(f"{name}: a row of {values.shape} instead of {self._shapes[name]}")
            dtype = np.dtype(_DTYPES[name])
            if dtype.kind == "f":
                if not np.isfinite(values).all():
                    raise UserError(
                        f"At step {self._facts['first'] + at} the {name} of the climb are no numbers any more.",
                        "Every value of a climb has to be finite.",
                        "Climb with smaller steps.",
                    )
                limit = float(np.finfo(dtype).max)
                values = np.clip(values, -limit, limit)
            data = np.ascontiguousarray(values, dtype)
            # Written, not assigned to a mapped array: a full disk raises here, and there it kills the process.
            file.seek(start + at * data.nbytes)
            file.write(data.tobytes())
            file.flush()
        self._facts["rows"] = at + 1
        if tell:
            # Not synced: a power cut may cost a climb that is under way, a sync would cost each step.
            part = self.folder / ".part-trace.json"
            part.write_text(json.dumps(self._facts, ensure_ascii=False, allow_nan=False), encoding="utf-8")
            part.replace(self.folder / "trace.json")

    def amend(self, name: str, values: NDArray[Any]) -> None:
        """Write one array of the last row again, for what is found after the rest was told."""
        dtype = np.dtype(_DTYPES[name])
        if values.shape != self._shapes[name] or values.dtype != dtype or not self._facts["rows"]:
            raise ValueError(
                f"{name}: {values.shape} {values.dtype} for the last of {self._facts['rows']} rows"
            )
        file, start = self._files[name]
        file.seek(start + (self._facts["rows"] - 1) * values.nbytes)
        file.write(np.ascontiguousarray(values).tobytes())
        file.flush()

    def end(self, how: str, **facts: Any) -> ClimbTrace:
        """Say how it ended (finished, stopped or plateau), add facts, and return the trace."""
        if how not in ENDINGS[1:]:
            raise ValueError(f"a climb does not end as {how!r}")
        for file, _ in self._files.values():
            os.fsync(file.fileno())
            file.close()
        self._facts |= {"ending": how, **facts}
        self._write_facts()
        return ClimbTrace.load(self.folder)

    def _make(self, name: str, shape: tuple[int, ...]) -> tuple[IO[bytes], int]:
        """Make one array file at its full length; return it and where its numbers begin."""
        file = (self.folder / f"{name}.npy").open("wb")
        dtype = np.dtype(_DTYPES[name])
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + math.prod(shape) * dtype.itemsize)
        file.flush()
        return file, start

    def _write_facts(self) -> None:
        write_json(self.folder / "trace.json", self._facts)


def free_id(folder: Path, cls: int) -> str:
    """Return an id that no trace of this class has: `3`, then `3.1`, `3.2`, …"""
    if not (folder / str(cls)).exists():
        return str(cls)
    n = 1
    while (folder / f"{cls}.{n}").exists():
        n += 1
    return f"{cls}.{n}"


def is_id(name: str) -> bool:
    """Return whether a folder of this name can be a trace: `3` or `3.1`."""
    return _NAME.fullmatch(name) is not None


def remove(trace: ClimbTrace) -> None:
    """Remove a trace from disk, at once: renamed first, then deleted."""
    gone = trace.folder.with_name(f".part-{trace.id}")
    shutil.rmtree(gone, ignore_errors=True)
    trace.folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def unfit(trace: ClimbTrace, parent: ClimbTrace) -> str:
    """Return what keeps a trace from going on where its parent is left, or an empty string."""
    for what in ("image", "cls", "size", "picture_size", "cell", "origin", "grid"):
        if getattr(trace, what) != getattr(parent, what):
            return f"another {what.replace('cls', 'class').replace('_', ' ')}"
    if not parent.first <= trace.at <= parent.last:
        return f"it leaves at step {trace.at}, and there are {parent.first} to {parent.last}"
    return ""


def _read(folder: Path, facts: Mapping[str, Any]) -> ClimbTrace:
    height, width = (int(v) for v in facts["size"])
    tall, wide = (int(v) for v in facts["picture_size"])
    return ClimbTrace(
        folder=folder,
        image=str(facts["image"]),
        cls=int(facts["class"]),
        size=(height, width),
        picture_size=(tall, wide),
        cell=float(facts["cell"]),
        origin=float(facts["origin"]),
        first=int(facts["first"]),
        planned=int(facts["planned"]),
        rows=int(facts["rows"]),
        parent=None if facts["parent"] is None else str(facts["parent"]),
        at=int(facts["at"]),
        ending=str(facts["ending"]),
        settings=dict(facts["settings"]),
        facts=dict(facts),
    )


def _check(trace: ClimbTrace) -> None:
    """Refuse facts that no climb has, before anything trusts them."""
    if trace.facts["kind"] != ClimbTrace.KIND:
        raise ValueError(f"it holds {quote(trace.facts['kind'])}")
    if fault := stem_fault(trace.image):
        raise ValueError(f"the image {quote(trace.image)} {fault}")
    if not all(0 < v <= 1 << 16 for v in trace.size) or not all(0 < v <= 1 << 18 for v in trace.picture_size):
        raise ValueError(f"it claims an image of {trace.size[0]} x {trace.size[1]} px")
    if not 0 <= trace.cls <= 253:
        raise ValueError(f"it climbs on class {trace.cls}")
    if is_id(trace.id) and int(trace.id.split(".")[0]) != trace.cls:
        raise ValueError(f"it climbs on class {trace.cls} under the name {trace.id}")
    if not all(0 <= v <= _MOST_STEPS for v in (trace.rows, trace.first, trace.planned, trace.at)):
        raise ValueError("its steps are out of range")
    if not (math.isfinite(trace.cell) and trace.cell > 0 and math.isfinite(trace.origin)):
        raise ValueError(f"cells of {trace.cell} px from {trace.origin} px")
    if trace.parent is None and (trace.first or trace.at):
        raise ValueError(f"it begins at step {trace.first} without a climb to go on from")
    if trace.parent is not None and (not is_id(trace.parent) or trace.first != trace.at + 1):
        raise ValueError(f"it goes on from {quote(trace.parent)}")
    if trace.ending not in ENDINGS:
        raise ValueError(f"it ended as {quote(trace.ending)}")
    _check_shapes(trace)


def _check_shapes(trace: ClimbTrace) -> None:
    shapes: dict[str, Sequence[int]] = trace.facts["shapes"]
    for name, shape in shapes.items():
        if name not in _DTYPES or not all(type(v) is int and v > 0 for v in shape):
            raise ValueError(f"{quote(name)} of the shape {quote(shape)}")
    if missing := [name for name in _ALWAYS if name not in shapes]:
        raise ValueError(f"it has no {missing[0]}")
    most, h, w = shapes["maps"]
    wanted: dict[str, list[int]] = {
        "masks": [most, h, w],
        "penalties": [most, 2],
        "saliency": [most, *trace.picture_size],
        "scores": [most, *shapes["scores"][1:2]],
        "pictures": [most, *shapes.get("pictures", ())[1:2], 3, *trace.picture_size],
    }
    for name, fits in wanted.items():
        if name in shapes and list(shapes[name]) != fits:
            raise ValueError(
                f"{name} of the shape {quote(shapes[name])} beside maps of {quote(shapes['maps'])}"
            )
    if not trace.rows <= most <= _MOST_STEPS + 1 or most * h * w > MOST_CELLS:
        raise ValueError(f"{trace.rows} of {most} rows of {h} x {w} cells")
    if not trace.cls < shapes["scores"][1] <= 254:
        raise ValueError(f"scores of {shapes['scores'][1]} classes for class {trace.cls}")
    if "pictures" in shapes:
        frames = shapes["pictures"][1]
        if frames > 2 or frames * 3 * math.prod(trace.picture_size) > _MOST_IN_A_PICTURE:
            raise ValueError(f"pictures of the shape {quote(shapes['pictures'])}")


def _damaged(folder: Path, why: str) -> UserError:
    return UserError(
        f"{folder} is not a climb: {why[:200]}.",
        "Folders written by `wsss climb` are read.",
        "Climb again.",
    )
