"""A frozen CLIP with the words of a project: scores of its classes, and softmax-GradCAMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.nets.clip_maps import log_odds
from engine.nets.clip_tower import ClipSize, ClipTower, Seen, build_tower

__all__ = ["ClipNet"]

# What learns is in hundredths: an optimiser of adaptive steps moves every number by about its rate, and
# a rate made for weights would take thousands of steps to move a logit by one.
_UNIT = 100.0


class ClipNet(nn.Module):
    """CLIP's image tower, the vectors of words, and a line from likeness to the score of a tag.

    z_j = s cos(image, word j). The score of class c is its log-odds against the background words,
    l_c = z_c - log sum_b exp z_b, on a straight line: exp(a) l_c + b_c. The line (1 + C numbers) is all that
    learns; no map depends on it.

    Args:
        size: What CLIP it is.
        classes: Number C of classes.
        background: Number W of background words.

    Attributes:
        words: [C, E] float32 of length 1, what classes are called; random until they are told.
        behind: [W, E] float32 of length 1, background words.
        kept: [W] bool, background words that count.
        sharpness: s, CLIP's own scale of logits.
    """

    words: Tensor
    behind: Tensor
    kept: Tensor
    sharpness: Tensor

    def __init__(self, size: ClipSize, classes: int, background: int) -> None:
        super().__init__()
        self.backbone = build_tower(size)
        self.register_buffer("words", F.normalize(torch.randn(classes, size.embed), dim=1))
        self.register_buffer("behind", F.normalize(torch.randn(background, size.embed), dim=1))
        self.register_buffer("kept", torch.ones(background, dtype=torch.bool))
        self.register_buffer("sharpness", torch.tensor(100.0))
        self.slope = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(classes))

    @property
    def tower(self) -> ClipTower:
        """The image's transformer."""
        return cast(ClipTower, self.backbone.trunk)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (logits) [B, C] of normalised images [B, 3, H, W]."""
        with torch.no_grad():
            seen = self.tower.look(images, 0)
        return self.scores(seen)

    def scores(self, seen: Seen) -> Tensor:
        """Return scores (logits) [B, C] of what was seen of images; the class token speaks for the image."""
        with torch.no_grad():
            normed = self.tower.blocks[-1].ln_1(seen.tokens)
            z = self.likeness(self.tower.finish(seen.tokens, normed, "class"))  # [B, C + W]
            count = len(self.words)
            odds = z[:, :count] - z[:, count:].logsumexp(1, keepdim=True)  # [B, C]
        return (_UNIT * self.slope).exp() * odds + _UNIT * self.offset

    def likeness(self, vectors: Tensor) -> Tensor:
        """Return z [B, C + W] of images' vectors [B, E]; -inf of background words that do not count."""
        every = torch.cat([self.words, self.behind])
        z = self.sharpness * F.normalize(vectors.to(every.dtype), dim=1) @ every.T
        return z.masked_fill(F.pad(~self.kept, (len(self.words), 0)), -torch.inf)

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that learn."""
        return [self.slope, self.offset]

    def grad_cams(self, seen: Seen, wanted: Sequence[Sequence[int]], pool: str) -> list[Tensor]:
        """Return relu(sum_d w_d A_d) of each wanted class of each image, not yet divided by its peak.

        A are the patch tokens behind the first normalisation of the last block; w the mean over patches of the
        gradient of the class's log-odds among the wanted classes and the background words (see `log_odds`).

        Args:
            seen: What was seen of B images.
            wanted: Classes of each image.
            pool: See `ClipTower.finish`.

        Returns:
            B maps [K, h, w] float32 >= 0, K the image's own number of classes.
        """
        device, count = seen.tokens.device, len(self.words)
        out = torch.ones(len(wanted), count, dtype=torch.bool, device=device)
        for n, classes in enumerate(wanted):
            out[n, list(classes)] = False
        found: list[list[Tensor]] = [[] for _ in wanted]
        with torch.enable_grad():
            leaf = self.tower.blocks[-1].ln_1(seen.tokens).detach().requires_grad_()
            z = self.likeness(self.tower.finish(seen.tokens.detach(), leaf, pool))  # [B, C + W]
            z = z.masked_fill(F.pad(out, (0, len(self.behind))), -torch.inf)
            cells = leaf.detach()[:, 1:]  # [B, h*w, D]
            most = max(map(len, wanted), default=0)
            for k in range(most):
                rows = [n for n, classes in enumerate(wanted) if len(classes) > k]
                cls = torch.tensor([wanted[n][k] for n in rows], device=device)
                # Images do not touch each other, so the gradient of the sum is that of each.
                (g,) = torch.autograd.grad(log_odds(z[rows], cls).sum(), leaf, retain_graph=k + 1 < most)
                weights = g[:, 1:].mean(1, keepdim=True)  # [B, 1, D]
                maps = (weights * cells).sum(2).relu().unflatten(1, seen.grid)  # [B, h, w]
                for n in rows:
                    found[n].append(maps[n])
        empty = seen.tokens.new_zeros(0, *seen.grid)
        return [torch.stack(maps) if maps else empty for maps in found]
