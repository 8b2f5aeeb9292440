"""What methods share that learn from confident labels, and those of them that refine maps by a random walk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import scipy.ndimage
import torch
from numpy.typing import NDArray
from torch import nn

from engine.affinity import transition
from engine.class_maps import Shot
from engine.confident import ConfidentParams
from engine.errors import UserError
from engine.method import Method, check_start
from engine.nets.backbone import Backbone, build_backbone, freeze
from engine.nets.weights import Weights
from engine.params import Spec
from engine.results import CamStack, InstanceSet, RefineTrace, enlarge
from engine.walk import walk_on

__all__ = ["Fields", "Refined", "SeedParams", "Seeded", "WalkViews", "Walker", "on_cells"]

P = TypeVar("P")
V = TypeVar("V")

Floats = NDArray[np.float32]


class Refined(NamedTuple):
    """What the refinement of an image gave."""

    stem: str
    stack: CamStack
    trace: RefineTrace | None = None
    instances: InstanceSet | None = None


@dataclass(frozen=True)
class Fields:
    """What a network says of one image, on its grid.

    Attributes:
        affinity: [D, h, w] float32 in [0, 1], of a cell and the one at `affinity.offsets(radius)[D]`.
        edge: [h, w] float32 in [0, 1], probability of a class boundary, or None.
        displacement: [2, h, w] float32 (dy, dx) in cells, or None.
    """

    affinity: Floats
    edge: Floats | None = None
    displacement: Floats | None = None


@dataclass(frozen=True)
class SeedParams:
    """Parameters of every method that learns from a run's maps."""

    seeds: Annotated[
        str,
        Spec(
            "Maps to learn from, RUN or RUN/VIEWS; their confident parts become the labels.",
            main=True,
            picks="run",
        ),
    ] = ""
    backbone: Annotated[
        str, Spec("Network that looks at the images: any name of torchvision or timm.", main=True)
    ] = "resnet50"
    pretrained: Annotated[bool, Spec("Start from ImageNet weights.", main=True)] = True
    foreground: Annotated[
        float | None,
        Spec(
            "Scores above it are surely their class before the CRF. none: found from the maps, as no constant suits "
            "the maps of every method.",
            low=0,
            high=1,
            main=True,
        ),
    ] = None
    background: Annotated[
        float | None,
        Spec(
            "Scores up to it are surely background before the CRF. none: found from the maps.",
            low=0,
            high=1,
            main=True,
        ),
    ] = None
    corrected: Annotated[
        Literal["approved", "all", "none"],
        Spec(
            "Masks that people corrected stand in for the labels of their images, unsure pixels left out. Approved "
            "ones by default: of a mask that somebody is at work on, half the pixels are still the engine's proposal."
        ),
    ] = "approved"

    def __post_init__(self) -> None:
        check_start(self.backbone, self.pretrained)
        if self.foreground is not None and self.background is not None and self.background > self.foreground:
            raise UserError(
                f"background = {self.background:g} is above foreground = {self.foreground:g}.",
                "Between the two a pixel is unsure.",
                "Swap the two.",
            )


@dataclass(frozen=True)
class WalkViews:
    """Settings of every random walk."""

    network: Annotated[
        str | None,
        Spec("Trained network to walk with. none: the newest of this method.", picks="run"),
    ] = None
    beta: Annotated[
        float,
        Spec(
            "Exponent of the affinities; higher lets weaker borders stop the walk.",
            low=0.1,
            high=100,
            main=True,
        ),
    ] = 10.0
    steps: Annotated[
        int, Spec("Steps of the walk; the papers take 2^8.", low=0, high=4096, unit="steps", main=True)
    ] = 256
    radius: Annotated[
        int, Spec("Cells are neighbours when they are nearer than this.", low=2, high=16, unit="cells")
    ] = 5
    flip: Annotated[bool, Spec("Look at the mirror image too.")] = True


class Seeded(Method[P, V]):
    """A method that learns from confident labels made of another run's maps (`seeds`), never from truth."""

    NEEDS: ClassVar[tuple[str, ...]] = ("seeds: maps of a run",)
    MEASURED: ClassVar[bool] = False
    # How the confident labels are made: as IRN (two constants) or as PSA (two powers).
    CONFIDENT: ClassVar[Literal["irn", "psa"]] = "irn"
    # Stride of the backbone.
    STRIDE: ClassVar[int] = 16

    params: Any

    def pretrained(self) -> str | None:
        return self.params.backbone if self.params.pretrained else None

    def confident(self) -> ConfidentParams:
        """Return how the labels are made that it learns from."""
        p = self.params
        return ConfidentParams(kind=self.CONFIDENT, foreground=p.foreground, background=p.background)

    def wants_label(self, views: V) -> bool:
        """Return whether views are drawn with the label that the network learnt from; images without are passed over."""
        return False

    def backbone(self, weights: Weights | None, frozen: str) -> Backbone:
        """Return the backbone, of which nothing behind a stage learns (see `nets.backbone.freeze`)."""
        p = self.params
        found = build_backbone(
            p.backbone, output_stride=self.STRIDE, weights=weights, norm="frozen" if p.pretrained else "group"
        )
        if p.pretrained:
            freeze(found, frozen)
        return found


