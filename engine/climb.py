"""The climb itself: one forward and one backward pass a step, many pictures and classes at once.

Source: Lee et al., AdvCAM (TPAMI 2022), eq. 3 to 7. With x^t the picture and its mirror image, L_k = w_k f the
class maps, R^t the attribution and M^t the restricting mask:

    y_k = sum over image and mirror of mean relu(L_k)                  (score = relu; the logit otherwise)
    M^t = 1[R^t > tau max R^t]                                         (eq. 5), joined with D (4.4):
    D   = background by a saliency mask, or without one by R^0: 1[R^0 < b max R^0]   (background_below = b; ours)
    J   = y_c - sum_{k != c} y_k - lambda |(M u D) (R^t - R^0)|        (eq. 7)
    x^{t+1} = clip(x^t + xi G / max |G|),  G = dJ/dx^t                 (eq. 6)

What the reference formulation spends that this one does not: it finds the weights of Grad-CAM by a backward
pass of their own, though for a mean and a linear layer they are the layer's weights; it lets every parameter
gather a gradient that nobody reads; and it climbs class by class. That is 5 forward passes' worth of work a
step and class instead of 3, in smaller batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.nets.classifier import Classifier

__all__ = ["Step", "background_of", "climb", "levels", "row_of", "saliency_of"]

_TINY = 1e-12


@dataclass(frozen=True)
class Step:
    """What N climbs saw at the pictures x^t.

    Attributes:
        t: Number of the step.
        maps: [N, h, w] float32 >= 0, attribution R^t, not normalised.
        parts: [N, F, h, w] float32, the weighted maps of the picture and of its mirror image (mirrored);
            `maps` is the first plus the second read backwards.
        mask: [N, h, w] uint8: 1 restricting mask M, 2 background D, 3 both.
        scores: [N, C] float32, y_k, the mean over picture and mirror image.
        penalties: [N, 2] float32, lambda times the penalty inside M, and on the rest of D.
        features: [N, D] float32, mean features of the upright picture.
        saliency: Finds [N, H, W] float32 in [0, 1]: |dy_c/dx^t|, greatest of the channels, divided by its
            maximum (paper, fig. 4), by a backward pass; only before the next step is asked for. None when it
            was not wanted.
        x: [N, F, 3, H, W] float32, normalised.
    """

    t: int
    maps: Tensor
    parts: Tensor
    mask: Tensor
    scores: Tensor
    penalties: Tensor
    features: Tensor
    saliency: Callable[[], Tensor] | None
    x: Tensor


def climb(
    net: Classifier,
    pictures: Tensor,
    classes: Tensor,
    settings: Any,
    *,
    start: Tensor | None = None,
    reference: Tensor | None = None,
    first: int = 0,
    background: Tensor | None = None,
    want_saliency: bool = False,
) -> Iterator[Step]:
    """Yield `settings.steps` + 1 steps; the next picture is computed only when its step is asked for.

    Args:
        net: The classifier, in eval mode.
        pictures: [N, 3, H, W] float32, normalised, x^0 of each climb.
        classes: [N] int64, the class that each climbs.
        settings: `engine.climb_settings.ClimbSettings`, or anything with its fields.
        start: [N, F, 3, H, W] float32, normalised, to go on from instead of x^0.
        reference: [N, h, w] float32, R^0 of a climb that goes on.
        first: Number of the first step yielded.
        background: [N, h, w] bool, D by saliency masks; where a mask tells of none, R^0 tells it.
        want_saliency: Let each step find the gradient of y_c by itself, which costs another backward pass.
    """
    x = start
    if x is None:
        x = torch.stack([pictures, pictures.flip(-1)] if settings.flip else [pictures], 1)  # [N, F, 3, H, W]
    weights = net.weight_of(classes.tolist())  # [N, D]
    low, high = _limits(net, pictures, settings.clip)
    size = settings.step / (255 * sum(net.backbone.prep.std) / 3)
    for n in range(settings.steps + 1):
        moves = n < settings.steps
        x = x.detach().requires_grad_(moves or want_saliency)
        with torch.set_grad_enabled(moves or want_saliency):
            seen = _look(net, x, classes, weights, settings, reference, background)
        if reference is None:
            reference = seen.maps.detach()
        # Where the map is its own reference the penalty has no slope, and without other classes J is y_c.
        alike = n == 0 and start is None and settings.others == 0
        slope = (
            _Slope(seen.scores.gather(1, classes[:, None]).sum(), x, moves, alike) if want_saliency else None
        )
        frames = x.shape[1]
        yield Step(
            first + n,
            seen.maps.detach(),
            seen.parts.detach(),
            seen.mask,
            seen.scores.detach() / frames,
            seen.penalties.detach(),
            seen.features.detach(),
            slope.saliency if slope else None,
            x.detach(),
        )
        if moves:
            # Only now: who watches sees the step before the way to the next one is found.
            gradient = slope.gradient if slope else None
            if gradient is None:
                (gradient,) = torch.autograd.grad(seen.aim.sum(), x)  # [N, F, 3, H, W]
            x = _moved(x.detach(), gradient, size, settings, low, high)


def levels(net: Classifier, x: Tensor, pictures: Tensor) -> Tensor:
    """Return x^t - x^0 in grey levels.

    Args:
        net: Knows how pictures were normalised.
        x: [N, F, 3, H, W] float32, normalised.
        pictures: [N, 3, H, W] float32, x^0.

    Returns:
        [N, F, 3, H, W] float32; the second along F is mirrored, as in `x`.
    """
    start = torch.stack([pictures, pictures.flip(-1)][: x.shape[1]], 1)  # [N, F, 3, H, W]
    deviation = torch.tensor(net.backbone.prep.std, device=x.device).view(3, 1, 1)
    return (x - start) * (255 * deviation)  # [N, F, 3, H, W]


def row_of(
    net: Classifier, step: Step, start: Tensor, *, pictures: bool, saliency: bool = True
) -> dict[str, NDArray[Any]]:
    """Return what is kept of a step, name -> [N, …], in the types of a climb's files.

    Args:
        net, step, start: The network, the step, x^0 [N, 3, H, W].
        pictures: Keep the pictures too.
        saliency: Find the saliency too, where it is wanted; black without.
    """
    row: dict[str, NDArray[Any]] = {
        "maps": step.maps.cpu().numpy().astype(np.float16),
        "masks": step.mask.cpu().numpy(),
        "scores": step.scores.cpu().numpy().astype(np.float32),
        "penalties": step.penalties.cpu().numpy().astype(np.float32),
    }
    if pictures:
        row["pictures"] = levels(net, step.x, start).cpu().numpy().astype(np.float16)
    if step.saliency is not None:
        blank = np.zeros((len(step.x), *step.x.shape[-2:]), np.uint8)
        row["saliency"] = saliency_of(step) if saliency else blank
    return row


def saliency_of(step: Step) -> NDArray[np.uint8]:
    """Return the saliency of a step as it is kept, [N, H, W] uint8, 255 at its maximum."""
    assert step.saliency is not None
    return (step.saliency() * 255).round().to(torch.uint8).cpu().numpy()


def background_of(
    net: Classifier, salient: NDArray[np.bool_], picture_size: tuple[int, int], cells: tuple[int, int]
) -> Tensor:
    """Return D on the cells of a map, [h, w] bool: where more than half of a cell's square is not salient.

    Args:
        net: Knows its stride and on which pixel a cell is centred.
        salient: [H, W] bool, True on salient objects, at the image's size.
        picture_size: (H, W) of the climbed picture in px.
        cells: (h, w) of the map.
    """
    outside = torch.from_numpy(~salient)[None, None].float()
    outside = F.interpolate(outside, size=picture_size, mode="area")
    stride = int(net.backbone.stride)
    before = max(0, round((stride - 1) / 2 - net.backbone.cell_centre))
    after = [c * stride - before - s for c, s in zip(cells, picture_size, strict=True)]
    padding = (before, max(0, after[1]), before, max(0, after[0]))
    outside = F.pad(outside, padding, mode="replicate")[..., : cells[0] * stride, : cells[1] * stride]
    return F.avg_pool2d(outside, stride)[0, 0] > 0.5  # [h, w]


@dataclass
class _Slope:
    """The gradient of the climbed scores, found when somebody asks.

    Attributes:
        score: Sum of the climbed scores.
        x: [N, F, 3, H, W], where it is taken.
        again: Whether the graph is needed once more.
        alike: Whether the way of the climb is the same gradient.
        gradient: It, once found, if `alike`.
    """

    score: Tensor
    x: Tensor
    again: bool
    alike: bool
    gradient: Tensor | None = None

    def saliency(self) -> Tensor:
        """Return [N, H, W] float32 in [0, 1]."""
        (grown,) = torch.autograd.grad(self.score, self.x, retain_graph=self.again)  # [N, F, 3, H, W]
        if self.alike:
            self.gradient = grown
        strength = grown[:, 0].abs().amax(1)  # [N, H, W]
        return strength / strength.amax((1, 2), keepdim=True).clamp(min=_TINY)


@dataclass
class _Seen:
    maps: Tensor
    parts: Tensor
    mask: Tensor
    scores: Tensor
    penalties: Tensor
    features: Tensor
    aim: Tensor


def _look(
    net: Classifier,
    x: Tensor,
    classes: Tensor,
    weights: Tensor,
    settings: Any,
    reference: Tensor | None,
    background: Tensor | None,
) -> _Seen:
    """Run the network on x [N, F, 3, H, W] and return what eq. 7 is made of."""
    count, frames = x.shape[:2]
    features = net.features(x.flatten(0, 1))  # [N*F, D, h, w]
    pooled = features.mean((2, 3))  # [N*F, D]
    if settings.score == "relu":
        maps = net.maps(features)  # [N*F, C, h, w]
        mine = torch.arange(count * frames, device=x.device)
        cam = maps[mine, classes.repeat_interleave(frames)].relu()  # [N*F, h, w]
        scores = maps.relu().mean((2, 3))  # [N*F, C]
    else:
        cam = _weighted(features, weights.repeat_interleave(frames, 0))
        scores = net.scores(features)  # [N*F, C]
    if settings.kind == "gradcam++":
        cam = _weighted(features, _plus_plus(weights.repeat_interleave(frames, 0), pooled.detach()))
    cam = cam.unflatten(0, (count, frames))  # [N, F, h, w]
    parts = cam * _shares(cam.detach(), weights, settings.attribution)
    maps_now = parts[:, 0] if frames == 1 else parts[:, 0] + parts[:, 1].flip(-1)  # [N, h, w]
    scores = scores.unflatten(0, (count, frames)).sum(1)  # [N, C]
    peak = maps_now.detach().amax((1, 2), keepdim=True)
    # tau = 1 restricts nothing, and a map without evidence has no peak to be near to.
    restricted = maps_now.detach() > settings.tau * peak  # [N, h, w]
    before = maps_now.detach() if reference is None else reference  # R^0, [N, h, w]
    outside = before < settings.background_below * before.amax((1, 2), keepdim=True)  # D, [N, h, w]
    if background is not None:
        # Who saw the object is believed before a map that may miss half of it.
        outside = torch.where(background.any((1, 2), keepdim=True), background, outside)
    change = (maps_now - before).abs()  # [N, h, w]
    over = change.shape[1] * change.shape[2] if settings.penalty_over == "mean" else 1
    penalties = torch.stack(
        [(change * restricted).sum((1, 2)), (change * (outside & ~restricted)).sum((1, 2))], 1
    ) * (settings.lam / over)  # [N, 2]
    climbed = scores.gather(1, classes[:, None])[:, 0]  # [N]
    aim = climbed - settings.others * (scores.sum(1) - climbed) - penalties.sum(1)  # [N]
    return _Seen(
        maps_now,
        parts,
        restricted.to(torch.uint8) + 2 * outside.to(torch.uint8),
        scores,
        penalties,
        pooled.unflatten(0, (count, frames))[:, 0],
        aim,
    )


def _weighted(features: Tensor, weights: Tensor) -> Tensor:
    """Return relu(sum_d w_nd f_nd), [N, h, w], of features [N, D, h, w] and weights [N, D]."""
    return torch.bmm(weights[:, None], features.flatten(2)).unflatten(2, features.shape[2:])[:, 0].relu()


def _shares(cam: Tensor, weights: Tensor, how: str) -> Tensor:
    """Return how much picture and mirror image count, [N, F, 1, 1]; constants for the gradient.

    `pooled` is what the released code's Grad-CAM comes down to: n_i / ((n_0 + n_1) K+), n_i the cells of a
    map above 0 and K+ the weights of the class above 0 (methods_cam 2.2).
    """
    if how == "mean":
        return cam.new_full((*cam.shape[:2], 1, 1), 1 / cam.shape[1])
    positive = (cam > 0).sum((2, 3), dtype=torch.float32)  # [N, F]
    below = positive.sum(1, keepdim=True) * (weights > 0).sum(1, keepdim=True)
    return (positive / below.clamp(min=1))[..., None, None]


def _plus_plus(weights: Tensor, pooled: Tensor) -> Tensor:
    """Return the weights of Grad-CAM++ [N, D]: relu(w) / (2 + w mean f), exact for a mean and a linear layer."""
    below = 2 + weights * pooled
    return torch.where(below.abs() > 1e-7, weights.relu() / below, torch.zeros_like(below))


def _limits(net: Classifier, pictures: Tensor, clip: str) -> tuple[Tensor | None, Tensor | None]:
    """Return the least and the greatest value that pictures may take, broadcastable to [N, F, 3, H, W]."""
    if clip == "start":
        return pictures.amin((1, 2, 3))[:, None, None, None, None], pictures.amax((1, 2, 3))[
            :, None, None, None, None
        ]
    if clip == "pixels":
        black = net.backbone.prep.normalise(pictures.new_zeros(3, 1, 1))
        return black, net.backbone.prep.normalise(pictures.new_ones(3, 1, 1))
    return None, None


def _moved(
    x: Tensor, gradient: Tensor, size: float, settings: Any, low: Tensor | None, high: Tensor | None
) -> Tensor:
    """Return x + xi G / max |G|, clipped."""
    together = (1, 2, 3, 4) if settings.joint else (2, 3, 4)
    if settings.gradient == "linf":
        size = size / gradient.abs().amax(together, keepdim=True).clamp(min=_TINY)  # type: ignore[assignment]
    moved = torch.addcmul(x, gradient, torch.as_tensor(size, device=x.device))
    if settings.clip == "previous":
        return moved.clamp(x.amin(together, keepdim=True), x.amax(together, keepdim=True))
    if low is not None and high is not None:
        return moved.clamp(low, high)
    return moved
