"""One round of clustering of a support bank, kept while the bank goes on: what each prototype was made of then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import write_npz
from engine.results import stored

__all__ = ["ClusterRound", "rounds_in"]


@dataclass(frozen=True, eq=False)
class ClusterRound:
    """The clusters of one epoch, and where the rows they were made of came from.

    Attributes:
        epoch: 0-based.
        keys: [C, L] int64, `image_key` of the image of each row of the bank.
        centres: [C, L, 2] float32 in [0, 1], (y, x) of the seed's centre in the whole image.
        member: [C, L] int32, prototype of each row; -1 for rows that were not there and for classes that were not
            clustered in this epoch.
        shift: [C] float32, |delta|: how far the running mean of a class lay from the mean of its rows (eq. 12); NaN for
            classes that were not clustered.
    """

    epoch: int
    keys: NDArray[np.int64]
    centres: NDArray[np.float32]
    member: NDArray[np.int32]
    shift: NDArray[np.float32]

    KIND = "clusters"

    def __post_init__(self) -> None:
        classes, length = self.member.shape
        if self.keys.shape != (classes, length) or self.centres.shape != (classes, length, 2):
            raise ValueError(
                f"members {self.member.shape}, keys {self.keys.shape}, centres {self.centres.shape}"
            )
        if self.shift.shape != (classes,) or self.epoch < 0:
            raise ValueError(f"{classes} classes, shift {self.shift.shape}, epoch {self.epoch}")
        if not np.isfinite(self.centres).all():
            raise ValueError("the centres hold no numbers")

    def clusters(self, cls: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Return (prototype, its rows) of a class, the largest cluster first; none where it was not clustered."""
        member = self.member[cls]
        found = [(n, np.flatnonzero(member == n)) for n in np.unique(member[member >= 0]).tolist()]
        return sorted(found, key=lambda each: (-len(each[1]), each[0]))

    def save(self, folder: Path) -> None:
        """Write the round into the folder of a run's rounds, atomically."""
        arrays: dict[str, NDArray[Any]] = {
            "keys": self.keys,
            "centres": self.centres,
            "member": self.member,
            "shift": self.shift,
        }
        folder.mkdir(exist_ok=True)
        write_npz(folder / f"{self.epoch:04d}.npz", arrays, {"kind": self.KIND, "epoch": self.epoch})

    @classmethod
    def load(cls, path: Path) -> ClusterRound:
        """Read a round.

        Raises:
            FileNotFoundError: There is none.
            UserError: The file is damaged or holds something else.
        """
        return stored.load(
            path,
            cls.KIND,
            cls._built,
            "clusters of a support bank",
            "train",
            again="Train the run anew: what it kept of that epoch is gone.",
        )

    @classmethod
    def _built(cls, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> ClusterRound:
        return cls(
            epoch=int(facts["epoch"]),
            keys=arrays["keys"].astype(np.int64, copy=False),
            centres=arrays["centres"].astype(np.float32, copy=False),
            member=arrays["member"].astype(np.int32, copy=False),
            shift=arrays["shift"].astype(np.float32, copy=False),
        )


def rounds_in(folder: Path) -> dict[int, Path]:
    """Return epoch -> file of the rounds in a folder, the first epoch first; none where there is no such folder."""
    found = (path for path in folder.glob("*.npz") if path.stem.isdecimal())
    return {int(path.stem): path for path in sorted(found)}
