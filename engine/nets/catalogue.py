"""Which backbones there are, who builds them, and where their published weights lie."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from engine.errors import UserError, nearest
from engine.nets.prep import Prep

__all__ = ["Published", "known_backbones", "list_backbones", "published"]

_SHORTLIST = (
    "tiny_cnn",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "convnext_tiny",
    "densenet121",
    "vgg16",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "deit_small_patch16_224",
)

# torchvision's other classifiers give no map of ceil(side / stride) cells: alexnet, googlenet,
# inception and squeezenet do not pad their strided layers; swin, maxvit and vit want one size.
_TORCHVISION = (
    "convnext",
    "densenet",
    "efficientnet",
    "mnasnet",
    "mobilenet",
    "regnet",
    "resnet",
    "resnext",
    "shufflenet",
    "vgg",
    "wide_resnet",
)


@dataclass(frozen=True)
class Published:
    """What is known of a backbone before it is built.

    Args:
        name: The backbone's name.
        library: Who builds it: this package (`own`), torchvision, timm or open_clip.
        prep: The preparation of the published weights.
        url: Address of the published weights, empty where there are none.
        file: Name of the published file: in torch's cache, holding the start of its SHA-256, or in the hub's
            repository, empty for `model.safetensors`.
        hub: Hugging Face repository that holds the file, empty where there is none.
    """

    name: str
    library: Literal["own", "torchvision", "timm", "open_clip"]
    prep: Prep
    url: str = ""
    file: str = ""
    hub: str = ""


def list_backbones() -> list[str]:
    """Return the shortlist that forms offer; every other known name is accepted as well."""
    return list(_SHORTLIST)


@functools.cache
def known_backbones() -> tuple[str, ...]:
    """Return every name that torchvision or timm (or this package) can build, sorted."""
    import timm

    return tuple(sorted({"tiny_cnn", *_torchvision_names(), *timm.list_models()}))


def published(name: str) -> Published:
    """Return what is known of a backbone.

    Names that torchvision and timm share mean torchvision's: weights files use its names.

    Raises:
        UserError: Nobody knows the name; the nearest known one is suggested.
    """
    if name == "tiny_cnn":
        return Published(name, "own", Prep(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))
    if name in _torchvision_names():
        return _of_torchvision(name)
    # Imported here because it takes seconds, which torchvision's networks need not wait for.
    import timm

    if timm.is_model(name):
        return _of_timm(name)
    raise UserError(
        f"There is no backbone '{name[:80]}'.",
        f"Accepted: a classifier of torchvision or timm, for example {', '.join(_SHORTLIST[1:6])}.",
        nearest(name, known_backbones()) or "Choose one of the list in the window or of `wsss methods`.",
    )


@functools.cache
def _torchvision_names() -> frozenset[str]:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    return frozenset(n for n in names if n.startswith(_TORCHVISION))


def _of_torchvision(name: str) -> Published:
    import torchvision

    offers = torchvision.models.get_model_weights(name)
    # The first weights, not DEFAULT: later recipes (long schedules, mixing of images, label
    # smoothing) score better as classifiers, but the reference CAM code was tuned on the first.
    best = getattr(offers, "IMAGENET1K_V1", offers.DEFAULT)
    preset = best.transforms()
    prep = Prep(_triple(preset.mean), _triple(preset.std), preset.interpolation.value)
    return Published(name, "torchvision", prep, best.url, best.url.rsplit("/", 1)[-1])


def _of_timm(name: str) -> Published:
    import timm

    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError:
        tagged = timm.list_pretrained(f"{name.partition('.')[0]}.*")
        raise UserError(
            f"There are no weights '{name[:80]}'.",
            f"Accepted: {', '.join(tagged[:8])}{', …' if len(tagged) > 8 else ''}.",
            nearest(name, tagged),
        ) from None
    if cfg is None:
        return Published(name, "timm", Prep())
    interpolation = cfg.interpolation if cfg.interpolation in ("bilinear", "bicubic") else "bilinear"
    prep = Prep(_triple(cfg.mean), _triple(cfg.std), interpolation)
    hub = cfg.hf_hub_id if cfg.hf_hub_id and not cfg.hf_hub_filename else ""
    if hub:
        return Published(
            name, "timm", prep, f"https://huggingface.co/{hub}/resolve/main/model.safetensors", hub=hub
        )
    if cfg.url and cfg.url.endswith(".pth"):
        return Published(name, "timm", prep, cfg.url, cfg.url.rsplit("/", 1)[-1])
    return Published(name, "timm", prep)


def _triple(values: tuple[float, ...] | list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return (float(red), float(green), float(blue))
