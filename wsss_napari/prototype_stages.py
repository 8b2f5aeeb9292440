"""The stages of the Prototypes page, from the class map to the mask."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FIRST_SHOWN", "MASKS", "STAGES", "Stage", "at_of"]


@dataclass(frozen=True)
class Stage:
    """One step on the way to the mask: the key of its layer, its title, what it is called in the layer, what it means."""

    key: str
    title: str
    name: str
    tip: str


STAGES: tuple[Stage, ...] = (
    Stage("cam", "Class map", "CAM", "The classifier's own map of the class, M, over its peak (eq. 3)"),
    Stage("seed", "Seed", "seed", "Cells where the class map is over tau of its peak, or what you painted (eq. 4)"),
    Stage(
        "instance",
        "Instance prototype",
        "likeness to the instance",
        "The mean embedding under the seed, P, and how alike each cell is to it (cosine)",
    ),
    Stage(
        "shift",
        "Shift",
        "likeness after the shift",
        "Embeddings and P moved by delta, from this training's running mean onto the bank's mean (eq. 12)",
    ),
    Stage(
        "neighbours",
        "Neighbours",
        "neighbour",
        "The K prototypes of the class that are likest to P (eq. 6); the lit one's map is shown",
    ),
    Stage(
        "weights",
        "Weighting",
        "weighted neighbours",
        "The neighbours' maps joined by their positiveness w (eq. 7), before it is divided by its peak",
    ),
    Stage("pacam", "PACAM", "PACAM", "The prototype-aware map: what is positive of it, over its peak (eq. 13)"),
    Stage(
        "difference",
        "PACAM − CAM",
        "PACAM − CAM",
        "How far the two maps are apart: orange where PACAM is higher, blue where the class map is. The colour's strength "
        "is |CAM − PACAM|, which the self-supervised loss averages: where it is strong, training acts (eq. 14)",
    ),
    Stage(
        "label",
        "Mask",
        "mask",
        "The prototype-aware maps of all tagged classes against each other and the background's score",
    ),
    Stage(
        "crf",
        "After CRF",
        "mask after CRF",
        "The same mask snapped to the photograph's edges by a dense CRF with IRN's settings; the Refine page has all of "
        "them. Large photographs are refined at a share of their size, at most 512 px",
    ),
)  # fmt: skip

#: The stages in which all tagged classes of the image compete.
MASKS = ("label", "crf")
#: The stage in front when the page is opened.
FIRST_SHOWN = "pacam"


def at_of(key: str) -> int:
    """Return the place of a stage."""
    return next(at for at, stage in enumerate(STAGES) if stage.key == key)