class Walker(Seeded[P, V]):
    """A method whose network tells which cells belong together, and whose walk carries maps along."""

    SHOWS: ClassVar[tuple[str, ...]] = ("cams", "refine")
    REFINES: ClassVar[bool] = True

    def settled(self, views: V, seeds: Mapping[str, Any]) -> V:
        """Return the settings with numbers where they are left to the maps that the network learnt from.

        Args:
            views: The settings.
            seeds: Settings of `ConfidentParams` that its labels were made with.
        """
        return views

    def check(self, net: nn.Module, views: V) -> None:
        """Check that a network can do what the settings ask.

        Raises:
            UserError: It cannot.
        """

    def look(self, net: nn.Module, pictures: torch.Tensor, views: V) -> list[Fields]:
        """Return what the network says of normalised pictures [B, 3, H, W]."""
        raise NotImplementedError

    def start(self, stack: CamStack, fields: Fields, cell: int, centre: float, views: V) -> Floats:
        """Return the maps that walk, [L, h, w] float32."""
        raise NotImplementedError

    def scores(self, walked: Floats, views: V) -> Floats:
        """Return the scores [1 + K, h, w] in [0, 1], background first, of maps [L, h, w] that walked."""
        raise NotImplementedError

    def matrix(self, fields: Fields, views: V) -> Any:
        """Return the transition matrix."""
        return transition(fields.affinity, views.radius, beta=views.beta)

    def instances(
        self, stack: CamStack, fields: Fields, matrix: Any, net: Any, views: V
    ) -> InstanceSet | None:
        """Return the instances of an image, for methods that find them."""
        return None

    def refine(
        self,
        net: nn.Module,
        shots: Sequence[Shot],
        stacks: Sequence[CamStack],
        views: V,
        *,
        keep: bool = False,
    ) -> Iterator[Refined]:
        """Yield the refined maps of images of one size.

        Args:
            net: The trained network, in eval mode.
            shots: The images.
            stacks: The maps of each.
            views: How they walk.
            keep: Keep the stages of the walk too.
        """
        device = next(net.parameters()).device
        pixels = torch.from_numpy(np.stack([s.pixels for s in shots])).to(device).permute(0, 3, 1, 2)
        found = self.look(net, net.backbone.prep.normalise(pixels.float() / 255), views)  # type: ignore[union-attr, operator]
        # Walks hold no lock of the interpreter, so the images of a batch walk side by side.
        with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as pool:
            jobs = [
                pool.submit(self._walked, net, shot, stack, fields, views, keep, device)
                for shot, stack, fields in zip(shots, stacks, found, strict=True)
            ]
            for job in jobs:
                yield job.result()

    def _walked(
        self,
        net: Any,
        shot: Shot,
        stack: CamStack,
        fields: Fields,
        views: Any,
        keep: bool,
        device: torch.device,
    ) -> Refined:
        grid = fields.affinity.shape[1:]
        cell, centre = net.cell, net.centre
        times = _times(views.steps) if keep else (views.steps,)
        matrix = self.matrix(fields, views) if stack.classes else None
        if stack.classes:
            start = self.start(stack, fields, cell, centre, views)  # [L, h, w]
            walked = walk_on(device, matrix, start, times)  # [S, L, h, w]
            stages = np.stack([self.scores(w, views) for w in walked]).astype(np.float16)  # [S, 1 + K, h, w]
        else:
            stages = np.ones((len(times), 1, *grid), np.float16)
        instances = self.instances(stack, fields, matrix, net, views)
        size = stack.size
        refined = CamStack(
            image=stack.image,
            size=size,
            classes=stack.classes,
            maps=stages[-1, 1:],
            peaks=np.ones(len(stack.classes), np.float32),
            cell=float(cell),
            origin=centre,
            scores=stack.scores,
            background=stages[-1, 0],
            facts={"refiner": type(self).__module__.rsplit(".", 1)[-1]},
        )
        trace = None
        if keep:
            kept: dict[str, NDArray[Any]] = {}
            if fields.edge is None:
                kept["affinity"] = fields.affinity.astype(np.float16)
            else:
                kept["edge"] = fields.edge.astype(np.float16)
            if fields.displacement is not None:
                kept["displacement"] = fields.displacement.astype(np.float16)
            trace = RefineTrace(
                image=stack.image,
                size=size,
                classes=stack.classes,
                refiner=refined.facts["refiner"],
                at=times,
                stages=stages,
                cell=float(cell),
                origin=centre,
                fields=kept,
                radius=views.radius,
                facts={"beta": views.beta},
            )
        return Refined(shot.stem, refined, trace, instances)


def on_cells(stack: CamStack, cell: int, centre: float, grid: tuple[int, int]) -> Floats:
    """Return the maps of a stack, and its background first where it has one, on a grid of cells.

    Args:
        stack: The maps.
        cell: Pixels a cell.
        centre: Pixel on which cell 0 is centred.
        grid: Cells (h, w).

    Returns:
        [K or 1 + K, h, w] float32 in [0, 1].
    """
    layers = stack.maps if stack.background is None else np.concatenate([stack.background[None], stack.maps])
    if stack.cell == cell and stack.origin == centre and layers.shape[1:] == grid:
        return layers.astype(np.float32)
    full = enlarge(layers, stack.size, stack.cell, stack.origin)  # [L, H, W]
    if stack.cell < cell:
        # Averaged before pixels are left out, as the reference codes pool.
        full = np.stack([scipy.ndimage.uniform_filter(f, cell, mode="nearest") for f in full])
    rows = np.minimum(np.rint(np.arange(grid[0]) * cell + centre).astype(int), stack.size[0] - 1)
    columns = np.minimum(np.rint(np.arange(grid[1]) * cell + centre).astype(int), stack.size[1] - 1)
    return np.ascontiguousarray(full[:, rows[:, None], columns])


def _times(steps: int) -> tuple[int, ...]:
    """Return 0, 1, 2, 4, ... up to the steps."""
    found = [0]
    t = 1
    while t < steps:
        found.append(t)
        t *= 2
    return (*found, steps) if steps else (0,)
