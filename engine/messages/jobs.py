"""The jobs: what a person can ask for, one class a verb."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

__all__ = [
    "JOBS",
    "Boxes",
    "Climb",
    "Evaluate",
    "Export",
    "Film",
    "Import",
    "Infer",
    "Job",
    "Label",
    "Methods",
    "New",
    "Prototypes",
    "Queue",
    "Refine",
    "Relink",
    "Rerun",
    "Study",
    "Train",
]


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
class Refine(Job):
    """Refine the maps of a source by a CRF, by pixel-adaptive averaging, or by a walk over learnt affinities (`wsss refine`).

    The result is a new box, a run of its own that holds maps with a background score; one that was
    made the same way is gone on with. `run` names it, or the trained affinity network to walk with,
    whose views then hold the result.
    """

    VERB: ClassVar[str] = "refine"
    BARE: ClassVar[tuple[str, ...]] = ("refiner",)
    WORKS: ClassVar[bool] = True
    refiner: str
    source: str
    split: str | None = None
    images: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    run: str | None = None
    views: str = "default"
    keep: bool = False
    """Keep every stage too (iterations of the CRF, times of the walk) to look at."""


@dataclass(frozen=True, kw_only=True)
class Prototypes(Job):
    """Keep one pass over images of a network with a support bank, for the prototype explorer (`wsss prototypes`)."""

    VERB: ClassVar[str] = "prototypes"
    BARE: ClassVar[tuple[str, ...]] = ("run",)
    WORKS: ClassVar[bool] = True
    run: str
    split: str | None = None
    images: tuple[str, ...] = ()
    views: str = "default"


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
    stages: bool = False
    """Measure every refinement that was made from the source too, one row each."""
    only: Literal["all", "approved"] = "all"
    """Of the labels `corrected`, those that a person approved."""


@dataclass(frozen=True, kw_only=True)
class Queue(Job):
    """Rank the images by how much they ask for a person's eye, and write the order to queue.json (`wsss queue`).

    margin         how much the best score of the pixels is disputed by the second best, in maps
    disagreement   how much labels or maps differ from each other
    change         how much one label set changed of another
    tags           masks that lack a tagged class, or show one that is tagged absent
    """

    VERB: ClassVar[str] = "queue"
    order: Literal["margin", "disagreement", "change", "tags", "name", "random"] = "margin"
    labels: str | None = None
    source: str | None = None
    others: tuple[str, ...] = ()
    """Label sets, `corrected`, or RUN[/VIEWS] to compare with."""
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Export(Job):
    """Write a dataset to a new folder (`wsss export`)."""

    VERB: ClassVar[str] = "export"
    labels: str
    format: str
    out: str
    only: Literal["all", "approved"] = "all"
    split: str | None = None
    instances: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
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
        New, Relink, Methods, Train, Infer, Climb, Film, Study, Refine, Prototypes, Boxes, Label, Evaluate, Queue, Export,
        Import, Rerun,
    )
}  # fmt: skip
