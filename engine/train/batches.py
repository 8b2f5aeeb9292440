"""Training images: which ones in which order, cut how, the same on one rank or many.

Everything random about an image follows from (seed, epoch, image), not from the process
that draws it, so a resumed run, a run with loader processes and a run on several ranks
see exactly the pixels of the plain run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from engine.compute import seed_of
from engine.errors import UserError
from engine.nets.input import over_cells
from engine.nets.prep import Prep
from engine.results import CamStack
from engine.store import Project
from engine.train.plan import Plan

__all__ = ["ClassMaps", "Crops", "Order", "PseudoLabels", "Sample"]

_CACHE_BYTES = 512 << 20
_UNSURE = 255


class PseudoLabels(Protocol):
    """Masks to learn from, by image; it crosses to loader processes."""

    def read(self, stem: str) -> NDArray[np.uint8]:
        """Return the mask of an image, [H, W] uint8 at its size: 0 background, class + 1, 255 unsure."""


class ClassMaps(Protocol):
    """Maps of another run, by image; it crosses to loader processes."""

    def read(self, stem: str) -> CamStack:
        """Return the maps of an image."""


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


class Crops(Dataset[tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Sample, str]]):
    """Augmented training images, indexed by `Sample`.

    Gives (image [3, crop, crop] float32 normalised, targets [C] int8, labels [crop, crop] uint8, or [0, 0]
    without any, maps [C, h, w] float32 on the cells of the features, or [C, 0, 0] without any, where each cell's
    centre lies in the whole image [2, h, w] float32, sample, why it could not be read). An image that became unreadable is empty, all its tags are unknown, all its labels
    unsure and all its maps 0, so it teaches nothing.

    Args:
        project: Where the images lie.
        stems: Training images.
        targets: [N, C] int8 states of their tags.
        plan: A settled plan.
        prep: What the backbone wants of its input.
        seed: Seed of the job.
        labels: Masks that are cut with the images.
        maps: Maps that are cut with the images.
        cells: Pixels a cell of the features, and the pixel on which the first is centred.
    """

    def __init__(
        self,
        project: Project,
        stems: tuple[str, ...],
        targets: NDArray[np.int8],
        plan: Plan,
        prep: Prep,
        seed: int,
        labels: PseudoLabels | None = None,
        maps: ClassMaps | None = None,
        cells: tuple[int, float] = (1, 0.0),
    ) -> None:
        self.project, self.stems, self.plan, self.seed = project, stems, plan, seed
        self.labels, self.maps, self.cells = labels, maps, cells
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
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize(list(prep.mean), list(prep.std)),
                v2.RandomCrop(plan.crop, pad_if_needed=True, fill={tv_tensors.Mask: _UNSURE, "others": 0}),
            ]
        )
        self._cache: OrderedDict[int, Tensor] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Sample, str]:
        targets, crop, stem = self.targets[sample.row], self.plan.crop or 0, self.stems[sample.row]
        try:
            image = self._image(sample.row)
            mask = None if self.labels is None else torch.from_numpy(self.labels.read(stem))  # [H, W]
            stack = None if self.maps is None else self.maps.read(stem)
        except UserError as error:
            return (
                torch.zeros(3, crop, crop),
                torch.full_like(targets, -1),
                self._unsure(),
                self._blank(),
                self._at_cells(torch.zeros(2, crop, crop)),
                sample,
                error.found,
            )
        if sample.filler:
            targets = torch.full_like(targets, -1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, "cut", sample.epoch, stem))
            low, high = round(crop * (self.plan.zoom_low or 1)), round(crop * (self.plan.zoom_high or 1))
            side = int(torch.randint(low, high + 1, ()))
            image = tv_tensors.Image(_long_side(image, side, self.interpolation))
            labels, maps, size = self._unsure(), self._blank(), list(image.shape[1:])
            beside = [tv_tensors.Mask(_places(*size))]
            if mask is not None:
                # The same centres that the pixels are drawn at: torch's own nearest takes corners.
                mask = F.resize(mask[None], size, interpolation=InterpolationMode.NEAREST_EXACT)
                beside.append(tv_tensors.Mask(mask))
            if stack is not None and stack.classes:
                full = F.resize(torch.from_numpy(stack.full()), size, antialias=True)  # [K, h, w]
                beside.append(tv_tensors.Mask(full))
            image, *beside = self.finish([image, *beside])
            if mask is not None and not sample.filler:
                labels = beside[1][0].as_subclass(Tensor)  # [crop, crop]
            if stack is not None and stack.classes and not sample.filler:
                cut = beside[-1].as_subclass(Tensor)  # [K, crop, crop]
                cut = torch.where(cut > 2, 0, cut)  # outside the image, where masks are 255
                maps[list(stack.classes)] = over_cells(cut[None], *self.cells)[0]
            places = self._at_cells(beside[0].as_subclass(Tensor))
        return image.as_subclass(Tensor), targets, labels, maps, places, sample, ""

    def _at_cells(self, values: Tensor) -> Tensor:
        """Return values [2, crop, crop] at the centres of the cells, [2, h, w]."""
        stride, centre = self.cells
        index = (torch.arange(-(-values.shape[1] // stride)) * stride + round(centre)).clamp(
            max=values.shape[1] - 1
        )
        return values[:, index][:, :, index]

    def _blank(self) -> Tensor:
        side = 0 if self.maps is None else -(-(self.plan.crop or 0) // self.cells[0])
        return torch.zeros(self.targets.shape[1], side, side)

    def _unsure(self) -> Tensor:
        side = 0 if self.labels is None else self.plan.crop or 0
        return torch.full((side, side), _UNSURE, dtype=torch.uint8)

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


def _places(height: int, width: int) -> Tensor:
    """Return (y, x) of each pixel's centre in the image, [2, H, W] float32 in [0, 1]."""
    rows, columns = ((torch.arange(n) + 0.5) / n for n in (height, width))
    return torch.stack([rows[:, None].expand(height, width), columns.expand(height, width)])


def _long_side(image: Tensor, side: int, interpolation: InterpolationMode) -> Tensor:
    height, width = image.shape[1:]
    factor = side / max(height, width)
    size = [max(1, round(height * factor)), max(1, round(width * factor))]
    return F.resize(image, size, interpolation=interpolation, antialias=True)
