"""Device and ranks of a job, through Lightning Fabric."""

from __future__ import annotations

import atexit
import os

import torch.distributed
from lightning_fabric import Fabric

from engine import compute
from engine.messages import Job

__all__ = ["start_fabric"]


def start_fabric(job: Job) -> Fabric:
    """Return Fabric on the job's device, launched; under torchrun it is one of many ranks.

    Raises:
        UserError: The device is not there.
    """
    device = compute.device(job.device)
    compute.threads(job.threads)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    devices: int | list[int] = (
        local if device.type == "cpu" else ([device.index] if device.index is not None else local)
    )
    # Fabric's own mixed precision would round counts, places and losses too; see `Backbone.mixed`.
    fabric = Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
    )
    fabric.launch()
    if world > 1:
        # Fabric does so for NCCL only. Threads of gloo that outlive the interpreter abort the process, its
        # work done (github.com/pytorch/pytorch/pull/179291).
        atexit.register(_leave_group)
    return fabric


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
