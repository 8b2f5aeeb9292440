"""How a picture is climbed: the settings of AdvCAM, their presets, and what they mean at a scale.

The reasons for the engine's values stand in `engine.methods.advcam`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from engine.class_maps import Alignment, Cell, PredictedAbove, check_scales
from engine.params import Spec

__all__ = ["ClimbSettings", "steps_at", "weight_of"]


@dataclass(frozen=True)
class ClimbSettings:
    """How a picture is climbed and its maps added up."""

    steps: Annotated[int, Spec("Steps T of the climb.", low=0, high=500, unit="steps", main=True)] = 2
    step: Annotated[
        float,
        Spec(
            "Size xi of a step: how far the strongest pixel moves (with gradient = none: per unit of gradient).",
            low=0,
            high=255,
            unit="grey levels",
            main=True,
        ),
    ] = 1.5
    lam: Annotated[
        float,
        Spec(
            "Weight lambda of the penalty on maps that change in M (tau) or D (background_below); 0 climbs freely.",
            low=0,
            high=1e6,
            main=True,
        ),
    ] = 1.5
    tau: Annotated[
        float,
        Spec(
            "Share of the map's peak above which a cell is restricted (mask M, eq. 5); 1: none.",
            low=0,
            high=1,
            main=True,
        ),
    ] = 1.0
    background_below: Annotated[
        float,
        Spec(
            "Share of the first map's peak below which a cell is background, where the map must not change either "
            "(D of AdvCAM-Sal, found without a detector); a saliency mask is believed before it. 0: none.",
            low=0,
            high=1,
            main=True,
        ),
    ] = 0.2
    others: Annotated[
        float,
        Spec(
            "Weight with which the scores of all other classes are pushed down; 0 leaves them alone.",
            low=0,
            high=100,
        ),
    ] = 0.0
    gradient: Annotated[
        Literal["linf", "none"],
        Spec("How the gradient is scaled before a step: so that its strongest pixel is 1, or not at all."),
    ] = "linf"
    score: Annotated[
        Literal["relu", "logit"],
        Spec("What is climbed on: the mean of the class map after its ReLU, or the classifier's logit."),
    ] = "relu"
    attribution: Annotated[
        Literal["mean", "pooled"],
        Spec(
            "How image and mirror image make one map: their mean, or weighted by their positive cells and divided by "
            "the class's positive weights as the released code's Grad-CAM does."
        ),
    ] = "mean"
    kind: Annotated[
        Literal["cam", "gradcam++"],
        Spec("Which map is climbed and added up: CAM (as Grad-CAM) or Grad-CAM++."),
    ] = "cam"
    penalty_over: Annotated[
        Literal["mean", "sum"], Spec("Whether the penalty is the mean or the sum over the cells of the map.")
    ] = "mean"
    flip: Annotated[bool, Spec("Climb on the mirror image too; doubles the time.", main=True)] = True
    joint: Annotated[
        bool, Spec("Scale and clip the gradients of image and mirror image together, or each by itself.")
    ] = True
    clip: Annotated[
        Literal["start", "previous", "pixels", "none"],
        Spec(
            "Values that the picture keeps to: those of the photograph, those of the step before, 0 to 255, or any."
        ),
    ] = "start"
    aggregate: Annotated[
        Literal["sum", "last"],
        Spec("The final map: the sum of all steps' maps (eq. 4), or the last one alone."),
    ] = "last"
    count_last: Annotated[
        bool,
        Spec("Count the map after the last step too: T + 1 maps as printed, or T as the released code sums."),
    ] = True
    scales: Annotated[
        tuple[float, ...],
        Spec(
            "Image scales that are climbed and added up; time grows with the sum of their squares.",
            low=0.1,
            high=4,
            unit="x",
            main=True,
        ),
    ] = (0.5, 1.0, 2.0)
    climbed_to: Annotated[
        float,
        Spec(
            "Largest scale that is climbed; larger ones add the plain map, since a step costs four times as much at "
            "twice the size.",
            low=0.1,
            high=4,
            unit="x",
        ),
    ] = 1.0
    scale_steps: Annotated[
        Literal["equal", "official"],
        Spec(
            "Steps of each scale: the same, or half of them at 0.5 with less weight as in the released code."
        ),
    ] = "equal"
    scale_weight: Annotated[
        Literal["equal", "side", "area"],
        Spec(
            "Weight of each scale: the same for all, or one over its side or its area, since the maps of an enlarged "
            "image have more false peaks."
        ),
    ] = "equal"
    plateau: Annotated[
        float,
        Spec(
            "Stop a climb when a step changes the final map by less than this share of its peak on average; 0 never.",
            low=0,
            high=1,
        ),
    ] = 0.0
    saliency: Annotated[
        str,
        Spec(
            "Folder of masks, one PNG an image (0 background), outside of which the map must not change (AdvCAM-Sal); "
            "empty: none.",
            picks="folder",
        ),
    ] = ""
    classes: Annotated[
        Literal["present", "predicted", "all"],
        Spec("Climb the tags that are present, the classes that the network predicts, or all."),
    ] = "present"
    predicted_above: PredictedAbove = 0.5
    alignment: Alignment = "centred"
    cell: Cell = 4
    keep: Annotated[
        Literal["auto", "maps", "pictures"],
        Spec(
            "What of each step is kept: maps and scores, or the pictures and the gradient's saliency too (about 2 MB "
            "a step at 500 x 375). auto: pictures when one class is climbed alone."
        ),
    ] = "auto"

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        # The paper's lambda of 7 belongs to the code's scaling of the map; see methods_cam 2.3.
        "paper": {
            "steps": 27,
            "lam": 7.0,
            "tau": 0.5,
            "background_below": 0.0,
            "others": 1.0,
            "step": 0.008 * 255 * 0.226,
            "gradient": "none",
            "score": "logit",
            "attribution": "mean",
            "penalty_over": "sum",
            "joint": False,
            "clip": "none",
            "count_last": True,
            "scales": (0.5, 1.0, 1.5, 2.0),
            "climbed_to": 4.0,
            "scale_steps": "equal",
            "scale_weight": "equal",
            "aggregate": "sum",
            "alignment": "official",
        },
        # 0.08 in units of ImageNet's mean deviation (0.226).
        "code": {
            "steps": 27,
            "lam": 7.0,
            "tau": 0.5,
            "background_below": 0.0,
            "others": 1.0,
            "step": 0.08 * 255 * 0.226,
            "gradient": "linf",
            "score": "relu",
            "attribution": "pooled",
            "penalty_over": "sum",
            "joint": True,
            "clip": "previous",
            "count_last": False,
            "scales": (0.5, 1.0, 1.5, 2.0),
            "climbed_to": 4.0,
            "scale_steps": "official",
            "scale_weight": "equal",
            "aggregate": "sum",
            "alignment": "official",
        },
        "engine": {},
    }

    def __post_init__(self) -> None:
        check_scales(self.scales)


def steps_at(settings: ClimbSettings, scale: float) -> int:
    """Return the steps that a scale is climbed: none above `climbed_to`.

    `official`: at 0.5 half of them; of 6 to 10 steps, 5; of fewer, all (methods_cam 2.3-3).
    """
    if scale > settings.climbed_to:
        return 0
    if settings.scale_steps == "equal" or scale != 0.5 or settings.steps < 6:
        return settings.steps
    return settings.steps // 2 if settings.steps > 10 else 5


def weight_of(settings: ClimbSettings, scale: float) -> float:
    """Return how much the maps of a scale count."""
    return scale ** -{"area": 2, "side": 1, "equal": 0}[settings.scale_weight]
