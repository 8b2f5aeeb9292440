"""The refiners that need no network: from maps and a photograph to maps that follow its borders.

Both take a CamStack with or without a background score and give one with it, whose mask is a
plain argmax. `scale` below 1 gives a preview at that share of the size, fast enough to follow
a slider.

    settings = parse(CRFSettings, {"preset": "psa"})
    refined, trace = refine_crf(stack, image, settings, keep=True)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from engine import adaptive
from engine.adaptive import PARParams
from engine.crf import CRFParams, Lattice, unary_of_labels, unary_of_scores
from engine.labels import LabelRule, best_class
from engine.params import Spec
from engine.results.cams import CamStack, enlarge
from engine.results.refinements import RefineTrace

__all__ = [
    "REFINERS",
    "CRFSettings",
    "Grid",
    "PARSettings",
    "Refiner",
    "refine_crf",
    "refine_par",
    "scores_of",
]

Floats: TypeAlias = npt.NDArray[np.float32]
Image: TypeAlias = npt.NDArray[np.uint8]
Refined: TypeAlias = tuple[CamStack, RefineTrace | None]

# PAR's own code works at half the size of the image, and its distances are meant for it.
_PAR_CELL = 2
# A trace is to be looked at: beyond these its stages are thinned out, in time and in space.
_STAGES = 33
_STAGE_PIXELS = 1 << 18

_BACKGROUND = Spec(
    "Background score of maps that have none of their own: constant:T, power:A or one_minus_max."
)


@dataclass(frozen=True)
class CRFSettings(CRFParams):
    """The CRF's parameters, and the background that competes with the classes."""

    background: Annotated[str, _BACKGROUND] = "constant:0.2"


@dataclass(frozen=True)
class PARSettings(PARParams):
    """PAR's parameters, and the background that competes with the classes."""

    background: Annotated[str, _BACKGROUND] = "constant:0.2"


