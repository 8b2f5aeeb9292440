"""Folding batch normalisation changes no number beyond rounding, or does not happen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.nets.backbone import build_backbone
from engine.nets.fold import folded


def _norms(net: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_the_copy_computes_the_same_with_fewer_layers(name: str) -> None:
    torch.manual_seed(0)
    net = build_backbone(name)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    copied = folded(net)
    assert _norms(net) > 0 and _norms(copied) == 0
    net.eval()
    x = torch.randn(2, 3, 97, 65)
    with torch.no_grad():
        torch.testing.assert_close(copied(x), net(x), rtol=1e-3, atol=1e-3)


def test_a_network_without_batch_normalisation_is_given_back() -> None:
    net = build_backbone("tiny_cnn", norm="group")
    assert folded(net) is net


def test_layers_used_in_another_order_stop_the_folding() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)
            self.b = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.norm(x)) + self.a(x)

    net = Crossed()
    net.norm.running_mean.fill_(1.0)
    assert folded(net) is net
