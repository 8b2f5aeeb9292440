"""The ways to look at a refinement: what each layer is called, what it means, when it is there. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from wsss_napari.layer_group import PHOTOGRAPH

__all__ = ["LOOKS", "ORDER", "Look"]


@dataclass(frozen=True)
class Look:
    """One way to see a refinement.

    Attributes:
        key: Of its layer, within the group.
        switch: Words on the switch.
        name: Words in the layer's name.
        tip: What it shows, with its source.
        missing: Why it cannot be shown where it is not there.
        on: Whether it is shown at first.
        stage: Whether it follows the slider of stages.
    """

    key: str
    switch: str
    name: str
    tip: str
    missing: str = ""
    on: bool = False
    stage: bool = False


_KEPT = "Refine this image: only then the stages are kept"
_IRN = "Only IRN finds it, and only for an image that is refined by itself"

#: In the order of the switches. The photograph's layer belongs to the desk, all others to this page.
LOOKS: tuple[Look, ...] = (
    Look(PHOTOGRAPH, "Photograph", "", "The image as it is", on=True),
    Look("changed", "Changed pixels", "changed", "Stripes where the mask differs from the source's", on=True),
    Look(
        "score",
        "Stage scores",
        "score",
        "The score of the chosen class at the stage of the slider: Q of the CRF, or the map after so many steps of the walk",
        _KEPT,
        stage=True,
    ),
    Look(
        "entropy",
        "Undecided",
        "entropy",
        "Entropy of the scores at the stage: bright where the labels are still level (1 = all alike)",
        _KEPT,
        stage=True,
    ),
    Look(
        "stage",
        "Stage mask",
        "mask of the stage",
        "Outline of the best label of each cell at the stage of the slider",
        _KEPT,
        stage=True,
    ),
    Look(
        "edge",
        "Boundary",
        "boundary",
        "Probability of a class boundary; an affinity is 1 − the highest on the way (IRN, section 3.3)",
        _IRN,
    ),
    Look(
        "arrows",
        "Displacement",
        "displacement",
        "Where each cell sees the centre of its instance; the colour is the direction, longer is farther (IRN, section 3.2)",
        _IRN,
    ),
    Look(
        "wheel",
        "Colour wheel",
        "displacement colours",
        "The same in colours: hue is the direction (red right, green up, cyan left, violet down), paler is shorter",
        _IRN,
    ),
    Look(
        "centroids",
        "Centroids",
        "centroids",
        "Where points on a grid are drawn to along the displacement, iteration by iteration",
        _IRN,
    ),
    Look(
        "instances",
        "Instances",
        "instances",
        "The single objects that were told apart, with the box around each and its score",
        "Only IRN with `instances` on finds them",
    ),
    Look(
        "confident",
        "Confident labels",
        "confident label",
        "What the affinity network learnt from: classes and background it could be sure of, the rest hatched",
        "Only PSA and IRN learn from them, and only an image that is refined by itself keeps them",
    ),
    Look(
        "patch",
        "Affinity of a cell",
        "affinity",
        "How alike the clicked cell and each around it are; choose it and click on the image",
        "Only PSA and IRN walk along affinities, and only an image that is refined by itself keeps them",
    ),
)

#: Keys of all layers, bottom to top.
ORDER = (
    "wheel",
    "edge",
    "score",
    "entropy",
    "confident",
    "instances",
    "mask",
    "preview",
    "stage",
    "changed",
    "arrows",
    "centroids",
    "boxes",
    "patch",
    "truth",
)
