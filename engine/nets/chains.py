"""Networks that run as a chain of stages: torchvision's classifiers and our own."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import vgg

from engine.nets.tiny import TinyCNN
from engine.nets.trunk import Stages, Trunk

__all__ = ["Chain", "build_chain"]

_PROBE_SIDE = 64

_NAMED: dict[type[nn.Module], Stages] = {
    TinyCNN: {"stem": ("stem",), "stage1": ("stage1",), "stage2": ("stage2",), "stage3": ("stage3",)},
    torchvision.models.ResNet: {
        "stem": ("conv1", "bn1", "relu", "maxpool"),
        "layer1": ("layer1",),
        "layer2": ("layer2",),
        "layer3": ("layer3",),
        "layer4": ("layer4",),
    },
    torchvision.models.RegNet: {
        "stem": ("stem",),
        "block1": ("trunk_output.block1",),
        "block2": ("trunk_output.block2",),
        "block3": ("trunk_output.block3",),
        "block4": ("trunk_output.block4",),
    },
    torchvision.models.ShuffleNetV2: {
        "stem": ("conv1", "maxpool"),
        "stage2": ("stage2",),
        "stage3": ("stage3",),
        "stage4": ("stage4", "conv5"),
    },
}


class Chain(Trunk):
    """A network that runs one stage after the other.

    Args:
        net: The network without its classifier.
        parts: Stage name -> dotted names of the modules of `net` that it runs, in order.
    """

    def __init__(self, net: nn.Module, parts: Stages) -> None:
        super().__init__()
        self.net = net
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        """Return the last map `[B, D, h, w]`."""
        return list(self.taps(x).values())[-1]

    def taps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the map `[B, D, h, w]` of every stage, shallow to deep."""
        maps = {}
        for stage, paths in self.parts.items():
            for path in paths:
                x = self.net.get_submodule(path)(x)  # [B, D, h, w]
            maps[stage] = x
        return maps

    def stages(self) -> Stages:
        """Return the stages."""
        return {stage: tuple(f"net.{path}" for path in paths) for stage, paths in self.parts.items()}


def build_chain(name: str) -> tuple[Chain, frozenset[str]]:
    """Build a network with random weights and without its classifier.

    Networks that are one long list of layers are cut where the stride grows; their stages
    are named by their native stride: `s2`, `s4`, ... `s32`.

    Returns:
        The network, in eval mode, and the names of the parameters that went with the
        classifier, which a weights file may hold.
    """
    if name == "tiny_cnn":
        return Chain(TinyCNN(), _NAMED[TinyCNN]).eval(), frozenset()
    whole = _vgg(name) if name.startswith("vgg") else torchvision.models.get_model(name, weights=None)
    whole.eval()
    keys = set(whole.state_dict())
    tail: tuple[str, ...] = ()
    match whole:
        case torchvision.models.ConvNeXt():
            # The classifier's first layer normalises the pooled map; its linear layer was
            # trained on normalised features, so ours gets them as well, cell by cell.
            whole.classifier = nn.Sequential(whole.classifier[0])
            tail = ("classifier.0",)
        case torchvision.models.DenseNet():
            # torchvision applies this one as a function, out of reach of a chain.
            whole.classifier = nn.ReLU()
            tail = ("classifier",)
        case _:
            setattr(whole, "fc" if hasattr(whole, "fc") else "classifier", nn.Identity())
    parts = _NAMED.get(type(whole)) or _cut(
        whole, "layers" if name.startswith("mnasnet") else "features", tail
    )
    return Chain(whole, parts).eval(), frozenset(keys - set(whole.state_dict()))


def _cut(whole: nn.Module, path: str, tail: tuple[str, ...]) -> Stages:
    layers = list(whole.get_submodule(path).named_children())
    if isinstance(layers[-1][1], nn.MaxPool2d):
        # VGG's last pooling serves its classifier only; the maps end before it.
        layers.pop()
    stages: dict[str, list[str]] = {}
    x, stage = torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE), "s1"
    with torch.no_grad():
        for child, layer in layers:
            x = layer(x)  # [1, D, h, w]
            stage = f"s{_PROBE_SIDE // x.shape[-1]}"
            stages.setdefault(stage, []).append(f"{path}.{child}")
    stages[stage].extend(tail)
    return {stage: tuple(paths) for stage, paths in stages.items()}


def _vgg(name: str) -> nn.Module:
    """Build a VGG without spending seconds and half a gigabyte on a classifier that is dropped."""
    with torch.device("meta"):
        whole = torchvision.models.get_model(name, weights=None, init_weights=False)
    assert isinstance(whole, vgg.VGG)
    whole.features.to_empty(device="cpu")
    for layer in whole.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return whole
