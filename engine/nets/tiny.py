"""A small network that learns from random weights in seconds on a CPU, for the bundled sample."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["TinyCNN"]


class TinyCNN(nn.Module):
    """Residual network of 0.2 M parameters: maps `[B, 80, h, w]` of 8 pixels a cell.

    Group normalisation (Wu and He, 2018) because a sample of a few images has no use for
    batch statistics, and residual blocks (He et al., 2016) in the usual order.

    Stages: `stem` (stride 2), `stage1` (4), `stage2` (8), `stage3` (8).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, 24), nn.ReLU(inplace=True)
        )
        self.stage1 = _Block(24, 40, stride=2)
        self.stage2 = _Block(40, 80, stride=2)
        self.stage3 = _Block(80, 80, stride=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(8, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.GroupNorm(8, outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm1(self.conv1(x)))  # [B, outputs, h, w]
        y = self.norm2(self.conv2(y))  # [B, outputs, h, w]
        return self.relu(y + self.shortcut(x))  # [B, outputs, h, w]
