"""How an image must be prepared for a network: facts that travel with its weights."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.errors import UserError

__all__ = ["Prep", "overrides"]

Triple = tuple[float, float, float]

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
_MOST_SIDE = 1024


@dataclass(frozen=True)
class Prep:
    """The preparation that a network's weights were trained with.

    Args:
        mean, std: Per RGB channel, of values in [0, 1].
        interpolation: Resampling of the training images: nearest, bilinear or bicubic.
        side_multiple, side_offset: Input sides that meet no padding surprise are
            `side_multiple * k + side_offset` pixels. (1, 0) means any side.
    """

    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    side_multiple: int = 1
    side_offset: int = 0

    def normalise(self, images: Tensor) -> Tensor:
        """Return `[..., 3, H, W] float32` with the mean taken off and divided by the deviation.

        Args:
            images: `[..., 3, H, W] float32 in [0, 1]`, RGB.
        """
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device).view(3, 1, 1)
        return (images - mean) / std  # [..., 3, H, W]

    def side(self, length: int) -> int:
        """Return the smallest fitting side of at least `length` pixels (and of at least one cell)."""
        cells = math.ceil((length - self.side_offset) / self.side_multiple)
        return self.side_multiple * max(cells, 1) + self.side_offset

    def as_facts(self) -> dict[str, Any]:
        """Return the fields JSON-ready; `overrides` and `with_overrides` take them back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    def as_tensor(self) -> Tensor:
        """Return the fields as `[9] float64`, for a state of named tensors."""
        index = _INTERPOLATIONS.index(self.interpolation)
        numbers = [*self.mean, *self.std, index, self.side_multiple, self.side_offset]
        return torch.tensor(numbers, dtype=torch.float64)  # [9]

    @staticmethod
    def from_tensor(numbers: Tensor) -> Prep:
        """Return the preparation that `as_tensor` wrote.

        Raises:
            UserError: It holds something else.
        """
        values = numbers.tolist() if isinstance(numbers, Tensor) and numbers.shape == (9,) else []
        index = values[6] if values else -1
        facts = {
            "mean": values[:3],
            "std": values[3:6],
            "interpolation": _INTERPOLATIONS[int(index)] if index in range(len(_INTERPOLATIONS)) else None,
            "side_multiple": int(values[7]) if values and math.isfinite(values[7]) else None,
            "side_offset": int(values[8]) if values and math.isfinite(values[8]) else None,
        }
        return Prep(**overrides(facts, "The preparation saved with the weights"))

    def with_overrides(self, stated: Mapping[str, Any]) -> Prep:
        """Return a copy in which the fields of `stated` (from `overrides`) replace these."""
        return dataclasses.replace(self, **stated)

    def at_stride(self, stride: int) -> Prep:
        """Return the preparation for maps of `stride` pixels a cell.

        A side of 32k+1 keeps every input of a stride-2 layer odd down to stride 32, which is
        where asymmetric and symmetric padding agree. Layers that no longer stride do not
        care, so a net cut at stride 16 needs 16k+1 only.
        """
        return dataclasses.replace(self, side_multiple=min(self.side_multiple, stride))


def overrides(facts: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of `Prep` that a weights file's facts state, checked.

    `padding` is a sentence for people; sides written in it as `32k+1` are taken over.
    Other facts (licence, origin, head) are recorded by the caller and change nothing here.

    Args:
        facts: The object read from `<backbone>.json`.
        where: The file's name, for messages.

    Raises:
        UserError: A stated field is of another type or out of its range.
    """
    stated: dict[str, Any] = {}
    for key in ("mean", "std"):
        if key in facts:
            stated[key] = _triple(facts[key], key, where)
    if "interpolation" in facts:
        if facts["interpolation"] not in _INTERPOLATIONS:
            raise UserError(
                f"{where}: interpolation = {facts['interpolation']!r} is not known.",
                f"Accepted: {', '.join(_INTERPOLATIONS)}.",
                "Correct the file or remove the field.",
            )
        stated["interpolation"] = facts["interpolation"]
    padding = facts.get("padding", "")
    sides = re.search(r"\b(\d{1,4})k\s*\+\s*(\d{1,4})\b", padding) if isinstance(padding, str) else None
    if sides:
        stated["side_multiple"], stated["side_offset"] = int(sides[1]), int(sides[2])
    for key, least in (("side_multiple", 1), ("side_offset", 0)):
        if key in facts:
            stated[key] = facts[key]
        if key in stated and not (type(stated[key]) is int and least <= stated[key] <= _MOST_SIDE):
            raise _refuse(key, stated[key], where, f"a whole number of pixels from {least} to {_MOST_SIDE}")
    return stated


def _triple(value: Any, key: str, where: str) -> Triple:
    numbers = isinstance(value, (list, tuple)) and all(
        type(v) in (int, float) and math.isfinite(v) for v in value
    )
    if not numbers or len(value) != 3 or (key == "std" and min(value) <= 0):
        above = " above 0" if key == "std" else ""
        raise _refuse(key, value, where, f"three finite numbers{above}, of RGB in [0, 1]")
    return (float(value[0]), float(value[1]), float(value[2]))


def _refuse(key: str, value: Any, where: str, wanted: str) -> UserError:
    return UserError(
        f"{where}: {key} = {str(value)[:60]} cannot be used.",
        f"Accepted: {wanted}.",
        "Correct the file or remove the field to use the architecture's default.",
    )
