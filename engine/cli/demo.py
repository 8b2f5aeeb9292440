"""`wsss demo`: the whole path on the bundled sample, then the window or pictures of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.cli.follow import follow
from engine.cli.grammar import Parser
from engine.cli.jobs import add_json
from engine.cli.screen import Screen, span
from engine.cli.show import console, percent
from engine.cli.view import check_window, open_window
from engine.display import can_imagine, has_display, imagined
from engine.errors import UserError
from engine.images import digest
from engine.messages import (
    Climb,
    Evaluate,
    Export,
    Infer,
    Job,
    Label,
    New,
    Prototypes,
    Queue,
    Refine,
    Train,
    command,
)
from engine.resources import resource
from engine.results import traces_in
from engine.store import Project, open_project, run_of, runs_of

__all__ = ["answer"]

RUN, LABELS, BANK = "cam", "cam", "cpal"
_EPOCHS = 10
_TINY = {"backbone": "tiny_cnn", "pretrained": "false"}


@dataclass
class _Told:
    """Says what happens, on stdout or, for `--json`, on stderr; keeps the seconds of each step."""

    screen: Screen
    json: bool

    def __post_init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        if self.json:
            self.screen.say(text)
        else:
            console().print(text, soft_wrap=True)

    def do(self, job: Job) -> dict[str, Any]:
        """Do a job, after the line that repeats it."""
        self.say(f"\n$ {command(job)}")
        begin = time.monotonic()
        result = follow(job, self.screen)
        self.seconds[job.VERB] = self.seconds.get(job.VERB, 0.0) + time.monotonic() - begin
        return result


def answer(words: Sequence[str]) -> tuple[int, dict[str, Any] | None]:
    """Walk the path, skipping what an earlier demo finished."""
    parser = Parser(
        "demo",
        "Walk the whole path on the bundled sample: new, train, infer, evaluate, climb, prototypes, refine, label, export.",
    )
    parser.add_argument(
        "--out", metavar="DIR", default="wsss_demo", help="folder of the demo (default: wsss_demo)"
    )
    parser.add_argument("--no-view", action="store_true", help="open no window and draw no screenshots")
    add_json(parser)
    found = parser.read(words)
    out = Path(found.out)
    begin = time.monotonic()
    with Screen() as screen:
        told = _Told(screen, found.json)
        result = _walk(told, out)
    result["seconds"] = {**told.seconds, "total": time.monotonic() - begin}
    told.say(f"\nDone in {span(result['seconds']['total'])}. The project is {result['project']}.")
    result["screenshots"] = None if found.no_view else _look(told, out, result["project"])
    return 0, result if found.json else None


def _walk(told: _Told, out: Path) -> dict[str, Any]:
    place = str(out / "project")
    project = _project(told, place)
    _train(told, project, Train(project=place, method="cam", run=RUN, settings=_TINY))
    told.do(Infer(project=place, run=RUN))

    sweep = told.do(Evaluate(project=place, source=RUN, sweep=True))
    told.say(f"mIoU {percent(sweep['miou'])} at the best threshold, {sweep['threshold']:g}.")
    told.say(
        f"Recall {percent(sweep['recall'])}: a plain CAM lights the telling part and misses much of the body."
    )

    _climb(told, project, place)
    # Over the maps that are there: a network without ImageNet weights needs long to find its own.
    # It stays unsure for long too, so a lower score lets an image into the bank.
    settings = {**_TINY, "maps": RUN, "neighbours": "5", "alpha": "0.3"}
    _train(told, project, Train(project=place, method="cpal", run=BANK, epochs=_EPOCHS, settings=settings))
    told.do(Prototypes(project=place, run=BANK))
    told.say(
        "The Prototypes page shows which images each image is compared with, and what that makes of its map."
    )

    rule = f"constant:{sweep['threshold']:g}"
    # Drawn toys have flat colours and no noise, which deeplab's narrow kernel suits best.
    settings = {"preset": "deeplab", "background": rule}
    told.do(Refine(project=place, refiner="crf", source=RUN, settings=settings, keep=True))
    stages = told.do(Evaluate(project=place, source=RUN, sweep=True, split="val", stages=True))["stages"]
    told.say(
        "mIoU of " + ", ".join(f"{s['name']} {percent(s['miou'])}" for s in stages) + " on the split val."
    )

    # The rule that evaluation recommends, as a person would copy it from the curve.
    told.do(Label(project=place, source=RUN, name=LABELS, background=rule))
    labels = told.do(Evaluate(project=place, labels=LABELS))
    told.say(f"mIoU of the pseudo-labels: {percent(labels['miou'])}.")
    first = told.do(Queue(project=place, source=RUN))["first"][0]
    told.say(
        f"The Correct page begins with what the run is least sure of: {first['image']}, {first['reason']}."
    )

    voc = str(out / "voc")
    told.do(Export(project=place, labels=LABELS, format="voc", out=voc, overwrite=True))
    return {
        "project": place,
        "run": RUN,
        "labels": LABELS,
        "export": voc,
        "miou": sweep["miou"],
        "recall": sweep["recall"],
        "threshold": sweep["threshold"],
        "label_miou": labels["miou"],
        "stages": {s["name"]: s["miou"] for s in stages},
    }


def _climb(told: _Told, project: Project, place: str) -> None:
    """Climb a class of the first image, and once more without the penalty from its second step."""
    stem = project.usable[0]
    cls = project.tags().present(stem)[0]
    folder = run_of(project.root, RUN).views("steps").folder / stem / "climb"
    if not traces_in(folder):
        one: dict[str, Any] = {"project": place, "run": RUN, "images": (stem,), "cls": project.classes[cls]}
        first = told.do(Climb(**one, views="steps", settings={"steps": 12, "step": 6.0, "scales": (1.0,)}))
        free = {"steps": 10, "step": 6.0, "scales": (1.0,), "lam": 0.0, "others": 0.0}
        told.do(Climb(**one, views="steps", trace=first["trace"], at=2, settings=free))
    told.say(f"The Climb page shows how the evidence for {project.classes[cls]} grows in {stem}.")


def _project(told: _Told, place: str) -> Project:
    sample = resource("sample")
    if not (Path(place) / "wsss.toml").exists():
        told.do(
            New(
                project=place,
                images=str(sample / "images"),
                tags=str(sample / "tags.csv"),
                classes=str(sample / "classes.txt"),
                truth=str(sample / "masks"),
                split=(f"train={sample / 'train.txt'}", f"val={sample / 'val.txt'}"),
            )
        )
        return open_project(place)
    project = open_project(place)
    if project.image_folder != (sample / "images").resolve():
        raise UserError(
            f"{place} is a project of other images than the bundled sample.",
            "A new folder, or that of an earlier demo, is accepted.",
            "Choose another with --out DIR.",
        )
    if any(digest(project.path(s)) != project.image(s).sha256 for s in project.usable):
        raise UserError(
            f"The bundled sample changed since {place} was made of it.",
            "A demo made with this version's sample is gone on with.",
            f"Remove {place}, or choose another folder with --out DIR.",
        )
    told.say(f"{place} is there from an earlier demo; what it finished is kept.")
    return project


def _train(told: _Told, project: Project, job: Train) -> None:
    name = str(job.run)
    if name in {run.id for run in runs_of(project.root)}:
        run = run_of(project.root, name)
        if run.status == "finished":
            told.say(f"The run {name} is trained.")
            return
        if not run.resumable:
            raise UserError(
                f"The run {name} of this demo is being trained right now.",
                "One demo at a time works in a folder.",
                "Wait for it, or choose another folder with --out DIR.",
            )
        job = replace(job, resume=True)
    told.do(job)


def _look(told: _Told, out: Path, project: str) -> str | None:
    """Open the window on the trained project, or draw it into files; return their folder."""
    try:
        check_window()
    except UserError as mistake:
        told.say(f"\nNo window opens. {mistake}")  # all that was asked for stands without it
        return None
    if has_display():
        told.say(f"\n$ wsss view {project}")
        open_window(project)
        return None
    if not can_imagine():
        told.say(
            "There is no display, so no window opens. With the Debian package xvfb, "
            "`wsss demo` writes screenshots instead; with a screen, `wsss view` opens the project."
        )
        return None
    pictures = out / "screenshots"
    told.say(f"\nThere is no display: drawing screenshots into {pictures}.")
    with imagined() as environment:
        open_window(project, options=("--screenshots", str(pictures.resolve())), environment=environment)
    drawn = sorted(p.name for p in pictures.glob("*.png"))
    told.say(f"{len(drawn)} screenshots: {', '.join(drawn)}")
    return str(pictures)
