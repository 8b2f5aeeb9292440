"""An engine without a child process: it keeps what is submitted and tells what a test wants told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from qtpy.QtCore import QObject, QTimer, Signal

from engine.messages import ENDINGS, Event, Finished, Job, Methods, Started, Stopped
from engine.params import Spec, describe, presets
from wsss_napari.worker import JobLine


@dataclass(frozen=True)
class Params:
    backbone: Annotated[str, Spec("Network that looks at the images.", main=True)] = "resnet50"
    pretrained: Annotated[bool, Spec("Start from ImageNet weights.", main=True)] = True
    freeze: Annotated[Literal["stem", "none"], Spec("What keeps its weights.")] = "stem"
    scales: Annotated[tuple[float, ...], Spec("Image scales.", low=0.1, high=4, unit="x")] = (1.0, 0.5)

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"engine": {}, "paper": {"freeze": "none"}}


@dataclass(frozen=True)
class Plan:
    epochs: Annotated[
        int | None, Spec("Times every image is seen.", low=1, high=999, unit="epochs", main=True)
    ] = None
    batch: Annotated[int | None, Spec("Images per step.", low=1, high=4096, unit="images", main=True)] = None
    crop: Annotated[int | None, Spec("Side of the square.", low=32, high=2048, unit="px", main=True)] = None
    rate: Annotated[float | None, Spec("Learning rate.", low=1e-7, high=10)] = None


def table(cls: type[Any]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(f) for f in describe(cls)]


METHODS = {
    "methods": [
        {
            "name": "cam",
            "title": "Class activation maps",
            "sentence": "Train a classifier on the image tags and draw where each tag's evidence lies.",
            "citation": "Zhou et al. CVPR 2016.",
            "departs": ["Maps of several scales are added up."],
            "look": ["The peak of a map."],
            "needs": ["tags"],
            "shows": ["cams"],
            "version": 1,
            "available": True,
            "why_not": "",
            "train": table(Params),
            "infer": [],
            "presets": {"train": presets(Params), "infer": {}},
            "plan": table(Plan),
        },
        {
            "name": "broken",
            "title": "broken",
            "sentence": "",
            "citation": "",
            "departs": [],
            "look": [],
            "needs": [],
            "shows": [],
            "version": 0,
            "available": False,
            "why_not": "The method 'broken' cannot be used: ImportError: no module named 'bilby'.",
        },
    ],
    "backbones": ["mobilenet_v2", "resnet50", "tiny_cnn"],
}


class FakeEngine(QObject):
    """`answers`: job class -> result, or a function from the job to its ending; others wait for `end`."""

    event = Signal(object)
    changed = Signal()

    def __init__(self, answers: dict[type[Job], Any] | None = None) -> None:
        super().__init__()
        self.answers: dict[type[Job], Any] = {Methods: METHODS, **(answers or {})}
        self.jobs: list[JobLine] = []
        self.stopped: list[str] = []
        self.forced = 0
        self.answering = True
        self._then: dict[str, Callable[[Event], Any]] = {}

    def submit(self, job: Job, *, then: Callable[[Event], Any] | None = None) -> str:
        self.jobs.append(JobLine(job, "running"))
        if then is not None:
            self._then[job.id] = then
        answer = self.answers.get(type(job))
        if answer is not None:
            ending = answer(job) if callable(answer) else Finished(result=answer)
            QTimer.singleShot(0, lambda: self.end(job.id, ending))
        self.changed.emit()
        return job.id

    def line(self, job_id: str) -> JobLine | None:
        return next((line for line in self.jobs if line.job.id == job_id), None)

    def given(self, kind: type[Job]) -> list[Any]:
        """Return the jobs of a kind, in the order they were submitted."""
        return [line.job for line in self.jobs if isinstance(line.job, kind)]

    def tell(self, job_id: str, event: Event) -> None:
        line = self.line(job_id)
        assert line is not None
        if isinstance(event, Started):
            line.run = event.run or line.run
        self.event.emit(replace(event, job=job_id))
        self.changed.emit()

    def end(self, job_id: str, ending: Event) -> None:
        assert isinstance(ending, ENDINGS)
        line = self.line(job_id)
        assert line is not None
        ending = replace(ending, job=job_id)
        line.ending = ending
        line.state = {"Finished": "finished", "Failed": "failed", "Stopped": "stopped"}[type(ending).__name__]  # type: ignore[assignment]
        self.event.emit(ending)
        self.changed.emit()
        then = self._then.pop(job_id, None)
        if then is not None:
            then(ending)

    def stop(self, job_id: str) -> None:
        self.stopped.append(job_id)
        line = self.line(job_id)
        assert line is not None
        line.state = "stopping"
        self.changed.emit()

    def force_stop(self) -> None:
        self.forced += 1
        for line in self.jobs:
            if line.open:
                self.end(line.job.id, Stopped(resumable=True))

    def close(self) -> None:
        return None
