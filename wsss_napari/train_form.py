"""What the Train page asks for and the job that comes of it. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.messages import Train
from engine.params import Field
from engine.store import Project, free_name
from wsss_napari.forms import field_of

__all__ = ["free_run", "table_of", "train_fields"]

# Plan figures that are fields of the job; all others travel as its settings.
_OF_JOB = ("epochs", "batch", "crop", "device", "devices", "seed", "split")


def table_of(method: Mapping[str, Any], project: Project, device: str) -> tuple[Field, ...]:
    """Return the rows of the form: what matters first, then the plan, the method, the machine.

    Args:
        method: One row of the Methods job.
        project: The open project, for its splits.
        device: Device of the settings, the default.
    """
    rows = [field_of(f) for f in (*method["train"], *method["plan"])]
    return (*(r for r in rows if r.main), *(r for r in rows if not r.main), *_machine(project, device))


def train_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a Train job from the changed values of the form."""
    fields = {name: value for name, value in values.items() if name in _OF_JOB}
    settings = {name: value for name, value in values.items() if name not in _OF_JOB}
    return {**fields, "settings": settings} if settings else fields


def free_run(project: Project, method: str, queued: Iterable[Any]) -> str:
    """Return an id for a new run that neither a run nor a waiting job has.

    The id is chosen here, not by the engine, so that its curves can be told apart from the first event.
    """
    taken = {job.run for job in queued if isinstance(job, Train)}
    return free_name(method, lambda name: name in taken or (project.root / "runs" / name).exists())


def _machine(project: Project, device: str) -> Sequence[Field]:
    splits = tuple(dict.fromkeys(("train", *project.splits, "all")))
    devices = tuple(dict.fromkeys((device, "auto", "cpu", "cuda")))
    where = "Where the network is computed; auto takes a GPU if there is one."
    which = "Images to learn from; without a split, train means all of them."
    return (
        Field("split", "choice", "train", which, choices=splits),
        Field("device", "choice", device, where, choices=devices),
        Field("devices", "int", 1, "Devices or processes that share each batch.", low=1, high=64),
        Field("seed", "int", 0, "Number that every random choice follows from.", low=0, high=2**31 - 1),
    )
