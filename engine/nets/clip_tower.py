"""The image half of CLIP, entry by entry as open_clip names it, with its attention in the open.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021. Drawing needs
the attention of every block and the input of the last one, which open_clip's own classes keep to themselves;
with ours a trained run needs neither open_clip nor the words' half.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.nets.backbone import Backbone, freeze
from engine.nets.catalogue import Published
from engine.nets.prep import Prep
from engine.nets.restride import Grid
from engine.nets.trunk import Stages, Trunk

__all__ = ["TINY", "VIT_B_16", "ClipSize", "ClipTower", "Seen", "build_tower"]

_PREP = Prep(
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    interpolation="bicubic",
)
_HUB = "timm/vit_base_patch16_clip_224.openai"
_FILE = "open_clip_model.safetensors"


@dataclass(frozen=True)
class ClipSize:
    """What a CLIP is built of.

    Args:
        image: Side in px that its positions were learnt at.
        patch: Pixels a patch.
        width, layers, heads: Of the image's transformer.
        embed: Width of what images and words are compared in.
        text_width, text_layers, text_heads: Of the words' transformer.
        published: Where its weights lie, or None: it starts from random ones.
    """

    image: int
    patch: int
    width: int
    layers: int
    heads: int
    embed: int
    text_width: int
    text_layers: int
    text_heads: int
    published: Published | None = None


VIT_B_16 = ClipSize(
    image=224,
    patch=16,
    width=768,
    layers=12,
    heads=12,
    embed=512,
    text_width=512,
    text_layers=12,
    text_heads=8,
    published=Published(
        "clip_vit_base_patch16",
        "open_clip",
        _PREP,
        f"https://huggingface.co/{_HUB}/resolve/main/{_FILE}",
        _FILE,
        _HUB,
    ),
)
TINY = ClipSize(
    image=64,
    patch=16,
    width=32,
    layers=3,
    heads=2,
    embed=16,
    text_width=16,
    text_layers=1,
    text_heads=2,
)


class Seen(NamedTuple):
    """What is kept of images on their way through the tower.

    Attributes:
        tokens: [B, 1 + h*w, D] float32, what the last block is given, the class token first.
        attention: [B, h*w, h*w] float32, how patches attend to patches, mean over heads and blocks; None where
            it was not asked for.
        grid: (h, w) patches.
    """

    tokens: Tensor
    attention: Tensor | None
    grid: tuple[int, int]


class ClipTower(Trunk):
    """The vision transformer of a CLIP, of images of any size.

    Args:
        size: What it is built of.
    """

    def __init__(self, size: ClipSize) -> None:
        super().__init__()
        self.patch = size.patch
        self.net = _Visual(size)

    @property
    def blocks(self) -> list[_Block]:
        """The blocks, first to last."""
        return list(self.net.transformer.resblocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised patch tokens behind the last block as a map [B, D, ceil(H/p), ceil(W/p)]."""
        return list(self.taps(x).values())[-1]

    def taps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the patch tokens after every block as maps [B, D, h, w]; the last ones normalised."""
        tokens, grid = self._enter(x)
        found = {}
        for n, block in enumerate(self.blocks):
            tokens = block(tokens)
            last = self.net.ln_post(tokens) if n + 1 == len(self.blocks) else tokens
            found[f"block{n}"] = last[:, 1:].transpose(1, 2).unflatten(2, grid)  # [B, D, h, w]
        return found

    def stages(self) -> Stages:
        """Return `stem` (patches, positions, class token), then one stage per block."""
        names = [f"block{n}" for n in range(len(self.blocks))]
        found: Stages = {name: (f"net.transformer.resblocks.{n}",) for n, name in enumerate(names)}
        found[names[-1]] += ("net.ln_post", "net.proj")
        stem = ("conv1", "class_embedding", "positional_embedding", "ln_pre")
        return {"stem": tuple(f"net.{name}" for name in stem), **found}

    def look(self, x: Tensor, blocks: int) -> Seen:
        """Return what the last block is given, and the attention of the last blocks.

        Args:
            x: [B, 3, H, W] float32, normalised.
            blocks: Of how many blocks, counted from the last, the attention is averaged; 0 for none.
        """
        tokens, grid = self._enter(x)
        count = min(blocks, len(self.blocks))
        total = tokens.new_zeros(len(x), grid[0] * grid[1], grid[0] * grid[1]) if count else None
        first = len(self.blocks) - count
        for n, block in enumerate(self.blocks[:-1]):
            tokens = block(tokens, total if n >= first else None)
        if total is None:
            return Seen(tokens, None, grid)
        block = self.blocks[-1]
        block.attend(block.ln_1(tokens), total)
        return Seen(tokens, total / count, grid)

    def finish(self, tokens: Tensor, normed: Tensor, pool: str) -> Tensor:
        """Return the image's vector [B, E], not yet of length 1.

        Args:
            tokens: [B, 1 + N, D], what the last block is given.
            normed: [B, 1 + N, D], the same behind the block's first normalisation; where gradients are taken.
            pool: `class`: the class token, as CLIP was trained; `patches`: the mean of all others.
        """
        last = self.blocks[-1]
        tokens = tokens + last.attend(normed)
        tokens = tokens + last.mlp(last.ln_2(tokens))
        tokens = self.net.ln_post(tokens)  # [B, 1 + N, D]
        pooled = tokens[:, 0] if pool == "class" else tokens[:, 1:].mean(1)  # [B, D]
        return pooled @ self.net.proj  # [B, E]

    def _enter(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the tokens [B, 1 + h*w, D] in front of the first block, and (h, w)."""
        x = F.pad(x, (0, -x.shape[3] % self.patch, 0, -x.shape[2] % self.patch))
        cells = self.net.conv1(x)  # [B, D, h, w]
        grid = (int(cells.shape[2]), int(cells.shape[3]))
        tokens = cells.flatten(2).transpose(1, 2)  # [B, h*w, D]
        first = self.net.class_embedding.expand(len(x), 1, -1)
        tokens = torch.cat([first, tokens], 1) + self._positions(grid)
        return self.net.ln_pre(tokens), grid

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the position of each token, [1 + h*w, D], stretched bilinearly over the patches."""
        learnt = self.net.positional_embedding
        side = round((len(learnt) - 1) ** 0.5)
        if grid == (side, side):
            return learnt
        square = learnt[1:].T.unflatten(1, (side, side))[None]  # [1, D, s, s]
        spread = F.interpolate(square, size=grid, mode="bilinear", align_corners=False)
        return torch.cat([learnt[:1], spread[0].flatten(1).T])  # [1 + h*w, D]


def build_tower(size: ClipSize) -> Backbone:
    """Return the image's tower as a backbone of which nothing learns."""
    grid = Grid(size.patch, (size.patch - 1) / 2, whole_cells=True, odd_sides=False)
    prep = Prep(_PREP.mean, _PREP.std, _PREP.interpolation, side_multiple=size.patch)
    name = size.published.name if size.published else "clip_tiny"
    found = Backbone(name, ClipTower(size), grid, prep, "frozen", frozenset())
    freeze(found, "all")
    return found


