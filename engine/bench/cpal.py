"""Prototype-aware maps of a training batch, ours against one shifted copy of the features a class and K cosines each, same batch and bank.

Ours shifts no feature and draws all neighbours as one direction. `step_ratio` is one whole
training step of CPAL on a MobileNet V2 over one of plain CAM training, forward and backward, on
the same batch: the price of the prototypes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from engine import prototypes
from engine.bench._versus import alternate, numbers, resident
from engine.method import Batch, ClassifierMethod, Clock
from engine.methods import method_class
from engine.nets.prototype_net import PrototypeNet
from engine.params import parse

__all__ = ["bench"]

_BATCH, _CROP, _CLASSES = 8, 321, 20
_CELLS, _DIM, _NEIGHBOURS, _PAIRS = 32, 768, 20, 13  # 1.6 classes an image, as in VOC


def bench(rounds: int) -> dict[str, Any]:
    """Draw the maps of 8 images of 32 x 32 cells with 768 channels and 20 neighbours; then train one step."""
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(_BATCH, _DIM, _CELLS, _CELLS, generator=draw)
    rows = torch.arange(_PAIRS) * _BATCH // _PAIRS
    p = torch.randn(_PAIRS, _NEIGHBOURS, _DIM, generator=draw)
    w = torch.rand(_PAIRS, _NEIGHBOURS, generator=draw).softmax(1)
    delta = 0.1 * torch.randn(_PAIRS, _DIM, generator=draw)

    def ours() -> Tensor:
        return prototypes.prototype_maps(z, rows, p, w, delta)

    def reference() -> Tensor:
        moved = F.normalize(z[rows] + delta[:, :, None, None], dim=1)  # [R, D, h, w]
        cos = torch.einsum("rdhw,rkd->rkhw", moved, F.normalize(p, dim=2))
        return (w[:, :, None, None] * cos).sum(1).relu()

    difference = float((ours() - reference()).abs().max())
    peaks = resident(ours), resident(reference)
    seconds = alternate(ours, reference, rounds)
    aware, plain = (_step(name) for name in ("cpal", "cam"))
    steps = alternate(aware, plain, rounds)
    return numbers(
        seconds,
        peaks,
        difference,
        step_ratio=steps[0] / steps[1],
        step_seconds=steps[0],
        plain_seconds=steps[1],
    )


def _step(name: str) -> Any:
    cls = method_class(name)
    method = cls(parse(cls.Params, {"backbone": "mobilenet_v2", "pretrained": False, "freeze": "layer2"}))
    assert isinstance(method, ClassifierMethod)
    torch.manual_seed(0)
    net = method.build(_CLASSES).to(memory_format=torch.channels_last).train()
    if isinstance(net, PrototypeNet):
        bank = net.bank
        bank.rows.normal_()
        bank.pushes.fill_(bank.length)
        for n in range(_CLASSES):
            bank.cluster(n, 0)
    images = torch.randn(_BATCH, 3, _CROP, _CROP).contiguous(memory_format=torch.channels_last)
    targets = (torch.rand(_BATCH, _CLASSES) < 1.6 / _CLASSES).to(torch.int8)
    targets[torch.arange(_BATCH), torch.arange(_BATCH)] = 1
    counts = torch.full((2, _CLASSES), 10.0)
    batch = Batch(images, targets, tuple(map(str, range(_BATCH))), targets.numel(), _BATCH, 1, counts)

    def step() -> None:
        net.zero_grad()
        losses = method.training_step(net, batch, Clock(5, 10, 0))
        torch.stack(list(losses.values())).sum().backward()
        method.after_step(net, Clock(5, 10, 0))

    return step
