"""What a backbone asks of the network inside it."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Stages", "Trunk"]

Stages = dict[str, tuple[str, ...]]
"""Stage name -> dotted names of its modules and bare parameters in the trunk, shallow to deep."""


class Trunk(nn.Module):
    """A classifier without its head, held as `net` so that weights files fit its names."""

    net: nn.Module
    patch: int = 0
    """Pixels a patch of a vision transformer; 0 for convolutional networks."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the last map `[B, D, h, w]` of images `[B, 3, H, W]`."""
        raise NotImplementedError

    def taps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the map `[B, D, h, w]` of every stage, shallow to deep; the last equals `forward`."""
        raise NotImplementedError

    def stages(self) -> Stages:
        """Return the stages, which together hold every parameter that the map depends on."""
        raise NotImplementedError
