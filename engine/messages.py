"""Jobs and events: all that crosses the process border, as plain data.

A job says what to do; the shell, the child process and the tests hand the same job
to `engine.run`. Events come back, and exactly one of them is an ending: `Finished`,
`Failed` or `Stopped`.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import shlex
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from engine.errors import UserError, nearest
from engine.params import text_of

__all__ = [
    "ENDINGS",
    "EVENTS",
    "JOBS",
    "Boxes",
    "Climb",
    "Evaluate",
    "Event",
    "Export",
    "Failed",
    "Film",
    "Finished",
    "Import",
    "Infer",
    "Job",
    "Label",
    "Methods",
    "Metrics",
    "New",
    "Progress",
    "Relink",
    "Rerun",
    "Said",
    "Started",
    "Stopped",
    "Study",
    "Train",
    "Viewed",
    "arguments",
    "command",
    "decode",
    "encode",
]

MAX_MESSAGE = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every job carries.

    `device`, `devices`, `threads` and `seed` are the flags of the same names;
    `threads = None` leaves the choice to the door (all cores for the shell, one less
    for the window's child). `id` names the job on the wire.
    """

    VERB: ClassVar[str] = ""
    # Names of the fields that stand bare on the command line, in order.
    BARE: ClassVar[tuple[str, ...]] = ()
    # Done on the device and therefore taking --device, --devices, --threads, --seed.
    WORKS: ClassVar[bool] = False

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    project: str = ""
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    threads: int | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class New(Job):
    """Make a project from a folder of images and a tag file (`wsss new`)."""

    VERB: ClassVar[str] = "new"
    BARE: ClassVar[tuple[str, ...]] = ("project",)
    images: str
    tags: str | None = None
    classes: str | None = None
    truth: str | None = None
    truth_classes: str | None = None
    split: tuple[str, ...] = ()
    """Each `NAME=FILE`."""
    class_names: tuple[str, ...] = ()
    """Classes typed by a person who has no tag file yet; the window uses it."""


@dataclass(frozen=True, kw_only=True)
class Relink(Job):
    """Point a project at the place its image folder moved to (`wsss relink`)."""

    VERB: ClassVar[str] = "relink"
    BARE: ClassVar[tuple[str, ...]] = ("project",)
    images: str | None = None
    truth: str | None = None


@dataclass(frozen=True, kw_only=True)
class Methods(Job):
    """List the methods with their cards and parameter tables (`wsss methods`)."""

    VERB: ClassVar[str] = "methods"


@dataclass(frozen=True, kw_only=True)
class Train(Job):
    """Train a method (`wsss train`); None leaves a figure to the default plan."""

    VERB: ClassVar[str] = "train"
    BARE: ClassVar[tuple[str, ...]] = ("method",)
    WORKS: ClassVar[bool] = True
    method: str
    run: str | None = None
    split: str = "train"
    epochs: int | None = None
    batch: int | None = None
    crop: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class Infer(Job):
    """Draw a run's views (`wsss infer`); no split and no images means every image."""

    VERB: ClassVar[str] = "infer"
    BARE: ClassVar[tuple[str, ...]] = ("run",)
    WORKS: ClassVar[bool] = True
    run: str
    split: str | None = None
    images: tuple[str, ...] = ()
    views: str = "default"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Climb(Job):
    """Climb adversarially on a run's classifier and keep maps and traces (`wsss climb`).

    Without a class, all classes of the images are climbed and CamStacks are kept as RUN/VIEWS; a
    climb that was killed goes on. With a class, one image is climbed once, step by step, with
    its pictures, and `trace` and `at` go on from a step of an earlier climb.
    """

    VERB: ClassVar[str] = "climb"
    BARE: ClassVar[tuple[str, ...]] = ("run",)
    WORKS: ClassVar[bool] = True
    run: str
    split: str | None = None
    images: tuple[str, ...] = ()
    views: str = "climb"
    settings: dict[str, Any] = field(default_factory=dict)
    cls: str | None = None
    """Name of the class of a single climb."""
    trace: str | None = None
    """Id of the climb of this image to go on from."""
    at: int | None = None
    """Step of it; its last one by default."""


