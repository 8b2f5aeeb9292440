"""The one training loop: a generator of events, stopped by closing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from engine.compute import loader_workers, seed_of
from engine.messages import Event, Metrics, Progress, Said
from engine.nets.input import to_input
from engine.store import Project, Run
from engine.train.batch import Batch, Clock, Trained
from engine.train.batches import ClassMaps, Crops, Order, PseudoLabels, Sample
from engine.train.checkpoint import load_trainer, save_trainer, save_weights
from engine.train.plan import Plan, rate_at
from engine.train.precision import mean_average_precision
from engine.work import Halted

__all__ = ["Training", "train"]


@dataclass
class Training:
    """What a training needs.

    `held` are the images whose tags measure it and never teach it; `labels` the masks it learns from and `maps`
    the maps of another run that it is given, if any.
    """

    project: Project
    run: Run
    method: Trained
    net: nn.Module
    plan: Plan
    stems: tuple[str, ...]
    held: tuple[str, ...]
    fabric: Fabric
    seed: int
    stop: Callable[[], bool]
    labels: PseudoLabels | None = None
    maps: ClassMaps | None = None


class _Step(nn.Module):
    """One training step as a forward pass, so that DDP sees every parameter that took part."""

    def __init__(self, method: Trained, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self._method = method

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        return self._method.training_step(self.net, batch, clock)


def train(job: Training) -> Iterator[Event]:
    """Train, yielding events; closing the generator stops it and keeps its state.

    Checkpoints are written at least every `plan.checkpoint` seconds, at each epoch's end and
    on stopping, always between two steps. As everything random follows from (seed, step),
    going on from any of them gives the numbers of an uninterrupted training on a CPU.
    """
    plan, fabric, run = job.plan, job.fabric, job.run
    tags = job.project.tags()
    targets = tags.subset(job.stems).states
    order = Order(len(job.stems), plan.batch or 1, job.seed, fabric.global_rank, fabric.world_size)
    steps = order.per_epoch * (plan.epochs or 1)
    counts = torch.tensor(np.stack([(targets == 1).sum(0), (targets == 0).sum(0)]), dtype=torch.float32)

    net = job.net.to(memory_format=torch.channels_last)
    net.backbone.mixed = plan.precision == "bfloat16"
    first = 0
    saved = load_trainer(run)
    if saved is not None:
        net.load_state_dict(saved["net"])
        first = saved["step"]
    # Behind the loading: the preparation of the images travels with the weights.
    cells = (net.backbone.stride, net.backbone.cell_centre)
    crops = Crops(
        job.project, job.stems, targets, plan, net.backbone.prep, job.seed, job.labels, job.maps, cells
    )
    optimiser = _optimiser(net, plan)
    highest = [group["lr"] for group in optimiser.param_groups]
    wrapped, fabric_optimiser = fabric.setup(_Step(job.method, net), optimiser)
    if saved is not None:
        fabric_optimiser.load_state_dict(saved["optimiser"])
    best = dict(saved["extra"]) if saved is not None else {}
    counts = fabric.to_device(counts)
    workers = loader_workers(fabric.device)
    loader = DataLoader(
        crops,
        batch_sampler=_Shares(order, first, steps),
        collate_fn=_collate,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        pin_memory=fabric.device.type == "cuda",
    )

    step, told = first, set()
    kept = began = time.monotonic()
    yield Progress(done=first, total=steps, phase="training")
    try:
        net.train()
        for images, wanted, labels, maps, places, samples, why in loader:
            if _agreed(fabric, job.stop()):
                raise Halted
            clock = Clock(step, steps, step // order.per_epoch)
            # Dropout and the like draw from here: the step seeds them, not the steps before it.
            torch.manual_seed(seed_of(job.seed, "step", step, fabric.global_rank))
            for group, rate in zip(fabric_optimiser.param_groups, highest, strict=True):
                group["lr"] = rate * rate_at(plan, clock.fraction)
            whole = targets[order.rows(step)]
            batch = Batch(
                images=fabric.to_device(images.contiguous(memory_format=torch.channels_last)),
                targets=fabric.to_device(wanted),
                stems=tuple(job.stems[s.row] for s in samples),
                known=int((whole >= 0).sum()),
                named=int((whole == 1).any(1).sum()),
                world=fabric.world_size,
                counts=counts,
                labels=None if job.labels is None else fabric.to_device(labels),
                maps=None if job.maps is None else fabric.to_device(maps),
                places=fabric.to_device(places),
            )
            losses = wrapped(batch, clock)
            total = torch.stack(list(losses.values())).sum()
            fabric_optimiser.zero_grad()
            fabric.backward(total)
            fabric_optimiser.step()
            job.method.after_step(net, clock)
            if fabric.is_global_zero:
                job.method.keep(run)
            step += 1

            values = _mean_over_ranks(fabric, losses)
            for stem, reason in zip(batch.stems, why, strict=True):
                if reason and stem not in told:
                    told.add(stem)
                    yield Said(text=f"{stem} was passed over: {reason}", level="warning")
            ended = step % order.per_epoch == 0
            if ended and job.method.MEASURED and (job.held or step == steps):
                # A tenth of an epoch's time at most between epochs; more tags for the last word.
                found = _precision(job, net, fabric, 200 if step == steps else max(16, len(job.stems) // 10))
                if found is not None:
                    values["map" if job.held else "map_seen"] = best["map"] = found
            if (ended or time.monotonic() - kept > plan.checkpoint) and step < steps:
                _keep(job, net, fabric_optimiser, step, best)
                kept = time.monotonic()
            yield Metrics(step=step, values=values, clock=step / steps)
            left = (time.monotonic() - began) / (step - first) * (steps - step)
            yield Progress(done=step, total=steps, seconds_left=left, phase="training")
    finally:
        # Closed, stopped, failed or done: what was learnt up to the last whole step is kept.
        if step > first or saved is None:
            _keep(job, net, fabric_optimiser, step, best)


def _keep(job: Training, net: nn.Module, optimiser: Any, step: int, extra: dict[str, Any]) -> None:
    if job.fabric.is_global_zero:
        save_trainer(job.run, net, optimiser.state_dict(), step, extra)
        save_weights(net, job.run.weights, {"step": str(step)})


def _optimiser(net: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    new = {id(p) for p in net.new_parameters()}
    old = [p for p in net.parameters() if p.requires_grad and id(p) not in new]
    fresh = [p for p in net.parameters() if p.requires_grad and id(p) in new]
    rate = plan.rate or 0.0
    groups = [{"params": old, "lr": rate}, {"params": fresh, "lr": rate * plan.head_rate}]
    groups = [g for g in groups if g["params"]]
    if plan.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=plan.momentum, weight_decay=plan.decay or 0.0)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=plan.decay or 0.0)


class _Shares:
    """Batch sampler over the steps that are still to be done."""

    def __init__(self, order: Order, first: int, steps: int) -> None:
        self.order, self.first, self.steps = order, first, steps

    def __iter__(self) -> Iterator[list[Sample]]:
        return self.order.shares(self.first, self.steps)

    def __len__(self) -> int:
        return max(0, self.steps - self.first)


def _collate(items: list[Any]) -> Any:
    *tensors, samples, why = zip(*items, strict=True)
    return *(torch.stack(t) for t in tensors), samples, why


def _agreed(fabric: Fabric, stop: bool) -> bool:
    """Return rank 0's decision on every rank, or one would wait for the others for ever."""
    if fabric.world_size == 1:
        return stop
    return bool(fabric.broadcast(stop, src=0))


