"""Training images: which ones in which order, cut how, the same on one rank or many.

Everything random about an image follows from (seed, epoch, image), not from the process
that draws it, so a resumed run, a run with loader processes and a run on several ranks
see exactly the pixels of the plain run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from engine.compute import seed_of
from engine.errors import UserError
from engine.nets.prep import Prep
from engine.store import Project
from engine.train.plan import Plan

__all__ = ["Crops", "Order", "Sample"]

_CACHE_BYTES = 512 << 20


@dataclass(frozen=True)
class Sample:
    """Where in the training one image stands: its row, and the epoch that seeds its cut."""

    row: int
    epoch: int
    filler: bool = False


class Order:
    """The global batches of a training and each rank's share of them.

    Args:
        images: Number of training images.
        batch: Images per global batch; the last batch of an epoch may be smaller.
        seed: Seed of the job.
        rank, world: This process and how many there are.
    """

    def __init__(self, images: int, batch: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.images, self.batch, self.seed, self.rank, self.world = (
            images,
            min(batch, images),
            seed,
            rank,
            world,
        )
        self.per_epoch = -(-images // self.batch)

    def rows(self, step: int) -> list[int]:
        """Return the rows of the whole global batch of a step."""
        epoch, at = divmod(step, self.per_epoch)
        mixed = np.random.default_rng(seed_of(self.seed, "order", epoch)).permutation(self.images)
        return [int(r) for r in mixed[at * self.batch : (at + 1) * self.batch]]

    def share(self, step: int) -> list[Sample]:
        """Return this rank's samples of a step; a rank left without one gets a filler that counts for nothing."""
        rows, epoch = self.rows(step), step // self.per_epoch
        mine = [Sample(r, epoch) for r in rows[self.rank :: self.world]]
        return mine or [Sample(rows[0], epoch, filler=True)]

    def shares(self, first: int, steps: int) -> Iterator[list[Sample]]:
        """Yield this rank's samples from one step to the last."""
        for step in range(first, steps):
            yield self.share(step)


class Crops(Dataset[tuple[Tensor, Tensor, Sample, str]]):
    """Augmented training images, indexed by `Sample`.

    Gives (image [3, crop, crop] float32 normalised, targets [C] int8, sample, why it could not be read).
    An image that became unreadable is empty and all its tags are unknown, so it teaches nothing.

    Args:
        project: Where the images lie.
        stems: Training images.
        targets: [N, C] int8 states of their tags.
        plan: A settled plan.
        prep: What the backbone wants of its input.
        seed: Seed of the job.
    """

    def __init__(
        self,
        project: Project,
        stems: tuple[str, ...],
        targets: NDArray[np.int8],
        plan: Plan,
        prep: Prep,
        seed: int,
    ) -> None:
        self.project, self.stems, self.plan, self.seed = project, stems, plan, seed
        self.targets = torch.from_numpy(np.array(targets))
        self.reach = max(1, round((plan.crop or 0) * (plan.zoom_high or 1)))
        self.interpolation = InterpolationMode(prep.interpolation)
        color = (
            [v2.ColorJitter(plan.jitter, plan.jitter, plan.jitter, plan.jitter / 3)] if plan.jitter else []
        )
        # Normalised before it is padded: the border is then the mean colour, as in IRN.
        self.finish = v2.Compose(
            [
                *([v2.RandomHorizontalFlip()] if plan.flip else []),
                *color,
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(prep.mean), list(prep.std)),
                v2.RandomCrop(plan.crop, pad_if_needed=True, fill=0),
            ]
        )
        self._cache: OrderedDict[int, Tensor] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor, Sample, str]:
        targets, crop = self.targets[sample.row], self.plan.crop or 0
        try:
            image = self._image(sample.row)
        except UserError as error:
            return torch.zeros(3, crop, crop), torch.full_like(targets, -1), sample, error.found
        if sample.filler:
            targets = torch.full_like(targets, -1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, "cut", sample.epoch, self.stems[sample.row]))
            low, high = round(crop * (self.plan.zoom_low or 1)), round(crop * (self.plan.zoom_high or 1))
            side = int(torch.randint(low, high + 1, ()))
            image = self.finish(_long_side(image, side, self.interpolation))
        return image, targets, sample, ""

    def _image(self, row: int) -> Tensor:
        """Return the upright image [3, H, W] uint8, shrunk to the largest side that is ever asked for."""
        if row in self._cache:
            self._cache.move_to_end(row)
            return self._cache[row]
        pixels = self.project.read(self.stems[row]).pixels
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        if max(image.shape[1:]) > self.reach:
            image = _long_side(image, self.reach, self.interpolation)
        image = image.contiguous()
        self._cache[row] = image
        self._held += image.nbytes
        while self._held > _CACHE_BYTES:
            self._held -= self._cache.popitem(last=False)[1].nbytes
        return image


def _long_side(image: Tensor, side: int, interpolation: InterpolationMode) -> Tensor:
    height, width = image.shape[1:]
    factor = side / max(height, width)
    size = [max(1, round(height * factor)), max(1, round(width * factor))]
    return F.resize(image, size, interpolation=interpolation, antialias=True)
