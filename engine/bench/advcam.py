"""One climbing step after another, ours against the released code's formulation, same image, weights and T.

Ours is `engine.climb` as `wsss climb` runs it: one forward and one backward pass a step for picture and mirror
image together, none after the last map, no gradients of parameters, batch normalisation folded away. The
reference makes two backward passes a step through all parameters, the first for the weights of Grad-CAM.
`max_difference` is that of the accumulated maps, relative to their peak.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.bench._literal_climb import literal_climb
from engine.bench._versus import alternate, numbers, resident
from engine.climb import climb
from engine.climb_settings import ClimbSettings
from engine.methods import method_class
from engine.nets.classifier import Classifier
from engine.nets.fold import folded
from engine.params import parse
from engine.results import enlarge

__all__ = ["bench"]

_SIZE = (375, 500)  # (H, W) px of a VOC photograph
_CLASSES = (0, 2)
_STEPS = 6


def bench(rounds: int) -> dict[str, Any]:
    """Climb two classes of one VOC-sized image with a MobileNet V2 by the preset `code`."""
    literal = parse(ClimbSettings, {"preset": "code", "steps": _STEPS, "scales": "1"})
    # The code sums the maps before its last step, so for the same maps that step need not be taken.
    settings = replace(literal, steps=_STEPS - 1)
    net = _network()
    quick = _network()
    quick.backbone = folded(quick.backbone)  # type: ignore[assignment]
    quick.requires_grad_(False)
    picture = net.backbone.prep.normalise(_photograph())  # [3, H, W]

    def ours() -> Tensor:
        # One class at a time, as `wsss climb` does on a processor: two together miss the caches.
        found = []
        for cls in _CLASSES:
            steps = climb(quick, picture[None], torch.tensor([cls]), settings)
            found.append(torch.stack([step.maps[0] for step in steps]).sum(0))
        return torch.stack(found)  # [K, h, w]

    def reference() -> Tensor:
        return torch.stack([literal_climb(net, picture, cls, literal)[0].sum(0) for cls in _CLASSES])

    a, b = ours(), reference()
    difference = float(((a - b).abs().amax((1, 2)) / b.amax((1, 2))).max())
    peaks = resident(ours), resident(reference)
    return numbers(alternate(ours, reference, rounds), peaks, difference, steps=_STEPS, classes=len(_CLASSES))


def _network() -> Classifier:
    """Return an untrained MobileNet V2 whose normalisations have seen the picture, in eval mode."""
    torch.manual_seed(0)
    cls = method_class("cam")
    net = cls(parse(cls.Params, {"backbone": "mobilenet_v2", "pretrained": False, "norm": "trained"})).build(
        4
    )
    assert isinstance(net, Classifier)
    torch.nn.init.normal_(net.head.weight, std=0.1)
    with torch.no_grad():
        for _ in range(20):
            net(net.backbone.prep.normalise(_photograph())[None])
    return net.eval().to(memory_format=torch.channels_last)


def _photograph() -> Tensor:
    """Return smooth noise [3, H, W] float32 in [0, 1]."""
    cells = np.random.default_rng(0).random((3, 24, 32)).astype(np.float32)
    return torch.from_numpy(enlarge(cells, _SIZE, 16.0, 7.5)).clamp(0, 1)
