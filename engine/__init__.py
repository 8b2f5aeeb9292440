"""The engine: image tags in, segmentation masks out. The same verbs as the command line.

    import engine

    engine.do(engine.Train(project="pets", method="cam", epochs=5))
    engine.do(engine.Infer(project="pets", run="cam"))
    project = engine.open_project("pets")
    views = engine.source_of(project.root, "cam")
    stack = engine.CamStack.load(views.path(project.usable[0]))

Each `wsss` command that does work is a job (`engine.Train`, `engine.Label`, …) with the
command's options as its fields: `do` runs one to its end, `events` yields what happens on
the way. Importing `engine` imports no torch; the jobs that need it do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.errors import UserError
    from engine.labels import LabelRule
    from engine.messages import (
        Boxes,
        Climb,
        Evaluate,
        Event,
        Export,
        Film,
        Import,
        Infer,
        Job,
        Label,
        Methods,
        New,
        Relink,
        Rerun,
        Study,
        Train,
        command,
    )
    from engine.results import CamStack, ClimbTrace, path_to, traces_in
    from engine.store import Project, label_set, open_project, run_of, runs_of, source_of

__all__ = [
    "Boxes",
    "CamStack",
    "Climb",
    "ClimbTrace",
    "Evaluate",
    "Event",
    "Export",
    "Film",
    "Import",
    "Infer",
    "Job",
    "Label",
    "LabelRule",
    "Methods",
    "New",
    "Project",
    "Relink",
    "Rerun",
    "Study",
    "Train",
    "UserError",
    "__version__",
    "command",
    "do",
    "events",
    "label_set",
    "open_project",
    "path_to",
    "run_of",
    "runs_of",
    "source_of",
    "traces_in",
]

__version__ = "0.1.0"

_ROOM = {
    **dict.fromkeys(("CamStack", "ClimbTrace", "path_to", "traces_in"), "engine.results"),
    "LabelRule": "engine.labels",
    "UserError": "engine.errors",
    **dict.fromkeys(
        ("Project", "label_set", "open_project", "run_of", "runs_of", "source_of"), "engine.store"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    # What is in no other room is a job or an event.
    value = getattr(importlib.import_module(_ROOM.get(name, "engine.messages")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def events(job: Job, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Run a job and yield its events; the last is `Finished`, `Failed` or `Stopped`.

    Args:
        job: What to do.
        stop: Asked after every event; once it answers true the job stops and keeps what it did.
    """
    # By name, as the front end does: whoever imports `engine` for its version must not
    # depend on all that a job can reach.
    yield from importlib.import_module("engine.run").run(job, stop)


def do(job: Job, on_event: Callable[[Event], object] = lambda event: None) -> dict[str, Any]:
    """Run a job to its end and return its result, the object that `wsss … --json` prints.

    Args:
        job: What to do.
        on_event: Called with every event on the way, for progress.

    Raises:
        UserError: The job asks for something that cannot be done; the message says what can.
        RuntimeError: The engine has a bug; the message ends with its trace.
    """
    from engine.errors import UserError
    from engine.messages import Failed, Finished, Stopped

    last: Event | None = None
    for last in events(job):
        on_event(last)
    match last:
        case Finished():
            return last.result
        case Failed(mistake=True):
            raise UserError(last.message, last.hint)
        case Failed():
            raise RuntimeError(f"{last.message}\n{last.trace}")
        case Stopped():
            raise RuntimeError("The job was stopped from outside; run it again to go on.")
        case _:
            return {}  # a rank other than the first tells nothing