@dataclass(frozen=True)
class Grid:
    """Where cells lie on an image: (h, w) cells of `cell` px, cell 0 centred on `origin` px."""

    shape: tuple[int, int]
    cell: float
    origin: float

    @classmethod
    def over(cls, size: tuple[int, int], cell: int) -> Grid:
        """Return the grid of blocks of cell x cell px; the last ones may reach over the border."""
        return cls((-(-size[0] // cell), -(-size[1] // cell)), cell, (cell - 1) / 2)


def scores_of(stack: CamStack, background: str, grid: Grid | None = None) -> Floats:
    """Return the scores of a source that compete with each other, the background's first.

    Args:
        stack: The source; its own background score is taken where it has one.
        background: The rule for sources without, as `LabelRule.parse` reads it; applied on the
            grid, as it would be applied to pixels.
        grid: Where to read the maps; None for their own cells.

    Returns:
        `[1 + K, h, w]` float32 in [0, 1].

    Raises:
        UserError: The rule cannot be read.
    """
    rule = LabelRule.parse(background)
    grid = grid or Grid((stack.maps.shape[1], stack.maps.shape[2]), stack.cell, stack.origin)
    place = (grid.shape, stack.cell / grid.cell, (stack.origin - grid.origin) / grid.cell)
    maps = enlarge(stack.maps, *place)
    if stack.background is None:
        behind = rule.scores(best_class(maps)[0])
    else:
        behind = enlarge(stack.background[None], *place)[0]
    return np.concatenate([behind[None], maps])


def refine_crf(
    stack: CamStack, image: Image, settings: CRFSettings, *, keep: bool = False, scale: float = 1.0
) -> Refined:
    """Refine maps by the dense CRF, pixel by pixel.

    Args:
        stack: The maps.
        image: `[H, W, 3]` uint8, upright.
        settings: The CRF's; with `unary = labels` it starts from the argmax of the scores.
        keep: Return the iterations and their energy too.
        scale: Share of the size to work at, one over a whole number; widths shrink with it.

    Returns:
        The label distribution as maps with a background score, and its trace or None.

    Raises:
        UserError: The background rule cannot be read, or pydensecrf cannot be imported.
    """
    cell = max(round(1 / scale), 1)
    grid, pixels = _ground(stack, image, cell)
    scores = scores_of(stack, settings.background, grid)
    if settings.unary == "labels":
        hard = scores.argmax(axis=0).astype(np.uint8)
        unary = unary_of_labels(hard, len(scores), settings.gt_prob)
    else:
        unary = unary_of_scores(scores)
    lattice = Lattice(
        np.clip(np.rint(pixels), 0, 255).astype(np.uint8), len(scores), settings, scale=1 / cell
    )
    if not keep:
        return _refined(stack, "crf", lattice.refine(unary), grid), None
    return _traced(stack, "crf", lattice.steps(unary), settings.iterations, grid)


def refine_par(
    stack: CamStack, image: Image, settings: PARSettings, *, keep: bool = False, scale: float = 1.0
) -> Refined:
    """Refine maps by pixel-adaptive averaging, at half the size of the image.

    Args:
        stack: The maps.
        image: `[H, W, 3]` uint8, upright.
        settings: PAR's or PAMR's.
        keep: Return the iterations too.
        scale: Share of the size to work at, one over a whole number of at least 2; the
            distances of the neighbours shrink with it, down to 1.

    Returns:
        The averaged scores as maps with a background score, and their trace or None.

    Raises:
        UserError: The background rule cannot be read.
    """
    cell = max(round(1 / scale), _PAR_CELL)
    grid, pixels = _ground(stack, image, cell)
    shrunk = tuple(max(round(d * _PAR_CELL / cell), 1) for d in settings.dilations)
    params = replace(settings, dilations=shrunk)
    scores = scores_of(stack, settings.background, grid)
    weights = adaptive.affinity(pixels, params)
    if not keep:
        return _refined(stack, "par", adaptive.refine(scores, weights, params), grid), None
    stages = ((stage, math.nan) for stage in adaptive.steps(scores, weights, params))
    return _traced(stack, "par", stages, settings.iterations, grid)


@dataclass(frozen=True)
class Refiner:
    """One refiner of the registry.

    Attributes:
        title, sentence: For people.
        settings: Its parameter class.
        refine: `(stack, image, settings, *, keep, scale)` to the refined stack and its trace.
        version: Raised when results change; part of their digest.
    """

    title: str
    sentence: str
    settings: type[Any]
    refine: Callable[..., Refined]
    version: int = 1


REFINERS = MappingProxyType(
    {
        "crf": Refiner(
            "Dense CRF",
            "Pixels of like colour and place agree on a label; borders snap to the edges of the photograph.",
            CRFSettings,
            refine_crf,
        ),
        "par": Refiner(
            "PAR",
            "Scores are averaged over neighbours of like colour, again and again; fills holes, keeps to edges.",
            PARSettings,
            refine_par,
        ),
    }
)


def _ground(stack: CamStack, image: Image, cell: int) -> tuple[Grid, Floats]:
    """Return the grid of blocks and the mean colour of each, `[h, w, 3]` float32 in 0..255."""
    if image.shape != (*stack.size, 3) or image.dtype != np.uint8:
        raise ValueError(f"an image {image.shape} {image.dtype} for maps of {stack.size}")
    grid = Grid.over(stack.size, cell)
    (h, w), (height, width) = grid.shape, stack.size
    if cell == 1:
        return grid, image.astype(np.float32)
    whole = cv2.copyMakeBorder(
        np.ascontiguousarray(image), 0, h * cell - height, 0, w * cell - width, cv2.BORDER_REPLICATE
    )
    return grid, np.asarray(cv2.resize(whole.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA))


def _refined(stack: CamStack, name: str, scores: Floats, grid: Grid) -> CamStack:
    # Rounding may leave a sum of weights a hair above 1.
    halves = np.clip(scores, 0, 1).astype(np.float16)
    return CamStack(
        image=stack.image,
        size=stack.size,
        classes=stack.classes,
        maps=halves[1:],
        # Scores that compete are left as they are, not divided by their peaks.
        peaks=np.ones(len(stack.classes), np.float32),
        cell=grid.cell,
        origin=grid.origin,
        scores=stack.scores,
        background=halves[0],
        facts={"method": name},
    )


def _traced(
    stack: CamStack, name: str, steps: Iterator[tuple[Floats, float]], iterations: int, grid: Grid
) -> Refined:
    at = np.unique(np.linspace(0, iterations, min(iterations + 1, _STAGES)).round().astype(int)).tolist()
    stride = math.ceil(math.sqrt(grid.shape[0] * grid.shape[1] / _STAGE_PIXELS))
    stages, energies = [], []
    scores = np.zeros((0, 0, 0), np.float32)
    for number, (scores, energy) in enumerate(steps):
        if number in at:
            stages.append(np.clip(scores[:, ::stride, ::stride], 0, 1).astype(np.float16))
            energies.append(energy)
    trace = RefineTrace(
        image=stack.image,
        size=stack.size,
        classes=stack.classes,
        refiner=name,
        at=tuple(at),
        stages=np.stack(stages),
        cell=grid.cell * stride,
        origin=grid.origin,
        energy=None if math.isnan(energies[0]) else np.array(energies),
    )
    return _refined(stack, name, scores, grid), trace