def _mean_over_ranks(fabric: Fabric, losses: dict[str, Tensor]) -> dict[str, float]:
    values = torch.stack([v.detach().float() for v in losses.values()])
    if fabric.world_size > 1:
        values = fabric.all_reduce(values, reduce_op="mean")
    numbers = [float(v) for v in values]
    named = dict(zip(losses, numbers, strict=True))
    return {**named, "loss": sum(numbers)}


@torch.inference_mode()
def _precision(job: Training, net: nn.Module, fabric: Fabric, most: int) -> float | None:
    """Return the mean average precision of the held-out tags, or of the training tags without any.

    At most `most` images are looked at, evenly spread over them.
    """
    stems = job.held or job.stems
    stems = stems[:: -(-len(stems) // most)]
    states = job.project.tags().subset(stems).states
    prep = net.backbone.prep
    side = round((job.plan.crop or 0) * ((job.plan.zoom_low or 1) + (job.plan.zoom_high or 1)) / 2)
    net.eval()
    scores = []
    for stem in stems[fabric.global_rank :: fabric.world_size]:
        image = to_input(job.project.read(stem).pixels, prep, long_side=side)
        found = net(fabric.to_device(image)[None].contiguous(memory_format=torch.channels_last))  # [1, C]
        # In double, or confident scores would all be 1 and tie.
        scores.append(job.method.probabilities(found.double())[0])
    net.train()
    classes = states.shape[1]
    none = torch.zeros(0, classes, dtype=torch.float64, device=fabric.device)
    mine = torch.stack(scores) if scores else none
    if fabric.world_size > 1:
        share = -(-len(stems) // fabric.world_size)
        padded = none.new_zeros(share, classes)
        padded[: len(mine)] = mine
        every = fabric.all_gather(padded)  # [world, share, C]
        mine = every.transpose(0, 1).reshape(-1, classes)[: len(stems)]  # [N, C]
    return mean_average_precision(mine.cpu().numpy(), states)