@dataclass(frozen=True, kw_only=True)
class Film(Job):
    """Write a climb as a film (GIF, MP4), a strip of pictures (PNG) or arrays (npz) (`wsss film`)."""

    VERB: ClassVar[str] = "film"
    source: str
    """RUN/VIEWS that hold the climb."""
    image: str
    trace: str
    out: str
    """Its ending (.gif, .mp4, .png, .npz) says the format."""
    fps: int = 6
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class Study(Job):
    """Analyse climbing on a split as section 7 of the AdvCAM paper does, and keep the plots' data (`wsss study`)."""

    VERB: ClassVar[str] = "study"
    BARE: ClassVar[tuple[str, ...]] = ("study", "run")
    WORKS: ClassVar[bool] = True
    study: str
    run: str
    split: str = "train"
    count: int | None = None
    """Images at most, chosen evenly over the split; None takes what the study was published with, or all."""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Boxes(Job):
    """Measure the boxes around maps: MaxBoxAcc, MaxBoxAccV2, Top-1 Loc (`wsss boxes`)."""

    VERB: ClassVar[str] = "boxes"
    source: str
    truth_boxes: str
    split: str | None = None
    side: int = 224
    """Maps and boxes are brought to squares of this side before they are compared, px; 0 keeps the image's size."""


@dataclass(frozen=True, kw_only=True)
class Label(Job):
    """Turn views into pseudo-labels (`wsss label`)."""

    VERB: ClassVar[str] = "label"
    WORKS: ClassVar[bool] = True
    source: str
    name: str
    split: str | None = None
    images: tuple[str, ...] = ()
    """These images only; labels of others of the same set stay."""
    climbed: tuple[str, ...] = ()
    """`TRACE@STEP` each: climbs of the one image whose A_t takes the place of its class's map."""
    climbs: str | None = None
    """RUN/VIEWS that hold these climbs."""
    background: str = "constant:0.2"
    ignore: str | None = None
    crf: str = "none"
    min_region: int = 0
    saliency: str | None = None
    """Folder of masks (0 background): where mask and label disagree the label becomes unsure (AdvCAM-Sal, paper 4.5)."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Job):
    """Measure labels or a source of maps against the truth (`wsss evaluate`)."""

    VERB: ClassVar[str] = "evaluate"
    labels: str | None = None
    source: str | None = None
    sweep: bool = False
    split: str | None = None
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class Export(Job):
    """Write a dataset to a new folder (`wsss export`)."""

    VERB: ClassVar[str] = "export"
    labels: str
    format: str
    out: str
    only: Literal["all", "approved"] = "all"
    split: str | None = None
    overwrite: bool = False
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Import(Job):
    """Read a dataset as a label set (`wsss import`)."""

    VERB: ClassVar[str] = "import"
    format: str
    path: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Rerun(Job):
    """Repeat a run from its run.json under a new id (`wsss rerun`)."""

    VERB: ClassVar[str] = "rerun"
    BARE: ClassVar[tuple[str, ...]] = ("run",)
    WORKS: ClassVar[bool] = True
    run: str


JOBS: dict[str, type[Job]] = {
    c.VERB: c
    for c in (
        New, Relink, Methods, Train, Infer, Climb, Film, Study, Boxes, Label, Evaluate, Export, Import, Rerun,
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event carries: the id of the job it belongs to."""

    job: str = ""


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The job has begun; `run` names the run it writes to, where it writes to one."""

    kind: str
    run: str | None = None
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """`done` of `total` steps of `phase` ("training", "images"); time left in seconds, or None."""

    done: int
    total: int
    seconds_left: float | None = None
    phase: str = ""


@dataclass(frozen=True, kw_only=True)
class Metrics(Event):
    """Named numbers at a step; `clock` is the fraction of the training that is done."""

    step: int
    values: dict[str, float]
    clock: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Viewed(Event):
    """A result of one image is on disk: its kind and its path relative to the project."""

    image: str
    kind: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Said(Event):
    """A sentence for the person; `level` is info or warning."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The ending of a job that did its work; `result` is what `--json` prints."""

    result: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """The ending of a job that could not; `mistake` tells the person's slip from our bug."""

    message: str
    mistake: bool = False
    hint: str = ""
    trace: str = ""


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """The ending of a job that was stopped; what it had done is kept."""

    resumable: bool = False


