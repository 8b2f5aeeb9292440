"""What a refinement did to one image: its stages, the fields it worked with, the instances it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import write_npz
from engine.results import stored

__all__ = ["InstanceSet", "RefineTrace"]

_FIELDS = {"edge": 2, "displacement": 3, "affinity": 3, "confident": 2}


@dataclass(frozen=True, eq=False)
class RefineTrace:
    """The stages of one refinement of one image.

    Attributes:
        image: Stem of the image.
        size: (H, W) of the upright image in px.
        classes: 0-based project class of each score after the background, ascending.
        refiner: crf, par, psa, irn, or the name of another method that refines.
        at: Iterations, or steps of the walk, after which each stage was taken; ascending, 0 the start.
        stages: [S, 1 + K, h, w] float16 in [0, 1], the background's score first.
        cell: Side of one cell in px.
        origin: Pixel coordinate, along both axes, on which cell 0 is centred.
        energy: [S] float64, energy of each stage, or None where the refinement has none.
        fields: What it worked with, by name, each on the grid of the stages unless said otherwise:
            `edge` [h, w] float16 in [0, 1], probability of a class boundary;
            `displacement` [2, h, w] float16, (dy, dx) in cells towards the centre of the instance;
            `affinity` [D, h, w] float16 in [0, 1], of a cell and the one at `affinity.offsets(radius)[D]` from it;
            `confident` [H, W] uint8, 0 background, class + 1, 255 unsure, what the network learnt from.
        radius: Radius in cells of `affinity`, 0 without it.
        facts: JSON facts.
    """

    image: str
    size: tuple[int, int]
    classes: tuple[int, ...]
    refiner: str
    at: tuple[int, ...]
    stages: NDArray[np.float16]
    cell: float
    origin: float
    energy: NDArray[np.float64] | None = None
    fields: dict[str, NDArray[Any]] = field(default_factory=dict)
    radius: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    KIND = "refine"

    def __post_init__(self) -> None:
        k = len(self.classes)
        stored.check_classes(self.classes)
        stored.check_cells(self.cell, self.origin)
        if any(b <= a for a, b in pairwise((-1, *self.at))) or not self.at:
            raise ValueError(f"the stages {self.at[:5]} are not ascending")
        if self.stages.ndim != 4 or self.stages.shape[:2] != (len(self.at), k + 1) or 0 in self.stages.shape:
            raise ValueError(f"{len(self.at)} stages of {k + 1} scores are {self.stages.shape}")
        if self.energy is not None and self.energy.shape != (len(self.at),):
            raise ValueError(f"{len(self.at)} stages, energies {self.energy.shape}")
        for name, array in self.fields.items():
            if array.ndim != _FIELDS.get(name):
                raise ValueError(f"a field {name!r} of shape {array.shape}"[:200])

    def save(self, path: Path) -> None:
        """Write the trace as one npz file, atomically."""
        arrays: dict[str, NDArray[Any]] = {
            "stages": self.stages,
            "at": np.asarray(self.at, np.int32),
            "classes": np.asarray(self.classes, np.int32),
            **self.fields,
        }
        if self.energy is not None:
            arrays["energy"] = self.energy
        facts = {
            "kind": self.KIND,
            "image": self.image,
            "size": list(self.size),
            "refiner": self.refiner,
            "cell": self.cell,
            "origin": self.origin,
            "radius": self.radius,
            "facts": self.facts,
        }
        write_npz(path, arrays, facts)

    @classmethod
    def load(cls, path: Path) -> RefineTrace:
        """Read a trace.

        Raises:
            FileNotFoundError: There is none.
            UserError: The file is damaged or holds something else.
        """
        return stored.load(path, cls.KIND, cls._built, "the stages of a refinement", "refine")

    @classmethod
    def _built(cls, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> RefineTrace:
        return cls(
            image=str(facts["image"]),
            size=stored.size_of(facts["size"]),
            classes=tuple(int(c) for c in arrays["classes"]),
            refiner=str(facts["refiner"])[:64],
            at=tuple(int(t) for t in arrays["at"]),
            stages=arrays["stages"].astype(np.float16, copy=False),
            cell=float(facts["cell"]),
            origin=float(facts["origin"]),
            energy=arrays["energy"].astype(np.float64, copy=False) if "energy" in arrays else None,
            fields={name: arrays[name] for name in _FIELDS if name in arrays},
            radius=int(facts["radius"]),
            facts=dict(facts["facts"]),
        )


@dataclass(frozen=True, eq=False)
class InstanceSet:
    """The instances of one image.

    Attributes:
        image: Stem of the image.
        ids: [H, W] uint16, number of the instance from 1, 0 background.
        classes: [n] int32, 0-based class of each instance.
        scores: [n] float32 in [0, 1], the highest score inside; 0 for one that is too small to count.
        facts: JSON facts.
    """

    image: str
    ids: NDArray[np.uint16]
    classes: NDArray[np.int32]
    scores: NDArray[np.float32]
    facts: dict[str, Any] = field(default_factory=dict)

    KIND = "instances"

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.ids.ndim != 2 or not self.ids.size or max(self.ids.shape) > stored.MAX_SIDE:
            raise ValueError(f"instances of an image {self.ids.shape}")
        if self.classes.shape != (count,) or self.scores.shape != (count,) or int(self.ids.max()) > count:
            raise ValueError(f"{int(self.ids.max())} instances, {count} classes, scores {self.scores.shape}")

    def save(self, path: Path) -> None:
        """Write the instances as one npz file, atomically."""
        arrays: dict[str, NDArray[Any]] = {"ids": self.ids, "classes": self.classes, "scores": self.scores}
        write_npz(path, arrays, {"kind": self.KIND, "image": self.image, "facts": self.facts})

    @classmethod
    def load(cls, path: Path) -> InstanceSet:
        """Read instances.

        Raises:
            FileNotFoundError: There are none.
            UserError: The file is damaged or holds something else.
        """
        return stored.load(path, cls.KIND, cls._built, "a set of instances", "refine")

    @classmethod
    def _built(cls, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> InstanceSet:
        return cls(
            image=str(facts["image"]),
            ids=arrays["ids"].astype(np.uint16, copy=False),
            classes=arrays["classes"].astype(np.int32, copy=False),
            scores=arrays["scores"].astype(np.float32, copy=False),
            facts=dict(facts["facts"]),
        )
