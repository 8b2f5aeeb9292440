"""Draw the class activation maps of any classifier: scales, mirror image, gradients, alignment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine import maps
from engine.errors import UserError
from engine.nets.backbone import Backbone
from engine.nets.classifier import Classifier
from engine.nets.input import over_cells, resized
from engine.params import Spec
from engine.results import CamStack

__all__ = [
    "Alignment",
    "CamViews",
    "Cell",
    "PredictedAbove",
    "Seen",
    "Shot",
    "check_scales",
    "class_maps",
    "fused_maps",
    "host_maps",
    "wanted_classes",
]


@dataclass(frozen=True)
class Shot:
    """One image to look at: its upright pixels [H, W, 3] uint8, its tags [C] int8, and what a method asks for beside.

    Attributes:
        label: [H, W] uint8, the confident label that a network learnt from (see `engine.confident`), or None.
        maps: Maps of another run, see `engine.method.Method.host`, or None.
    """

    stem: str
    pixels: NDArray[np.uint8]
    tags: NDArray[np.int8]
    label: NDArray[np.uint8] | None = None
    maps: CamStack | None = None


# Scores (logits) [B, C] of a batch, and what draws the maps [B, K, h, w] of K classes of it.
Seen = tuple[Tensor, Callable[[list[int]], Tensor]]

# Settings of every method that draws maps.
PredictedAbove = Annotated[float, Spec("Score from which a class counts as predicted.", low=0, high=1)]
Alignment = Annotated[
    Literal["centred", "official"],
    Spec(
        "Where a feature is drawn: at the pixel it is centred on, or stretched over the image as the released codes do."
    ),
]
Cell = Annotated[int, Spec("Side of a cell of the stored maps.", low=1, high=64, unit="px")]


@dataclass(frozen=True)
class CamViews:
    """How the maps of a trained classifier are drawn."""

    kind: Annotated[
        Literal["cam", "gradcam", "gradcam++"],
        Spec(
            "Which map: weights of the classifier, or gradients of the score. cam and gradcam agree on this head.",
            main=True,
        ),
    ] = "cam"
    scales: Annotated[
        tuple[float, ...],
        Spec(
            "Image scales whose maps are added up; time grows with the sum of their squares.",
            low=0.1,
            high=4,
            unit="x",
            main=True,
        ),
    ] = (1.0, 0.5, 1.5)
    flip: Annotated[bool, Spec("Add the map of the mirror image too; doubles the time.", main=True)] = True
    classes: Annotated[
        Literal["present", "predicted", "all"],
        Spec(
            "Draw the tags that are present (the protocol of all benchmarks), the classes that the network predicts, or all.",
            main=True,
        ),
    ] = "present"
    predicted_above: PredictedAbove = 0.5
    alignment: Alignment = "centred"
    cell: Cell = 4

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"scales": (1.0,), "flip": False, "alignment": "official"},
        "code": {"scales": (1.0, 0.5, 1.5, 2.0), "flip": True, "alignment": "official"},
        "engine": {},
    }

    def __post_init__(self) -> None:
        check_scales(self.scales)


def check_scales(scales: Sequence[float]) -> None:
    """Check that scales differ.

    Raises:
        UserError: One stands there twice.
    """
    if len(set(scales)) != len(scales):
        raise UserError("scales names a scale twice.", "Each scale counts once.", "Remove one of the two.")


def class_maps(
    net: Classifier,
    shots: Sequence[Shot],
    views: CamViews,
    probabilities: Callable[[Tensor], Tensor] = torch.sigmoid,
) -> Iterator[tuple[str, CamStack]]:
    """Yield the maps of images of one size, all scales and the mirror image fused.

    Args:
        net: The trained classifier, in eval mode.
        shots: Images of the same size.
        views: How they are drawn.
        probabilities: From scores [B, C] to [B, C] in [0, 1]: sigmoid, or softmax over the classes.
    """

    def see(images: Tensor) -> Seen:
        features = net.features(images)  # [B, D, h, w]

        def draw(classes: list[int]) -> Tensor:
            weights = (
                net.weight_of(classes)
                if views.kind == "cam"
                else maps.channel_weights(features, net.scores, classes, views.kind)
            )
            return maps.cam(features, weights)

        return net.scores(features), draw

    yield from fused_maps(net, shots, views, see, probabilities, {"kind": views.kind})


def fused_maps(
    net: Classifier,
    shots: Sequence[Shot],
    views: Any,
    see: Callable[[Tensor], Seen],
    probabilities: Callable[[Tensor], Tensor],
    facts: dict[str, Any],
) -> Iterator[tuple[str, CamStack]]:
    """Yield the maps of images of one size, all scales and the mirror image fused, however they are drawn.

    Args:
        net: The network, in eval mode.
        shots: Images of the same size.
        views: Settings with `scales`, `flip`, `classes`, `predicted_above`, `alignment` and `cell`.
        see: From normalised images [B, 3, h, w] to their scores (logits) [B, C], and to what draws
            the maps [B, K, h, w] >= 0 of K classes.
        probabilities: See `class_maps`.
        facts: What the stacks say of themselves beside the settings above.
    """
    size = shots[0].pixels.shape[:2]
    device = next(net.parameters()).device
    pixels = (
        torch.from_numpy(np.stack([s.pixels for s in shots])).to(device).permute(0, 3, 1, 2)
    )  # [B, 3, H, W]
    backbone, prep = net.backbone, net.backbone.prep
    drawn: list[int] = []
    total: Tensor | None = None
    scores: Tensor | None = None
    # The scale nearest to 1 first: it gives the scores, which may choose the classes.
    for scale in sorted(views.scales, key=lambda s: abs(s - 1)):
        scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        images = prep.normalise(resized(pixels, scaled).float() / 255)  # [B, 3, h, w]
        if views.flip:
            images = torch.cat([images, images.flip(3)])  # [2B, 3, h, w]
        logits, draw = see(images)
        if scores is None:
            scores = probabilities(logits).unflatten(0, (-1, len(shots))).mean(0)  # [B, C]
            drawn = _classes(shots, scores, views)
            if not drawn:
                break
        found = draw(drawn)  # [B or 2B, K, h, w]
        total = maps.on_grid(
            total,
            found.split(len(shots)),
            size,
            scaled,
            stride=backbone.stride,
            centre=backbone.cell_centre,
            cell=views.cell,
            official=views.alignment == "official",
        )
    assert scores is not None
    yield from _stacks(shots, size, drawn, total, scores, views, facts)


def host_maps(shots: Sequence[Shot], classes: list[int], images: Tensor, backbone: Backbone) -> Tensor:
    """Return the maps [B or 2B, K, h, w] in [0, 1] that shots came with, on the cells of their features.

    Args:
        shots: Images with maps of another run; a class without one has a map of nothing.
        classes: K classes.
        images: [B or 2B, 3, H, W], the scaled images as a network sees them, then their mirror images.
        backbone: Whose features.

    Raises:
        UserError: One came without.
    """
    found = images.new_zeros(len(shots), len(classes), *images.shape[2:])
    for row, shot in zip(found, shots, strict=True):
        if shot.maps is None:
            raise UserError(
                f"{shot.stem} came without the maps of another run.",
                "This network was trained with such maps beside the images.",
                "Draw them with `wsss infer` of that run.",
            )
        known = [c for c in classes if c in shot.maps.classes]
        if known:
            full = torch.from_numpy(shot.maps.full()[[shot.maps.classes.index(c) for c in known]])
            full = F.interpolate(full[None], images.shape[2:], mode="bilinear", antialias=True)[0]
            row[[classes.index(c) for c in known]] = full.to(row)
    if len(images) > len(shots):
        found = torch.cat([found, found.flip(3)])
    return over_cells(found, backbone.stride, backbone.cell_centre)


def _classes(shots: Sequence[Shot], scores: Tensor, views: Any) -> list[int]:
    """Return the classes that at least one of the images wants, ascending."""
    wanted = set()
    for n, shot in enumerate(shots):
        wanted |= set(wanted_classes(shot.tags, scores[n], views))
    return sorted(wanted)


def _stacks(
    shots: Sequence[Shot],
    size: tuple[int, int],
    drawn: list[int],
    total: Tensor | None,
    scores: Tensor,
    views: Any,
    facts: dict[str, Any],
) -> Iterator[tuple[str, CamStack]]:
    grid = maps.grid_size(size, views.cell)
    for n, shot in enumerate(shots):
        classes = wanted_classes(shot.tags, scores[n], views)
        if total is None or not classes:
            heat, peaks = torch.zeros(0, *grid), torch.zeros(0)
        else:
            heat, peaks = maps.normalise(total[n, [drawn.index(c) for c in classes]])
        yield (
            shot.stem,
            CamStack(
                image=shot.stem,
                size=(int(size[0]), int(size[1])),
                classes=tuple(classes),
                maps=heat.cpu().numpy().astype(np.float16),
                peaks=peaks.cpu().numpy().astype(np.float32),
                cell=float(views.cell),
                origin=0.0 if views.alignment == "centred" else (views.cell - 1) / 2,
                scores=scores[n].cpu().numpy().astype(np.float32),
                facts={**facts, "alignment": views.alignment, "classes": views.classes},
            ),
        )


def wanted_classes(tags: NDArray[np.int8], scores: Tensor, views: Any) -> list[int]:
    """Return the 0-based classes whose maps are asked for.

    Args:
        tags: [C] int8.
        scores: [C] float in [0, 1].
        views: Settings with `classes` (present, predicted, all) and `predicted_above`.
    """
    match views.classes:
        case "present":
            return [int(c) for c in np.flatnonzero(tags == 1)]
        case "predicted":
            return [int(c) for c in torch.nonzero(scores >= views.predicted_above)[:, 0]]
        case _:
            return list(range(len(scores)))
