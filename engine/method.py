"""What a method is: a card, two parameter tables, losses to train by, views to look at.

A method is one file in `engine/methods`: its docstring is what people read, its
`Params` and `Views` are what they set, and `METHOD` names the class. Putting the file
there is all it takes to appear in the list, the form, the command line and the tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine import losses
from engine.class_maps import CamViews, Shot, class_maps
from engine.errors import UserError
from engine.nets.backbone import build_backbone, freeze
from engine.nets.catalogue import Published
from engine.nets.classifier import Classifier
from engine.nets.weights import Weights
from engine.params import Spec
from engine.results import CamStack
from engine.store import Run
from engine.train.batch import Batch, Clock, Losses

__all__ = [
    "Batch",
    "CamViews",
    "Card",
    "ClassifierMethod",
    "ClassifierParams",
    "Clock",
    "Losses",
    "Method",
    "Shot",
    "check_start",
]

P = TypeVar("P")
V = TypeVar("V")


@dataclass(frozen=True)
class Card:
    """What people read of a method before they choose it."""

    name: str
    title: str
    sentence: str
    citation: str
    departs: tuple[str, ...]
    look: tuple[str, ...]
    needs: tuple[str, ...]
    shows: tuple[str, ...]
    version: int
    trains: bool = True
    refines: bool = False
    available: bool = True
    why_not: str = ""


class Method(Generic[P, V]):
    """A method that trains a network on tags and draws views with it.

    Subclasses override what differs. `Params` is what a run is trained with, `Views` what
    its pictures are drawn with; both are frozen dataclasses of `engine.params.Spec`.
    """

    TITLE: ClassVar[str] = ""
    NEEDS: ClassVar[tuple[str, ...]] = ("tags",)
    SHOWS: ClassVar[tuple[str, ...]] = ("cams",)
    # False for a method that works on the network of another run and learns nothing itself.
    TRAINS: ClassVar[bool] = True
    # Whether held-out tags measure it: it gives a score for every class.
    MEASURED: ClassVar[bool] = True
    # Whether `wsss refine` works with a network of it.
    REFINES: ClassVar[bool] = False
    # Raised when results change; it is part of every digest, so old views become stale.
    VERSION: ClassVar[int] = 1
    Params: ClassVar[type[Any]]
    Views: ClassVar[type[Any]]

    def __init__(self, params: P) -> None:
        self.params = params

    def pretrained(self) -> str | Published | None:
        """Return the backbone whose published weights a new run starts from, by name or by where they lie, or None."""
        return None

    def host(self) -> str:
        """Return RUN or RUN/VIEWS whose maps come with every image, at training and at drawing, or "" for none."""
        return ""

    def build(self, classes: int, weights: Weights | None = None) -> nn.Module:
        """Return the network.

        Args:
            classes: Number of foreground classes.
            weights: ImageNet weights to start from; None leaves it random, or about to be
                loaded from a run.
        """
        raise NotImplementedError

    def named(self, net: nn.Module, classes: Sequence[str]) -> None:
        """Tell a new network what its classes are called; methods that learn from tags alone do not ask."""

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        """Return name -> scalar, already weighted; their sum is minimised."""
        raise NotImplementedError

    def remarks(self, states: NDArray[np.int8]) -> tuple[str, ...]:
        """Return what a person should know of the training tags [N, C] before they teach; told as warnings."""
        return ()

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return scores [B, C] as numbers in [0, 1]."""
        return scores.sigmoid()

    def after_step(self, net: nn.Module, clock: Clock) -> None:
        """Do what must follow an optimiser step (update a bank, an average of weights)."""

    def keep(self, run: Run) -> None:
        """Write what the run keeps of the last step beside its weights (a round of clustering)."""

    def infer(self, net: nn.Module, shots: Sequence[Shot], views: V) -> Iterator[tuple[str, CamStack]]:
        """Yield (stem, view) for images that all have the same size."""
        raise NotImplementedError


