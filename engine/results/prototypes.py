"""What a network with a support bank sees in one image, and the bank itself, read without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engine.arrays import write_npz
from engine.errors import UserError
from engine.results import stored

__all__ = ["PrototypeBank", "PrototypeView", "image_key"]


def image_key(stem: str) -> int:
    """Return the number by which a bank knows an image: 63 bits of a hash of its name."""
    return int.from_bytes(hashlib.blake2b(stem.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True, eq=False)
class PrototypeView:
    """One pass of the network over one image: all that its maps are made of.

    Attributes:
        image: Stem of the image.
        size: (H, W) of the upright image in px.
        classes: 0-based project class of each map, ascending.
        maps: [K, h, w] float16 in [0, 1], class activation maps divided by their peaks.
        features: [D, h, w] float32, the embedding z; float16 in the file.
        cell: Side of a cell in px.
        origin: Pixel coordinate, along both axes, on which cell 0 is centred.
        scores: [C] float32 in [0, 1], the classifier's score of every class.
        facts: JSON facts, `digest` of what made it among them.
    """

    image: str
    size: tuple[int, int]
    classes: tuple[int, ...]
    maps: NDArray[np.float16]
    features: NDArray[np.float32]
    cell: float
    origin: float
    scores: NDArray[np.float32]
    facts: dict[str, Any] = field(default_factory=dict)

    KIND = "prototypes"

    def __post_init__(self) -> None:
        stored.check_classes(self.classes)
        stored.check_cells(self.cell, self.origin)
        if self.features.ndim != 3 or 0 in self.features.shape:
            raise ValueError(f"features {self.features.shape}")
        if self.maps.shape != (len(self.classes), *self.features.shape[1:]):
            raise ValueError(f"{len(self.classes)} classes, maps {self.maps.shape}")
        if not (np.isfinite(self.maps).all() and np.isfinite(self.features).all()):
            raise ValueError("maps or features hold no numbers")

    def save(self, path: Path) -> None:
        """Write the view as one npz file, atomically."""
        arrays: dict[str, NDArray[Any]] = {
            "maps": self.maps,
            "features": self.features.astype(np.float16, copy=False),
            "scores": self.scores,
            "classes": np.asarray(self.classes, np.int32),
        }
        facts = {
            "kind": self.KIND,
            "image": self.image,
            "size": list(self.size),
            "cell": self.cell,
            "origin": self.origin,
            "facts": self.facts,
        }
        write_npz(path, arrays, facts)

    @classmethod
    def load(cls, path: Path) -> PrototypeView:
        """Read a view.

        Raises:
            FileNotFoundError: There is none.
            UserError: The file is damaged or holds something else.
        """
        return stored.load(path, cls.KIND, cls._built, "a view of prototypes", "prototypes")

    @classmethod
    def _built(cls, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> PrototypeView:
        return cls(
            image=str(facts["image"]),
            size=stored.size_of(facts["size"]),
            classes=tuple(int(c) for c in arrays["classes"]),
            maps=arrays["maps"].astype(np.float16, copy=False),
            # Once here, and not at every move of a slider.
            features=arrays["features"].astype(np.float32),
            cell=float(facts["cell"]),
            origin=float(facts["origin"]),
            scores=arrays["scores"].astype(np.float32, copy=False),
            facts=dict(facts["facts"]),
        )


@dataclass(frozen=True, eq=False)
class PrototypeBank:
    """The support bank of a trained run: rows, where they come from, and the prototypes made of them.

    Attributes:
        rows: [C, L, D] float16; of class n the first `filled[n]` are there.
        filled: [C] int64.
        keys: [C, L] int64, `image_key` of the image of each row.
        steps: [C, L] int32, training step at which each row came in.
        scores, areas: [C, L] float32 in [0, 1], the classifier's score and the seed's share of the crop.
        centres: [C, L, 2] float32 in [0, 1], (y, x) of the seed's centre in the whole image.
        mean: [C, D] float32, running mean of what came in.
        prototypes: [C, N, D] float32 of length 1; of class n the first `count[n]` are there.
        count: [C] int64.
        member: [C, L] int32, prototype of each row, -1 for rows that came later.
        epoch: [C] int64, 0-based epoch that made the prototypes, -1 for a class without any. Each epoch
            makes them anew; a run keeps the last.
        of_instance, of_prototype: [D, D] float32, projections of the positiveness.
    """

    rows: NDArray[np.float16]
    filled: NDArray[np.int64]
    keys: NDArray[np.int64]
    steps: NDArray[np.int32]
    scores: NDArray[np.float32]
    areas: NDArray[np.float32]
    centres: NDArray[np.float32]
    mean: NDArray[np.float32]
    prototypes: NDArray[np.float32]
    count: NDArray[np.int64]
    member: NDArray[np.int32]
    epoch: NDArray[np.int64]
    of_instance: NDArray[np.float32]
    of_prototype: NDArray[np.float32]

    @cached_property
    def sums(self) -> NDArray[np.float64]:
        """The rows of each class added up, [C, D] float64."""
        return np.stack(
            [
                rows[:filled].sum(0, dtype=np.float64)
                for rows, filled in zip(self.rows, self.filled.tolist(), strict=True)
            ]
        )

    @classmethod
    def load(cls, path: Path) -> PrototypeBank:
        """Read the bank out of a run's weights, and nothing else of them.

        Raises:
            FileNotFoundError: There are no weights.
            UserError: They are damaged, or those of a method without a bank.
        """
        if not path.is_file():
            raise FileNotFoundError(path)
        names = {n: f"bank.{n}" for n in cls.__dataclass_fields__ if n not in ("filled",)}
        names |= {n: f"{n}.weight" for n in ("of_instance", "of_prototype")}
        try:
            with safe_open(path, framework="numpy") as file:
                there = set(file.keys())
                if not set(names.values()) <= there:
                    raise ValueError("it holds no support bank")
                found = {name: file.get_tensor(key) for name, key in names.items()}
                pushes = file.get_tensor("bank.pushes")
            classes, length, dim = found["rows"].shape
            if any(found[n].shape[:2] != (classes, length) for n in ("keys", "steps", "member", "centres")):
                raise ValueError("its parts do not fit together")
            if any(found[n].shape != (classes,) for n in ("count", "epoch")):
                raise ValueError("its parts do not fit together")
            if not np.isfinite(found["centres"]).all():
                raise ValueError("its centres hold no numbers")
            if found["mean"].shape != (classes, dim) or found["of_instance"].shape != (dim, dim):
                raise ValueError("its parts do not fit together")
            return cls(filled=np.clip(pushes, 0, length), **found)
        except (SafetensorError, ValueError, KeyError, OSError) as error:
            raise UserError(
                f"{path} cannot be read as a support bank: {error}.",
                "The weights of a run of `cpal` have one.",
                "Choose such a run, or train one: `wsss train cpal`.",
            ) from None
