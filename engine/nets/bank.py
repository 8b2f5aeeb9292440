"""A support bank: for each class the newest embeddings of confident images, and the prototypes clustered from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from engine.prototypes import kmeans
from engine.results import ClusterRound

__all__ = ["Entries", "SupportBank"]


class Entries(NamedTuple):
    """Rows for the bank.

    Attributes:
        keys: [M] int64, `image_key` of each row's image.
        classes: [M] int64, 0-based.
        rows: [M, D] float32.
        scores: [M] float32 in [0, 1], the classifier's.
        areas: [M] float32 in [0, 1], share of the crop under the seed.
        centres: [M, 2] float32 in [0, 1], (y, x) of the seed's centre in the whole image.
    """

    keys: Tensor
    classes: Tensor
    rows: Tensor
    scores: Tensor
    areas: Tensor
    centres: Tensor


class SupportBank(nn.Module):
    """First in, first out, a ring for each class; everything is a buffer, so a checkpoint holds it whole.

    Source: CPAL (CVPR 2024), appendix B; rows are kept in float16 and unshifted (a bank of shifted rows
    stays where it began).

    Args:
        classes: Number C.
        length: Rows L of each class.
        dim: D.
        prototypes: Most prototypes N of a class.
    """

    def __init__(self, classes: int, length: int, dim: int, prototypes: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("rows", torch.zeros(classes, length, dim, dtype=torch.float16))
        self.register_buffer("index", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("pushes", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("keys", torch.zeros(classes, length, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros(classes, length, dtype=torch.int32))
        self.register_buffer("scores", torch.zeros(classes, length))
        self.register_buffer("areas", torch.zeros(classes, length))
        self.register_buffer("centres", torch.zeros(classes, length, 2))
        self.register_buffer("mean", torch.zeros(classes, dim))
        self.register_buffer("prototypes", torch.zeros(classes, prototypes, dim))
        self.register_buffer("count", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("member", torch.full((classes, length), -1, dtype=torch.int32))
        self.register_buffer("epoch", torch.full((classes,), -1, dtype=torch.int64))

    @property
    def filled(self) -> Tensor:
        """Rows of each class that hold something, [C] int64."""
        return self.pushes.clamp(max=self.length)

    @torch.no_grad()
    def push(self, entries: Entries, step: int, *, momentum: float = 0.9) -> None:
        """Take rows in, in the order of image and class, whichever rank or batch order they came in.

        Args:
            entries: The rows of one step, of all ranks.
            step: Training step, for the age of a row.
            momentum: How slowly `mean`, the running mean of what comes in, follows.
        """
        order = np.lexsort((entries.classes.cpu().numpy(), entries.keys.cpu().numpy()))
        entries = Entries(*(part[torch.from_numpy(order).to(part.device)] for part in entries))
        for cls in entries.classes.unique().tolist():
            own = torch.nonzero(entries.classes == cls)[:, 0]
            average = entries.rows[own].mean(0)
            first = self.pushes[cls] == 0
            self.mean[cls] = average if first else momentum * self.mean[cls] + (1 - momentum) * average
            kept = own[-self.length :]  # more than fit: the newest
            start = int(self.index[cls]) + len(own) - len(kept)
            slots = (start + torch.arange(len(kept), device=kept.device)) % self.length
            self.rows[cls, slots] = entries.rows[kept].to(self.rows.dtype)
            self.keys[cls, slots] = entries.keys[kept]
            self.steps[cls, slots] = step
            self.scores[cls, slots] = entries.scores[kept]
            self.areas[cls, slots] = entries.areas[kept]
            self.centres[cls, slots] = entries.centres[kept]
            self.member[cls, slots] = -1
            self.index[cls] = (int(self.index[cls]) + len(own)) % self.length
            self.pushes[cls] += len(own)

    def held(self, cls: int) -> Tensor:
        """Return the rows of a class that are there, [count, D] float32, in the order of their slots."""
        rows: Tensor = self.rows[cls, : int(self.filled[cls])].float()
        return rows

    def average(self) -> Tensor:
        """Return the mean row of each class, [C, D] float32; 0 for a class without rows."""
        # Unfilled rows are zeros, so the sum over all of them is the sum over those that are there.
        return self.rows.float().sum(1) / self.filled.clamp(min=1)[:, None]

    @torch.no_grad()
    def cluster(self, cls: int, epoch: int) -> None:
        """Make the prototypes of a class anew; each keeps the place of the one before that it is likest to."""
        rows = self.held(cls)
        if not len(rows):
            return
        found = kmeans(rows, self.prototypes.shape[1], seed=epoch * 1009 + cls)
        new = found.centroids  # [n, D]
        places = torch.arange(len(new))
        before = int(self.count[cls])
        if before == len(new):
            likeness = F.normalize(self.prototypes[cls, :before], dim=1) @ new.T  # [old, new]
            old, mine = linear_sum_assignment(-likeness.cpu().numpy())
            places[torch.from_numpy(mine)] = torch.from_numpy(old)
        places = places.to(new.device)
        self.prototypes[cls] = 0
        self.prototypes[cls, places] = new
        self.count[cls] = len(new)
        self.member[cls] = -1
        self.member[cls, : len(rows)] = places[found.of].int()
        self.epoch[cls] = epoch

    def round(self, epoch: int) -> ClusterRound:
        """Return the clusters that were made in an epoch, as a run keeps them."""
        fresh = self.epoch == epoch  # [C]
        shift = (self.average() - self.mean).norm(dim=1)
        return ClusterRound(
            epoch,
            self.keys.cpu().numpy().copy(),
            self.centres.cpu().numpy().copy(),
            torch.where(fresh[:, None], self.member, -1).cpu().numpy(),
            torch.where(fresh, shift, torch.nan).cpu().numpy(),
        )