@dataclass(frozen=True)
class ClassifierParams:
    """Parameters of every method that trains an image classifier."""

    backbone: Annotated[
        str, Spec("Network that looks at the images: any name of torchvision or timm.", main=True)
    ] = "resnet50"
    pretrained: Annotated[
        bool,
        Spec(
            "Start from ImageNet weights; without them training takes far longer on photographs.", main=True
        ),
    ] = True
    output_stride: Annotated[
        Literal["16", "8", "32"],
        Spec("Pixels per feature cell; 8 draws finer maps at about three times the cost (CNNs only)."),
    ] = "16"
    dilate: Annotated[
        Literal["auto", "yes", "no"],
        Spec(
            "Dilate the stages whose stride was taken away, which keeps their receptive field. "
            "auto: no for ResNets, as the reference code does, yes for the others."
        ),
    ] = "auto"
    freeze: Annotated[
        Literal["stem", "layer2", "none", "all"],
        Spec(
            "What keeps its ImageNet weights: the stem, everything up to the second stage (as IRN trains), "
            "nothing, or the whole backbone. Ignored without pretrained weights."
        ),
    ] = "layer2"
    norm: Annotated[
        Literal["auto", "frozen", "trained", "group"],
        Spec(
            "Batch normalisation: frozen statistics with trained scale and shift, fully trained, or replaced by "
            "group normalisation. auto: frozen with pretrained weights, group without."
        ),
    ] = "auto"
    loss: Annotated[
        Literal["plain", "balanced", "focal", "softmax"],
        Spec(
            "Multi-label loss (a sigmoid a class); balanced and focal help when classes are rare. softmax: one class "
            "an image, as object localisation trains. Unknown tags never count."
        ),
    ] = "plain"

    def __post_init__(self) -> None:
        check_start(self.backbone, self.pretrained)


def check_start(backbone: str, pretrained: bool) -> None:
    """Check that a backbone can start from ImageNet weights where it is asked to.

    Raises:
        UserError: It has none.
    """
    if backbone == "tiny_cnn" and pretrained:
        raise UserError(
            "pretrained = true cannot be used with the backbone tiny_cnn.",
            "tiny_cnn is a small network for first tries and has no ImageNet weights.",
            "Add --set pretrained=false, or choose another backbone.",
        )


class ClassifierMethod(Method[P, V]):
    """A method around one image classifier; what AdvCAM and its kin climb on."""

    params: Any
    Views = CamViews

    def pretrained(self) -> str | None:
        return self.params.backbone if self.params.pretrained else None

    def build(self, classes: int, weights: Weights | None = None) -> Classifier:
        p = self.params
        backbone = build_backbone(
            p.backbone,
            output_stride=int(p.output_stride),
            dilate=None if p.dilate == "auto" else p.dilate == "yes",
            weights=weights,
            norm=p.norm if p.norm != "auto" else ("frozen" if p.pretrained else "group"),
        )
        if p.pretrained:
            freeze(backbone, p.freeze)
        return Classifier(backbone, classes)

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        return {"tags": self.tag_loss(net(batch.images), batch)}

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return scores [B, C] as numbers in [0, 1]: by sigmoid, or softmax where one class an image is trained."""
        return scores.softmax(1) if self.params.loss == "softmax" else scores.sigmoid()

    def remarks(self, states: NDArray[np.int8]) -> tuple[str, ...]:
        if self.params.loss != "softmax":
            return ()
        present = (states == 1).sum(1)  # [N]
        several, none = int((present > 1).sum()), int((present == 0).sum())
        texts = (
            (
                several,
                "have several tags; loss = softmax expects one and trains each of theirs in equal parts.",
            ),
            (none, "have no present tag, and loss = softmax learns nothing from them."),
        )
        return tuple(f"{count} of the {len(states)} training images {text}" for count, text in texts if count)

    def infer(self, net: nn.Module, shots: Sequence[Shot], views: V) -> Iterator[tuple[str, CamStack]]:
        assert isinstance(net, Classifier) and isinstance(views, CamViews)
        yield from class_maps(net, shots, views, self.probabilities)

    def tag_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """Return the loss of scores [B, C] that the parameters choose."""
        known = torch.as_tensor(
            batch.named if self.params.loss == "softmax" else batch.known,
            dtype=scores.dtype,
            device=scores.device,
        )
        match self.params.loss:
            case "balanced":
                return losses.balanced(
                    scores, batch.targets, counts=batch.counts, known=known, world=batch.world
                )
            case "softmax":
                return losses.single(scores, batch.targets, known=known, world=batch.world)
            case "focal":
                return losses.focal(scores, batch.targets, known=known, world=batch.world)
            case _:
                return losses.plain(scores, batch.targets, known=known, world=batch.world)
