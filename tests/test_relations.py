"""The networks of PSA and IRN: where they draw, what learns, any backbone, any size."""

from __future__ import annotations

import pytest
import torch

from engine.nets.backbone import build_backbone, freeze
from engine.nets.relations import FeatureNet, RelationNet, on_cells

BACKBONES = ("tiny_cnn", "mobilenet_v2", "resnet18", "vit_tiny_patch16_224")


def test_cells_are_drawn_where_they_are_centred() -> None:
    ramp = 16.0 * torch.arange(6).repeat(1, 1, 4, 1)  # column i holds its pixel 16 i
    fine = on_cells(ramp, 16, 4, (13, 21))
    torch.testing.assert_close(fine[0, 0, 0], 4.0 * torch.arange(21))
    back = on_cells(fine, 4, 8, (7, 11))
    torch.testing.assert_close(back[0, 0, 3, 1:-1], 8.0 * torch.arange(1, 10))
    assert torch.equal(on_cells(ramp, 16, 16, (4, 6)), ramp)
    beyond = on_cells(ramp, 16, 4, (13, 24))
    assert beyond[0, 0, 0, 20:].tolist() == [80.0] * 4


@pytest.mark.parametrize("name", BACKBONES)
def test_any_backbone_and_any_size(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, norm="group" if name == "tiny_cnn" else "frozen")
    freeze(backbone, "all")
    net = RelationNet(backbone).eval()
    features = FeatureNet(build_backbone(name, output_stride=8)).eval()
    with torch.no_grad():
        for height, width in ((1, 1), (33, 70), (64, 48), (333, 31)):
            images = torch.randn(2, 3, height, width)
            edge, displacement = net(images)
            assert edge.shape == (2, -(-height // 4), -(-width // 4))
            assert displacement.shape == (2, 2, *edge.shape[1:])
            found = features(images)
            assert found.shape[2:] == (-(-height // 8), -(-width // 8))
            assert (
                torch.isfinite(edge).all()
                and torch.isfinite(displacement).all()
                and torch.isfinite(found).all()
            )


def test_only_the_heads_learn_and_the_mean_is_taken_off_when_drawing() -> None:
    backbone = build_backbone("tiny_cnn", norm="group")
    freeze(backbone, "all")
    net = RelationNet(backbone).train()
    edge, displacement = net(torch.randn(1, 3, 32, 32))
    (edge.sum() + displacement.sum()).backward()
    assert all(p.grad is None for p in backbone.parameters())
    assert all(p.grad is not None for p in net.new_parameters())
    net.eval()
    with torch.no_grad():
        images = torch.randn(1, 3, 32, 32)
        before = net(images)[1]
        net.mean.copy_(torch.tensor([2.0, -1.0]))
        torch.testing.assert_close(net(images)[1], before - net.mean[:, None, None])


def test_a_network_without_displacement_has_none() -> None:
    net = RelationNet(build_backbone("tiny_cnn", norm="group"), displacement=False)
    assert net(torch.randn(1, 3, 32, 32))[1] is None
    full = RelationNet(build_backbone("tiny_cnn", norm="group"))
    assert sum(p.numel() for p in net.new_parameters()) < sum(p.numel() for p in full.new_parameters()) / 4
