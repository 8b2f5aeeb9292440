"""The plan of a training: how long, how large, how fast; None means chosen from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from engine.errors import UserError
from engine.params import Spec

__all__ = ["Plan", "rate_at", "settle"]


@dataclass(frozen=True)
class Plan:
    """How a classifier is trained. Fractions, never step numbers, place things in time."""

    epochs: Annotated[
        int | None,
        Spec(
            "Times every image is seen. none: chosen so that small sets are seen often enough.",
            low=1,
            high=10_000,
            unit="epochs",
            main=True,
        ),
    ] = None
    batch: Annotated[
        int | None,
        Spec("Images per step, over all devices together.", low=1, high=4096, unit="images", main=True),
    ] = None
    crop: Annotated[
        int | None,
        Spec(
            "Side of the square that the network sees while it trains.",
            low=32,
            high=2048,
            unit="px",
            main=True,
        ),
    ] = None
    optimiser: Annotated[
        Literal["auto", "sgd", "adamw"],
        Spec(
            "auto: adamw; on 300 photographs its maps were one to two points of mIoU better than those of sgd (single runs), which the papers use."
        ),
    ] = "auto"
    rate: Annotated[
        float | None, Spec("Learning rate of the pretrained part at its highest.", low=1e-7, high=10)
    ] = None
    head_rate: Annotated[
        float, Spec("How many times faster the new layers learn.", low=1, high=1000, unit="x")
    ] = 10.0
    decay: Annotated[float | None, Spec("Weight decay.", low=0, high=1)] = None
    momentum: Annotated[
        float,
        Spec("Momentum of sgd. The released codes of IRN and PSA run without (0.0001).", low=0, high=0.999),
    ] = 0.9
    schedule: Annotated[
        Literal["poly", "cosine", "constant"],
        Spec("How the rate falls: (1 - t)^0.9, half a cosine, or not at all."),
    ] = "poly"
    warmup: Annotated[
        float, Spec("Share of the training over which the rate rises from nothing.", low=0, high=0.5)
    ] = 0.05
    zoom_low: Annotated[
        float | None,
        Spec(
            "Smallest long side of a training image, as a multiple of the crop. none: 1, or 0.75 from random weights.",
            low=0.25,
            high=4,
            unit="x crop",
        ),
    ] = None
    zoom_high: Annotated[
        float | None,
        Spec(
            "Largest long side of a training image, as a multiple of the crop. none: 2, or 1.25 from random weights.",
            low=0.25,
            high=4,
            unit="x crop",
        ),
    ] = None
    flip: Annotated[bool, Spec("Mirror half of the images.")] = True
    jitter: Annotated[
        float,
        Spec(
            "Strength of random brightness, contrast and saturation; hue gets a third of it.", low=0, high=1
        ),
    ] = 0.0
    holdout: Annotated[
        float,
        Spec(
            "Share of the images kept out of training to measure average precision on. "
            "A split named val is used instead when the project has one.",
            low=0,
            high=0.5,
        ),
    ] = 0.1
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Spec(
            "What the backbone multiplies while it trains; all else is float32. auto: bfloat16 where the device "
            "computes in it, which saves memory and time; float32 gives the same numbers on every machine and on "
            "many devices, but for rounding."
        ),
    ] = "auto"
    checkpoint: Annotated[
        float, Spec("Longest time between two checkpoints.", low=1, high=3600, unit="s")
    ] = 60.0

    def __post_init__(self) -> None:
        if self.zoom_low is not None and self.zoom_high is not None and self.zoom_low > self.zoom_high:
            raise UserError(
                f"zoom_low = {self.zoom_low:g} is above zoom_high = {self.zoom_high:g}.",
                "The smallest size comes first.",
                "Swap the two.",
            )


def settle(
    plan: Plan,
    *,
    images: int,
    pretrained: bool,
    transformer: bool,
    side_multiple: int,
    side_offset: int,
    longest: int,
) -> Plan:
    """Return the plan with every None replaced by a number.

    Args:
        plan: What was asked for.
        images: Number of training images.
        pretrained: Whether the backbone starts from weights.
        transformer: Whether the backbone is a vision transformer.
        side_multiple, side_offset: The sides that the backbone was trained for, multiple * k + offset.
        longest: Longest side among the images in px.
    """
    # Around 2,000 looks let a pretrained classifier settle; from nothing it takes more. A set of
    # thousands is seen five times, as the papers do; a single image sixty times is plenty.
    looks = 2000 if pretrained else 2700
    epochs = plan.epochs or max(5, min(60, math.ceil(looks / images)))
    # From nothing a small set needs many steps more than it needs smooth ones.
    batch = plan.batch or max(1, min(16 if pretrained or images > 1000 else 4, images))
    crop = plan.crop
    if crop is None:
        # Photographs at the size the weights know; small pictures not enlarged beyond what is in them.
        wanted = min(321, max(64, longest)) if pretrained else min(224, max(64, round(0.8 * longest)))
        crop = max(1, round((wanted - side_offset) / side_multiple)) * side_multiple + side_offset
    low = plan.zoom_low if plan.zoom_low is not None else (1.0 if pretrained else 0.75)
    high = plan.zoom_high if plan.zoom_high is not None else (2.0 if pretrained else 1.25)
    optimiser = "adamw" if plan.optimiser == "auto" else plan.optimiser
    if plan.rate is not None:
        rate = plan.rate
    elif optimiser == "adamw":
        rate = (1e-4 if transformer else 2e-4) if pretrained else 1.5e-3
    else:
        # A small batch has a noisy gradient and takes smaller steps (linear scaling, Goyal et al. 2017).
        rate = (0.01 if pretrained else 0.05) * min(1.0, batch / 16)
    decay = (
        plan.decay
        if plan.decay is not None
        else ((0.01 if pretrained else 0.05) if optimiser == "adamw" else 1e-4)
    )
    return replace(
        plan,
        epochs=epochs,
        batch=batch,
        crop=crop,
        zoom_low=min(low, high),
        zoom_high=max(low, high),
        optimiser=optimiser,
        rate=rate,
        decay=decay,
    )


def rate_at(plan: Plan, fraction: float) -> float:
    """Return the share of the highest rate at a fraction of the training, in [0, 1]."""
    if fraction < plan.warmup:
        # One step up already at the first step, or it would be wasted.
        return max(fraction / plan.warmup, 0.01)
    match plan.schedule:
        case "poly":
            return (1 - fraction) ** 0.9
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * fraction))
        case _:
            return 1.0
