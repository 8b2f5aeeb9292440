"""timm's networks as maps: convolutional ones by their stages, vision transformers by their blocks."""

from __future__ import annotations

import timm
import torch
from timm.layers import AvgPool2dSame, Conv2dSame, LayerNorm2d
from timm.layers.pool2d_same import MaxPool2dSame
from timm.layers.std_conv import ScaledStdConv2dSame, StdConv2dSame
from torch import Tensor, nn

from engine.errors import UserError
from engine.nets.trunk import Stages, Trunk

__all__ = ["SAME_PADDED", "build_timm", "idle_parameters"]

SAME_PADDED: tuple[type[nn.Module], ...] = (
    Conv2dSame,
    StdConv2dSame,
    ScaledStdConv2dSame,
    MaxPool2dSame,
    AvgPool2dSame,
)

_TRANSFORMERS = ("vision_transformer", "deit", "eva")


class TimmMaps(Trunk):
    """A convolutional network of timm: its stages, then `top`, what follows the last of them.

    Args:
        net: The network without its classifier.
        name: The backbone's name, for messages.

    Raises:
        UserError: timm does not offer this network's stages.
    """

    def __init__(self, net: nn.Module, name: str) -> None:
        super().__init__()
        self.net = net
        self.name = name
        info = getattr(net, "feature_info", None)
        if not hasattr(net, "forward_intermediates") or not isinstance(info, list):
            raise _not_a_map(name)
        self.cuts = [str(row["module"]) for row in info]
        # ConvNeXt and its kin normalise the pooled map inside the head; see chains.py.
        norm = getattr(getattr(net, "head", None), "norm", None)
        self.normalised = isinstance(norm, LayerNorm2d)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map `[B, D, h, w]` of an image `[B, 3, H, W]`."""
        return self._end(self.net.forward_features(x))

    def taps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the maps `[B, D, h, w]` by stage, shallow to deep."""
        last, maps = self.net.forward_intermediates(x)
        named = dict(zip(self.cuts, maps, strict=True))
        return {**named, "top": self._end(last)}

    def stages(self) -> Stages:
        """Return each stage's innermost modules, `top` holding what follows the last cut."""
        paths = [path for path, _ in self.net.named_modules() if path]
        stages: Stages = {}
        done = 0
        for cut in self.cuts:
            inside = [i for i, path in enumerate(paths) if path == cut or path.startswith(cut + ".")]
            if not inside:
                raise _not_a_map(self.name)
            end = 1 + inside[-1]
            stages[cut] = self._innermost(paths[done:end])
            done = max(done, end)
        stages["top"] = self._innermost(paths[done:])
        return stages

    def _innermost(self, paths: list[str]) -> tuple[str, ...]:
        return tuple(f"net.{path}" for path in paths if not list(self.net.get_submodule(path).children()))

    def _end(self, x: Tensor) -> Tensor:
        return self.net.head.norm(x) if self.normalised else x  # [B, D, h, w]


class TimmTokens(Trunk):
    """A vision transformer of timm as a map of its patch tokens, class and register tokens dropped.

    Position embeddings are interpolated to the image's patches, and sides are filled up
    to whole patches on the right and below.

    Args:
        net: The transformer, built with `dynamic_img_size` and `dynamic_img_pad`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.patch = int(net.patch_embed.patch_size[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the last block's tokens, normalised, `[B, D, ceil(H/p), ceil(W/p)]`."""
        tokens = self.net.fc_norm(self.net.forward_features(x))  # [B, prefix + h*w, D]
        rows, columns = (-(-side // self.patch) for side in x.shape[-2:])
        cells = tokens[:, self.net.num_prefix_tokens :]  # [B, h*w, D]
        return cells.transpose(1, 2).reshape(x.shape[0], -1, rows, columns)  # [B, D, h, w]

    def taps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the tokens after every block as maps `[B, D, h, w]`; the last ones normalised."""
        last, maps = self.net.forward_intermediates(x)
        tokens = self.net.fc_norm(last)[:, self.net.num_prefix_tokens :]  # [B, h*w, D]
        maps[-1] = tokens.transpose(1, 2).reshape(maps[-1].shape)  # [B, D, h, w]
        return {f"block{i}": m for i, m in enumerate(maps)}

    def stages(self) -> Stages:
        """Return `stem` (patches, positions, prefix tokens), then one stage per block."""
        blocks = [f"block{i}" for i in range(len(self.net.blocks))]
        stages: Stages = {block: (f"net.blocks.{i}",) for i, block in enumerate(blocks)}
        own = [n for n, _ in self.net.named_parameters(recurse=False)]
        children = [n for n, _ in self.net.named_children() if n != "blocks"]
        ends = [n for n in children if n in ("norm", "fc_norm", "head_drop", "head", "head_dist")]
        stages[blocks[-1]] += tuple(f"net.{n}" for n in ends)
        return {"stem": tuple(f"net.{n}" for n in [*own, *children] if n not in ends), **stages}


def build_timm(name: str) -> tuple[Trunk, tuple[str, ...]]:
    """Build a timm network with random weights and without its classifier, in eval mode.

    Returns:
        The network, and the beginnings of the names that belong to its classifier.
    """
    tokens = timm.models.is_model_in_modules(name.split(".")[0], _TRANSFORMERS)
    options = {"dynamic_img_size": True, "dynamic_img_pad": True} if tokens else {}
    net = timm.create_model(name, pretrained=False, num_classes=0, **options).eval()
    body: Trunk = TimmTokens(net) if tokens else TimmMaps(net, name)
    cfg = net.pretrained_cfg
    head = cfg.get("classifier") or ()
    return body.eval(), tuple(f"{part}." for part in ((head,) if isinstance(head, str) else head))


def idle_parameters(body: Trunk, name: str) -> frozenset[str]:
    """Return the names of the parameters that the map does not depend on.

    Some networks keep layers behind the pooling that only their classifier needs. They must
    not learn: a distributed training step waits for the gradient of everything that learns.

    Raises:
        UserError: The network gives no map `[B, D, h, w]`.
    """
    try:
        out = body(torch.zeros(1, 3, 64, 64))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _not_a_map(name) from error
    if out.ndim != 4:
        raise _not_a_map(name)
    named = list(body.named_parameters())
    gradients = torch.autograd.grad(out.sum(), [p for _, p in named], allow_unused=True)
    return frozenset(n for (n, _), gradient in zip(named, gradients, strict=True) if gradient is None)


def _not_a_map(name: str) -> UserError:
    return UserError(
        f"{name} cannot be used as a backbone: it gives no map for images of any size.",
        "Accepted: convolutional networks with stages, and plain vision transformers (vit, deit, eva).",
        "Choose another backbone.",
    )
