"""What a refinement did to one image, as arrays for layers and as words. No Qt."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.affinity import barrier, neighbours, offsets, path_affinity
from engine.instances import settling
from engine.labels import LabelRule, apply_scores
from engine.results import CamStack, InstanceSet, RefineTrace, enlarge
from wsss_napari.mask_view import MaskView
from wsss_napari.palette import UNSURE, stripes

__all__ = [
    "TO_BACKGROUND",
    "TO_CLASS",
    "Change",
    "Patch",
    "TraceView",
    "boxes_around",
    "change_between",
    "changed_words",
    "fits",
    "mask_of",
    "wheel",
]

#: Values of the layer of changed pixels.
TO_CLASS, TO_BACKGROUND = 1, 2
# Arrows and starting points along the longer side; more would cover the photograph.
_ARROWS, _REACH, _USUAL = 40, 1.6, 0.9
# Iterations of the centroids, of which the last hardly move.
_SETTLINGS = 64
_RADIUS, _BETA = 5, 10.0
# Cells; a wider neighbourhood is no neighbourhood.
_FARTHEST = 64


@dataclass(frozen=True, eq=False)
class Change:
    """Where two masks differ.

    Attributes:
        hatch: [H, W] uint8, stripes of TO_CLASS and TO_BACKGROUND where they do, else 0.
        pixels: How many pixels differ.
        to_class, to_background, between: Of these: became a class, became background, changed class.
        share: Of the image, in [0, 1].
    """

    hatch: NDArray[np.uint8]
    pixels: int
    to_class: int
    to_background: int
    between: int
    share: float


@dataclass(frozen=True, eq=False)
class Patch:
    """The affinities of one cell to those around it, and where they lie on the image.

    Attributes:
        values: [n, n] float32 in [0, 1], NaN where there is no neighbour.
        cell: Side of one cell in px.
        corner: (y, x) px of the centre of its first cell.
        words: The same in a sentence.
    """

    values: NDArray[np.float32]
    cell: float
    corner: tuple[float, float]
    words: str


class TraceView:
    """The stages of a refinement and the fields it worked with, ready to be drawn.

    Args:
        trace: What was kept.
        settings: Those of the box.
    """

    def __init__(self, trace: RefineTrace, settings: Mapping[str, Any]) -> None:
        self.trace = trace
        self._settings = {**settings, **trace.facts}

    @property
    def last(self) -> int:
        """Index of the last stage."""
        return len(self.trace.at) - 1

    @property
    def iterations(self) -> tuple[int, ...]:
        """The iterations of the centroids that can be shown; empty without a displacement."""
        return self._settled[0]

    def has(self, key: str) -> bool:
        """Return whether a look of `refine_layers.LOOKS` can be drawn."""
        fields = self.trace.fields
        match key:
            case "wheel" | "arrows" | "centroids":
                return "displacement" in fields
            case "patch":
                return "affinity" in fields or "edge" in fields
            case "edge" | "confident":
                return key in fields
            case _:
                return True

    def score(self, stage: int, cls: int | None) -> NDArray[np.float32]:
        """Return the score of a class, or of the background for None, at a stage, [h, w] float32 in [0, 1]."""
        row = 0 if cls is None else 1 + self.trace.classes.index(cls)
        return np.asarray(self.trace.stages[stage, row], np.float32)

    def entropy(self, stage: int) -> NDArray[np.float32]:
        """Return how undecided each cell is at a stage, [h, w] float32: 0 sure, 1 all labels alike."""
        scores = self.trace.stages[stage].astype(np.float32)  # [1 + K, h, w]
        count = len(scores)
        if count < 2:
            return np.zeros(scores.shape[1:], np.float32)
        total = scores.sum(0)
        shares = np.divide(scores, total, out=np.full_like(scores, 1 / count), where=total > 0)
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        return np.asarray(-(shares * logs).sum(0) / np.log(np.float32(count)), np.float32)

    def mask(self, stage: int) -> NDArray[np.uint8]:
        """Return the best label of each pixel at a stage, [H, W] uint8."""
        trace = self.trace
        scores = enlarge(trace.stages[stage], trace.size, trace.cell, trace.origin)
        return apply_scores(scores, trace.classes)

    def arrows(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the displacement as arrows [n, 2, 2] (start, direction) px, and their angles [n] in radians.

        All are longer or shorter by the same factor, so that most reach no farther than the next ones;
        the few longest are cut.
        """
        field = self._displacement()
        step = max(1, round(max(field.shape[1:]) / _ARROWS))
        length = np.hypot(field[0], field[1])
        usual = max(float(np.quantile(length, _USUAL)), 1e-6)
        # The length becomes _REACH steps for the usual longest, and no more for any other.
        field = field * np.float32(_REACH * step) / np.maximum(length, np.float32(usual))
        part = field[:, step // 2 :: step, step // 2 :: step]  # [2, n, m]
        rows = np.arange(step // 2, field.shape[1], step)
        columns = np.arange(step // 2, field.shape[2], step)
        starts = np.stack(np.meshgrid(rows, columns, indexing="ij"))  # [2, n, m]
        cell, origin = self.trace.cell, self.trace.origin
        arrows = np.stack([starts * cell + origin, part * cell], 0).reshape(2, 2, -1)  # [2, 2, n*m]
        angles = np.arctan2(part[0], part[1]).reshape(-1)
        return np.ascontiguousarray(arrows.transpose(2, 0, 1), np.float32), np.asarray(angles, np.float32)

    def wheel(self) -> NDArray[np.uint8]:
        """Return the displacement in the colours of the wheel, [h, w, 3] uint8."""
        return wheel(self._displacement())

    def centroids(self, index: int) -> NDArray[np.float32]:
        """Return where points on a grid are after `iterations[index]`, [n, 2] (y, x) px."""
        found = self._settled[1][index]  # [2, n, m]
        return np.asarray(found.reshape(2, -1).T * self.trace.cell + self.trace.origin, np.float32)

    def patch(self, row: float, column: float) -> Patch | None:
        """Return the affinities of the cell at a pixel, or None outside of the image."""
        trace = self.trace
        height, width = trace.size
        if not (-0.5 <= row < height - 0.5 and -0.5 <= column < width - 0.5):
            return None
        grid = trace.stages.shape[2:]
        y, x = (
            int(np.clip(round((p - trace.origin) / trace.cell), 0, n - 1))
            for p, n in zip((row, column), grid, strict=True)
        )
        radius = trace.radius or _RADIUS
        if "affinity" in trace.fields:
            values = neighbours(trace.fields["affinity"], radius, y, x)
            words = ""
        else:
            edge = trace.fields["edge"].astype(np.float32)
            # Paths end within the radius: a part of the grid gives the same as the whole.
            top, left = max(0, y - radius), max(0, x - radius)
            part = edge[top : y + radius + 1, left : x + radius + 1]
            values = neighbours(path_affinity(part, radius), radius, y - top, x - left)
            words = self._barrier_words(float(edge[y, x]))
        around = values[np.isfinite(values)]
        beside = np.delete(around, np.argmax(around)) if len(around) > 1 else around
        # Side by side on the image, the first cell's centre is radius - 1 cells up and left.
        corner = tuple(trace.origin + (c - radius + 1) * trace.cell for c in (y, x))
        told = (
            f"Cell at row {row:.0f}, column {column:.0f}: affinity to its {len(beside)} neighbours "
            f"{beside.min():.2f} to {beside.max():.2f}, mean {beside.mean():.2f}."
        )
        return Patch(values, trace.cell, (corner[0], corner[1]), f"{told} {words}".strip())

    def energy(self) -> NDArray[np.float64] | None:
        """Return the energy of each stage, or None where the refinement has none."""
        return self.trace.energy

    def stage_words(self, stage: int) -> str:
        """Return what a stage is, in words."""
        at, refiner = self.trace.at[stage], self.trace.refiner
        unit = "step of the walk" if refiner in ("psa", "irn") else "iteration"
        many = "steps of the walk" if refiner in ("psa", "irn") else "iterations"
        if stage == 0 and at == 0:
            said = "The start"
        else:
            said = f"After {at} {unit if at == 1 else many}"
        if self.trace.energy is not None:
            said += f" · energy {self.trace.energy[stage]:.4g}"
        return f"{said} · undecided {100 * float(self.entropy(stage).mean()):.1f} %"

    @functools.cached_property
    def _settled(self) -> tuple[tuple[int, ...], NDArray[np.float32]]:
        """The iterations, and where the points are after each, [I, 2, n, m] cells."""
        if "displacement" not in self.trace.fields:
            return (), np.zeros((0, 2, 0, 0), np.float32)
        step = max(1, round(max(self.trace.stages.shape[2:]) / _ARROWS))
        at, kept = [], []
        for n, found in enumerate(settling(self._displacement(), _SETTLINGS)):
            last = np.array(found[:, step // 2 :: step, step // 2 :: step])
            # The first iterations move most: 0, 1, 2, 4, 8 and so on.
            if n & (n - 1) == 0:
                at.append(n)
                kept.append(last)
        if at[-1] != n:
            at.append(n)
            kept.append(last)
        return tuple(at), np.stack(kept)

    def _displacement(self) -> NDArray[np.float32]:
        return np.asarray(self.trace.fields["displacement"], np.float32)

    def _barrier_words(self, edge: float) -> str:
        beta = float(self._settings.get("beta", _BETA))
        steps = max(self.trace.at[-1], 1)
        once, all_steps = (100 * float(barrier(np.array([edge], np.float32), beta, n)[0]) for n in (1, steps))
        return (
            f"Boundary here {edge:.2f}: it holds back {once:.0f} % of one step of the walk (beta {beta:g}), "
            f"{all_steps:.0f} % of {steps}."
        )


def fits(trace: RefineTrace) -> bool:
    """Return whether the fields of a trace lie on its grid and hold numbers; files may come from anybody."""
    grid, fields = trace.stages.shape[2:], trace.fields
    wanted: dict[str, tuple[int, ...]] = {"edge": grid, "displacement": (2, *grid), "confident": trace.size}
    if "affinity" in fields:
        if not 2 <= trace.radius <= _FARTHEST:
            return False
        wanted["affinity"] = (len(offsets(trace.radius)), *grid)
    if "edge" in fields and trace.radius and not 2 <= trace.radius <= _FARTHEST:
        return False
    on_grid = all(fields[name].shape == shape for name, shape in wanted.items() if name in fields)
    return on_grid and all(np.isfinite(a).all() for a in (trace.stages, *fields.values()))


def mask_of(stack: CamStack, rule: LabelRule) -> NDArray[np.uint8]:
    """Return the mask of a source, [H, W] uint8: by its own background score, or else by the rule."""
    return MaskView(stack).mask(rule).copy()


def change_between(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Change:
    """Return where two masks [H, W] uint8 of an image differ."""
    differ = before != after
    gone = differ & (after == 0)
    come = differ & (before == 0) & (after != UNSURE)
    kinds = np.where(gone, np.uint8(TO_BACKGROUND), np.uint8(TO_CLASS)) * differ
    pixels = int(np.count_nonzero(differ))
    lost, gained = int(np.count_nonzero(gone)), int(np.count_nonzero(come))
    return Change(
        # Stripes with the photograph between them: 255 has stripes on a ground.
        hatch=np.asarray(kinds * stripes(*differ.shape), np.uint8),
        pixels=pixels,
        to_class=gained,
        to_background=lost,
        between=pixels - lost - gained,
        share=pixels / max(1, differ.size),
    )


def changed_words(change: Change) -> str:
    """Return a change in a sentence."""
    if not change.pixels:
        return "No pixel changed."
    parts = [
        f"{count:,} {words}"
        for count, words in (
            (change.to_class, "to a class"),
            (change.to_background, "to background"),
            (change.between, "from one label to another"),
        )
        if count
    ]
    return f"{change.pixels:,} px changed ({100 * change.share:.1f} %): {', '.join(parts)}."


def boxes_around(instances: InstanceSet) -> list[tuple[int, NDArray[np.float64]]]:
    """Return (index, corners [4, 2] (y, x) px) of the box around each instance that has pixels."""
    found = []
    ids = instances.ids
    for n in range(len(instances.classes)):
        inside = ids == n + 1
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if len(rows):
            top, bottom = rows[0] - 0.5, rows[-1] + 0.5
            left, right = columns[0] - 0.5, columns[-1] + 0.5
            corners: Sequence[tuple[float, float]] = (
                (top, left),
                (top, right),
                (bottom, right),
                (bottom, left),
            )
            found.append((n, np.array(corners, float)))
    return found


def wheel(field: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a vector field in colours: the hue is the direction, the saturation the length.

    Args:
        field: [2, h, w] float32, (dy, dx).

    Returns:
        [h, w, 3] uint8: white where nothing moves, red to the right, then counter-clockwise yellow-green
        up, cyan to the left, violet down. The longest two in a hundred vectors are fully coloured.
    """
    length = np.hypot(field[0], field[1])
    most = float(np.quantile(length, 0.98)) or 1.0
    saturation = np.minimum(length / np.float32(most), 1)
    hue = np.arctan2(-field[0], field[1]) / np.float32(2 * np.pi) % 1
    # HSV to RGB of brightness 1: each channel falls with the distance of its hue.
    offsets = np.array([5, 3, 1], np.float32)[:, None, None]
    k = (offsets + hue * 6) % 6  # [3, h, w]
    fall = np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.asarray(np.round(255 * (1 - saturation * fall)), np.uint8).transpose(1, 2, 0)