EVENTS: dict[str, type[Event]] = {
    c.__name__.lower(): c for c in (Started, Progress, Metrics, Viewed, Said, Finished, Failed, Stopped)
}
ENDINGS = (Finished, Failed, Stopped)


def encode(message: Job | Event) -> bytes:
    """Return the message as JSON bytes; numbers that are not finite are refused."""
    values = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
    if isinstance(message, Job):
        head = {"verb": message.VERB}
    else:
        head = {"event": type(message).__name__.lower()}
    # A path of bytes that are no UTF-8 holds lone surrogates; escaped, they are JSON and come back.
    return json.dumps({**head, **values}, ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "backslashreplace"
    )


def decode(data: bytes) -> Job | Event:
    """Return the message of JSON bytes.

    Raises:
        UserError: It is no message, is too long, or has fields of other names or types.
    """
    if len(data) > MAX_MESSAGE:
        raise UserError(f"A message of {len(data)} bytes.", f"At most {MAX_MESSAGE} bytes are read.")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"This is no message: {error}.") from None
    if not isinstance(values, dict):
        raise UserError("This is no message: it is not a JSON object.")
    known: dict[str, Any] = {**JOBS, **EVENTS}
    name = values.pop("verb", None) or values.pop("event", None)
    if not isinstance(name, str) or name not in known:
        raise UserError(
            f"There is no job or event '{name}'.", f"Known: {', '.join(known)}.", nearest(str(name), known)
        )
    cls = known[name]
    hints = _hints(cls)
    for key, value in values.items():
        if key not in hints:
            raise UserError(
                f"The job '{name}' has no field '{key}'.", f"Fields: {', '.join(hints)}.", nearest(key, hints)
            )
        values[key] = _checked(name, key, value, hints[key])
    try:
        message = cls(**values)
    except TypeError as error:
        raise UserError(f"The job '{name}' is incomplete: {error}.") from None
    return typing.cast("Job | Event", message)


def arguments(job: Job) -> list[str]:
    """Return the job as the arguments of the `wsss` command that gives the same job."""
    words = [job.VERB]
    given = {f.name: getattr(job, f.name) for f in dataclasses.fields(job) if f.name != "id"}
    defaults = {f.name: f.default for f in dataclasses.fields(job)}
    for name in job.BARE:
        words.append(str(given.pop(name)))
    project = given.pop("project", "")
    if project:
        words += ["-p", project]
    for key, value in given.pop("settings", {}).items():
        words += ["--set", f"{key}={text_of(value)}"]
    for name, value in given.items():
        if value == defaults[name] or value is None or value == ():
            continue
        if name == "class_names":
            continue  # no flag: the shell reads classes from a file
        flag = "--" + _FLAGS.get(name, name.replace("_", "-"))
        if value is True:
            words.append(flag)
        elif name == "split" and isinstance(value, tuple):
            for pair in value:
                words += [flag, pair]
        elif isinstance(value, tuple):
            words += [flag, ",".join(value)]
        else:
            words += [flag, str(value)]
    return words


_FLAGS = {"path": "from", "cls": "class"}


def command(job: Job) -> str:
    """Return the `wsss` line that gives the same job, quoted for a POSIX shell."""
    return shlex.join(["wsss", *arguments(job)])


def _hints(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _checked(message: str, key: str, value: Any, hint: Any) -> Any:
    """Return `value` as the annotation wants it; messages may come from any process."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    ok = False
    if origin is tuple:
        ok = isinstance(value, list) and all(isinstance(v, str) for v in value)
        value = tuple(value) if ok else value
    elif origin is dict:
        ok = isinstance(value, dict)
    elif origin is Literal:
        ok = value in args
    elif args:  # a union with None
        ok = value is None or any(_fits(value, a) for a in args if a is not type(None))
    else:
        ok = _fits(value, hint)
    if not ok:
        raise UserError(f"{message}: {key} = {value!r} cannot be used.", f"It takes {hint}.")
    return value


def _fits(value: Any, hint: Any) -> bool:
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