class _QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), with which OpenAI trained CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        # Holds the entries by the names of the weights files; `attend` does the work.
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width), gelu=_QuickGELU(), c_proj=nn.Linear(4 * width, width)
            )
        )

    def forward(self, tokens: Tensor, total: Tensor | None = None) -> Tensor:
        tokens = tokens + self.attend(self.ln_1(tokens), total)
        return tokens + self.mlp(self.ln_2(tokens))  # [B, N, D]

    def attend(self, normed: Tensor, total: Tensor | None = None) -> Tensor:
        """Return what the attention adds to the tokens [B, 1 + N, D].

        Args:
            normed: [B, 1 + N, D].
            total: [B, N, N]; the attention among patches, mean over heads, is added to it.
        """
        part = self.attn
        every = F.linear(normed, part.in_proj_weight, part.in_proj_bias)
        query, key, value = every.unflatten(2, (3, part.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if total is None:
            mixed = F.scaled_dot_product_attention(query, key, value)  # [B, heads, 1 + N, d]
        else:
            found = []
            # One head at a time: the matrices of all would fill the memory with large images.
            for q, k, v in zip(*(t.unbind(1) for t in (query, key, value)), strict=True):
                weights = (q @ k.transpose(1, 2) * q.shape[2] ** -0.5).softmax(2)  # [B, 1 + N, 1 + N]
                total += weights[:, 1:, 1:] / part.num_heads
                found.append(weights @ v)
            mixed = torch.stack(found, 1)
        return part.out_proj(mixed.transpose(1, 2).flatten(2))  # [B, 1 + N, D]


class _Transformer(nn.Module):
    def __init__(self, size: ClipSize) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList([_Block(size.width, size.heads) for _ in range(size.layers)])


class _Visual(nn.Module):
    """The entries of `visual.` in a weights file of open_clip."""

    def __init__(self, size: ClipSize) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, size.width, size.patch, stride=size.patch, bias=False)
        scale = size.width**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(size.width))
        count = (size.image // size.patch) ** 2 + 1
        self.positional_embedding = nn.Parameter(scale * torch.randn(count, size.width))
        self.ln_pre = nn.LayerNorm(size.width)
        self.transformer = _Transformer(size)
        self.ln_post = nn.LayerNorm(size.width)
        self.proj = nn.Parameter(scale * torch.randn(size.width, size.embed))
