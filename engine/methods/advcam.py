"""Climb on the classifier's score so that its map grows from the telling part to the whole object.

Citation:

Lee, Kim, Mok, Yoon. Anti-Adversarially Manipulated Attributions for Weakly Supervised Semantic
Segmentation and Object Localization. TPAMI 2022 (CVPR 2021).

Departs from the paper:

- A step moves the strongest pixel by a stated number of grey levels (gradient = linf), as the released code does; the paper adds the raw gradient (gradient = none).
- Scores are means of the class maps after their ReLU (score = relu), as the released code does; the paper climbs on the logit (score = logit).
- The penalty is a mean over cells (penalty_over = mean), so that lambda means the same at every scale, stride and width of network; the paper and the code take a sum.
- What is held still is the background, not the core: cells below a fifth of the first map's peak (background_below, D as of AdvCAM-Sal but found without a detector) instead of those above half of it (tau = 1). On photographs with a MobileNet V2 long climbs spoil a seed by lighting the background; holding high cells still helped them less, not at all beside a scale that is only looked at, and cost two points of mIoU after 2 steps where it was strong enough to matter.
- Lambda is 1.5 instead of 7 (lam): with means on both sides the score then gains a quarter of what it did from background that lights up. On 50 photographs that cost 0.3 points of mIoU after 2 steps and gained 2.5 after 27 over a free climb (0.477 against 0.452; 4.1 at scale 1 alone); at 2 it costs more after 2 steps.
- The scores of the other classes are left alone (others = 0): pushing them down cost half a point of mIoU on these photographs; the paper and the code do it (others = 1).
- Few and small steps, and the last map instead of the sum (steps, step, aggregate): on 100 photographs with a MobileNet V2 the map after 2 steps of 1.5 grey levels was the best seed of any single step, and better than the sum of 4 steps by a third of a point.
- The picture stays within the darkest and brightest value it had (clip = start); the paper does not clip, the code clips to the range of the previous step.
- Scales 0.5 and 1 are climbed in the same steps, scale 2 is looked at without climbing, and all count alike (scales, climbed_to, scale_steps, scale_weight): in a smaller picture the network sees whole objects, and a climb lights them whole. On 75 photographs climbed maps gained 0.8 points of mIoU from scale 0.5, and plain ones nothing. The code climbs 0.5 to 2, gives the smallest scale half the steps and, by a slip, half the weight.

Look at:

- What each step adds: the first few light the rest of the object, later ones the background.
- The restricting mask: where it covers the object, that part of it cannot light up.
- The scores of the other classes: a climb that drags one along lights that object too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import maps
from engine.class_maps import Shot, wanted_classes
from engine.climb import background_of, climb, row_of
from engine.climb_settings import ClimbSettings, steps_at, weight_of
from engine.method import Method
from engine.nets.classifier import Classifier
from engine.nets.input import resized
from engine.results import CamStack

__all__ = [
    "METHOD",
    "AdvCam",
    "Rows",
    "change",
    "climb_maps",
    "on_grid",
    "scaled",
]

# Pixels of one batch of climbs, all pictures and mirror images together: their activations are
# kept for the backward pass, about 1.5 GB of them for a ResNet-50.
_BATCH_PIXELS = {"cpu": 400_000, "cuda": 8_000_000}


@dataclass(frozen=True)
class NoParams:
    """AdvCAM trains nothing."""


class AdvCam(Method[NoParams, ClimbSettings]):
    """Adversarial climbing: x^t = x^{t-1} + xi grad(y_c - sum y_k - lambda |M (R^t - R^0)|)."""

    TITLE = "Adversarial climbing (AdvCAM)"
    NEEDS = ("run of a classifier",)
    SHOWS = ("cams", "climb")
    TRAINS = False
    Params = NoParams
    Views = ClimbSettings


@dataclass
class Rows:
    """What is kept of one climb, row by row, in the form that `engine.results.TraceWriter` takes.

    Attributes:
        cls: 0-based class.
        scale: Scale of the image that was climbed.
        size: (H, W) of the climbed picture in px.
        cell, origin: Where the map's cells lie in the image, px.
        rows: One mapping of arrays a step.
        ending: finished or plateau.
    """

    cls: int
    scale: float
    size: tuple[int, int]
    cell: float
    origin: float
    rows: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    ending: str = "finished"


def climb_maps(
    net: Classifier,
    shots: Sequence[Shot],
    settings: ClimbSettings,
    probabilities: Callable[[Tensor], Tensor] = torch.sigmoid,
    salient: Mapping[str, NDArray[np.bool_]] | None = None,
    each_step: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, CamStack, list[Rows]]]:
    """Climb the wanted classes of images of one size; yield their final maps A and what was kept of each step.

    Args:
        net: The classifier, in eval mode; its parameters need no gradient.
        shots: Images of one size.
        settings: How they are climbed.
        probabilities: From scores [B, C] to [B, C] in [0, 1].
        salient: Image -> [H, W] bool, True on salient objects; images without an entry have no D.
        each_step: Called after every step of every batch; it may raise to end the climb.

    Yields:
        Stem, maps, and the rows of each class at the scale nearest to 1.
    """
    device = next(net.parameters()).device
    pixels = torch.from_numpy(np.stack([s.pixels for s in shots])).to(device).permute(0, 3, 1, 2)
    size = (int(pixels.shape[2]), int(pixels.shape[3]))
    # The scale nearest to 1 is the one whose steps are kept.
    scales = sorted(settings.scales, key=lambda s: abs(s - 1))
    scores = _clean_scores(net, scaled(net, pixels, scales[0]), probabilities, flip=settings.flip)  # [B, C]
    wanted = [wanted_classes(shot.tags, scores[n], settings) for n, shot in enumerate(shots)]
    pairs = [(n, cls) for n, classes in enumerate(wanted) for cls in classes]
    total: dict[tuple[int, int], Tensor] = {}
    kept: dict[tuple[int, int], Rows] = {}
    for scale in scales:
        pictures = scaled(net, pixels, scale)  # [B, 3, h, w]
        at_once = max(1, _BATCH_PIXELS.get(device.type, _BATCH_PIXELS["cpu"]) // (pictures[0, 0].numel() * 2))
        for first in range(0, len(pairs), at_once):
            batch = pairs[first : first + at_once]
            grids, rows = _one_scale(
                net, pictures, scale, size, shots, batch, settings, salient or {}, each_step
            )
            for n, pair in enumerate(batch):
                grid = grids[n] * weight_of(settings, scale)
                total[pair] = grid if pair not in total else total[pair] + grid
                if scale == scales[0]:
                    kept[pair] = rows[n]
    for n, shot in enumerate(shots):
        if wanted[n]:
            heat, peaks = maps.normalise(torch.stack([total[n, c] for c in wanted[n]]))
        else:
            heat, peaks = torch.zeros(0, *maps.grid_size(size, settings.cell)), torch.zeros(0)
        stack = CamStack(
            image=shot.stem,
            size=size,
            classes=tuple(wanted[n]),
            maps=heat.cpu().numpy().astype(np.float16),
            peaks=peaks.cpu().numpy().astype(np.float32),
            cell=float(settings.cell),
            origin=0.0 if settings.alignment == "centred" else (settings.cell - 1) / 2,
            scores=scores[n].cpu().numpy().astype(np.float32),
            facts={"kind": "advcam", "alignment": settings.alignment, "classes": settings.classes},
        )
        yield shot.stem, stack, [kept[n, c] for c in wanted[n]]


def scaled(net: Classifier, pixels: Tensor, scale: float) -> Tensor:
    """Return images [B, 3, H, W] uint8 at a scale, normalised as the network wants, [B, 3, h, w] float32."""
    height, width = pixels.shape[2:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return net.backbone.prep.normalise(resized(pixels, size).float() / 255)


@torch.no_grad()
def _clean_scores(
    net: Classifier, pictures: Tensor, probabilities: Callable[[Tensor], Tensor], *, flip: bool
) -> Tensor:
    """Return the scores of unchanged pictures [B, 3, H, W], [B, C] in [0, 1], over picture and mirror image."""
    sides = (pictures, pictures.flip(-1)) if flip else (pictures,)
    return torch.stack([probabilities(net.scores(net.features(side))) for side in sides]).mean(0)


def _one_scale(
    net: Classifier,
    pictures: Tensor,
    scale: float,
    size: tuple[int, int],
    shots: Sequence[Shot],
    batch: Sequence[tuple[int, int]],
    settings: ClimbSettings,
    salient: Mapping[str, NDArray[np.bool_]],
    each_step: Callable[[], None],
) -> tuple[Tensor, list[Rows]]:
    """Return the final maps of a batch of (image, class) at one scale on the stored grid, and the rows kept."""
    device = pictures.device
    mine = pictures[[n for n, _ in batch]]  # [N, 3, h, w]
    classes = torch.tensor([c for _, c in batch], device=device)
    stride, centre = int(net.backbone.stride), net.backbone.cell_centre
    picture_size = (int(mine.shape[2]), int(mine.shape[3]))
    cells = (-(-picture_size[0] // stride), -(-picture_size[1] // stride))
    outside = None
    if any(shots[n].stem in salient for n, _ in batch):
        outside = torch.stack([
            background_of(net, salient[shots[n].stem], picture_size, cells)
            if shots[n].stem in salient else torch.zeros(cells, dtype=torch.bool)
            for n, _ in batch
        ]).to(device)  # [N, h, w]  # fmt: skip
    pictures_too = settings.keep == "pictures"
    rows = [Rows(c, scale, picture_size, stride / scale, centre / scale) for _, c in batch]
    active = torch.ones(len(batch), dtype=torch.bool, device=device)
    added: Tensor | None = None
    before: Tensor | None = None
    counted = torch.zeros(len(batch), device=device)
    # The released code's last step changes a picture that nobody looks at any more.
    steps = max(0, steps_at(settings, scale) - (not settings.count_last))
    climbing = climb(
        net, mine, classes, replace(settings, steps=steps), background=outside, want_saliency=pictures_too
    )
    for step in climbing:
        each_step()
        share = active[:, None, None, None]
        if added is None:
            added = step.parts.clone()
        elif settings.aggregate == "sum":
            added += step.parts * share
        else:
            added = torch.where(share, step.parts, added)
        counted += active
        moved = row_of(net, step, mine, pictures=pictures_too)
        for n, kept in enumerate(rows):
            if active[n]:
                kept.rows.append({name: array[n] for name, array in moved.items()})
        if settings.plateau:
            now = added[:, 0] + added[:, 1].flip(-1) if settings.flip else added[:, 0]  # [N, h, w]
            if before is not None:
                flat = change(before, now) < settings.plateau
                for n in torch.nonzero(flat & active)[:, 0].tolist():
                    rows[n].ending = "plateau"
                active &= ~flat
                if not active.any():
                    break
            before = now
    assert added is not None
    if settings.scale_steps == "equal" and settings.aggregate == "sum":
        added = added / counted[:, None, None, None]
    return on_grid(net, added, size, picture_size, settings), rows


def change(before: Tensor, now: Tensor) -> Tensor:
    """Return by what share of its peak a step changed each final map [N, h, w] on average, [N]."""
    return (maps.normalise(now)[0] - maps.normalise(before)[0]).abs().mean((1, 2))


def on_grid(
    net: Classifier,
    parts: Tensor,
    size: tuple[int, int],
    picture_size: tuple[int, int],
    settings: ClimbSettings,
) -> Tensor:
    """Return maps [N, F, h, w] of picture and mirror image, sampled on the stored grid and added, [N, g, v].

    Args:
        net: Knows where its cells lie.
        parts: As of `engine.climb.Step`.
        size: (H, W) of the image in px.
        picture_size: (H, W) of the climbed picture in px.
        settings: How maps are stored.
    """
    backbone = net.backbone
    return maps.on_grid(
        None,
        parts[:, :, None].unbind(1),
        size,
        picture_size,
        stride=int(backbone.stride),
        centre=backbone.cell_centre,
        cell=settings.cell,
        official=settings.alignment == "official",
    )[:, 0]


METHOD = AdvCam
