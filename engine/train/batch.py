"""What one step of training is given, and what the loop asks of whoever is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn

from engine.store import Run

__all__ = ["Batch", "Clock", "Losses", "Trained"]

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Clock:
    """Where training stands; schedules are functions of `fraction`, never of step numbers."""

    step: int
    steps: int
    epoch: int

    @property
    def fraction(self) -> float:
        """Share of the training that is done, in [0, 1)."""
        return self.step / max(1, self.steps)


@dataclass(frozen=True)
class Batch:
    """One rank's share of a global batch.

    Attributes:
        images: [B, 3, h, w] float32, normalised as the backbone wants.
        targets: [B, C] int8 in {1 present, 0 absent, -1 unknown}.
        stems: Names of the images.
        known: Number of known tags in the global batch; losses divide by it so that one
            rank and many agree.
        named: Number of images in the global batch that have a present tag; losses with one
            class an image divide by it.
        world: Number of ranks, over which gradients are averaged.
        counts: [2, C] float32, how many training images have each class present, absent.
        labels: [B, h, w] uint8, pseudo-labels cut as the images are: 0 background, class + 1, 255 unsure and
            outside the image; None for methods that learn from tags.
        maps: [B, C, h, w] float32 in [0, 1], maps of another run cut as the images are and averaged over the
            cells of the features, 0 outside the image and for classes without a map; None for methods that
            are given none.
        places: [B, 2, h, w] float32, (y, x) of the centre of each cell of the features in the whole image, in
            [0, 1], above 1 outside of it; None where nobody cut anything.
    """

    images: Tensor
    targets: Tensor
    stems: tuple[str, ...]
    known: int
    named: int
    world: int
    counts: Tensor
    labels: Tensor | None = None
    maps: Tensor | None = None
    places: Tensor | None = None


class Trained(Protocol):
    """What the loop asks of a method; `MEASURED` says whether held-out tags measure it."""

    MEASURED: ClassVar[bool]

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        """Return name -> weighted scalar; their sum is minimised."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the network's scores [B, C] as numbers in [0, 1] that rank the images of a class."""

    def after_step(self, net: nn.Module, clock: Clock) -> None:
        """Do what must follow an optimiser step."""

    def keep(self, run: Run) -> None:
        """Write what the run keeps of the last step beside its weights; asked of one rank."""
