"""What a study looks at: a run, images, settings; the loop over the images, and the words of a caption."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.class_maps import Shot
from engine.climb_settings import ClimbSettings
from engine.errors import UserError, nearest
from engine.messages import Event, Progress, Said
from engine.method import ClassifierMethod
from engine.nets.classifier import Classifier
from engine.pace import Pace
from engine.params import as_settings, text_of
from engine.results import Figure, Panel
from engine.store import Project, Run, file_digest, read_pixels
from engine.work import never

__all__ = ["Subject", "each_image", "figure", "named_class", "named_image", "nothing_climbed", "tagged"]


@dataclass(frozen=True)
class Subject:
    """The run, the images and the settings that a study looks at.

    Attributes:
        study: Name of the study.
        title, source: Its title, and what of the paper it repeats.
        project, run: Where, and whose network.
        split: Where the images were chosen from.
        stems: The images.
        method, net: The run's method and its classifier, in eval mode, on the device to be used.
        climbing: How pictures are climbed.
        own: The study's own settings.
        seed: Of every random number.
        stop: Asked between two steps of a climb.
        asked: The command line that repeats the study.
        notes: Sentences for the person, told after the image that they were found in.
    """

    study: str
    title: str
    source: str
    project: Project
    run: Run
    split: str
    stems: tuple[str, ...]
    method: ClassifierMethod[Any, Any]
    net: Classifier
    climbing: ClimbSettings
    own: Any
    seed: int = 0
    stop: Callable[[], bool] = never
    asked: str = ""
    notes: list[str] = field(default_factory=list)


def each_image(
    subject: Subject, look: Callable[[Shot], None], stems: Sequence[str] | None = None
) -> Generator[Event, None, list[str]]:
    """Call `look` with one image after the other, and tell how far it is.

    Returns:
        The images that were looked at; unreadable ones are passed over and told.

    Raises:
        UserError: None of them could be read.
    """
    project, tags = subject.project, subject.project.tags()
    chosen = subject.stems if stems is None else stems
    seen: list[str] = []
    pace = Pace(len(chosen))
    yield Progress(done=0, total=len(chosen), phase="images")
    for done, stem in enumerate(chosen, start=1):
        try:
            pixels = read_pixels(project, stem)
        except UserError as error:
            yield Said(text=f"{stem} was passed over: {error.found}", level="warning")
        else:
            look(Shot(stem, pixels, tags.row(stem)))
            seen.append(stem)
        while subject.notes:
            yield Said(text=subject.notes.pop(0), level="warning")
        yield Progress(done=done, total=len(chosen), seconds_left=pace.left(done), phase="images")
    if not seen:
        raise UserError(
            "None of the images can be read.", "", "Look at the warnings above; relink the folder."
        )
    return seen


def tagged(project: Project, stems: Sequence[str]) -> list[str]:
    """Return the images with a present tag."""
    tags = project.tags()
    return [s for s in stems if (tags.row(s) == 1).any()]


def named_image(project: Project, stem: str, stems: Sequence[str]) -> list[str]:
    """Return the images, or only the one that a setting `image` names.

    Raises:
        UserError: There is no such image.
    """
    return [project.image(stem).stem] if stem else list(stems)


def named_class(project: Project, name: str) -> int:
    """Return the index of a class.

    Raises:
        UserError: There is no such class.
    """
    if name not in project.classes:
        raise UserError(
            f"The project has no class '{name}'.",
            f"Classes: {', '.join(project.classes)}.",
            nearest(name, project.classes),
        )
    return project.classes.index(name)


def nothing_climbed() -> UserError:
    """Return the error of images that have no class to climb."""
    return UserError(
        "These images have no class to climb.",
        "Images with a tag, or classes = predicted or all.",
        "Choose another image or split.",
    )


def figure(
    subject: Subject,
    caption: str,
    panels: Sequence[Panel],
    rows: dict[str, list[Any]],
    images: Sequence[str],
    headline: dict[str, Any],
    expects: str,
    *,
    climbs: bool = True,
) -> Figure:
    """Return the figure of a study, its caption completed by how it was measured and what the paper found.

    Args:
        subject: What was looked at.
        caption: What is drawn, in sentences.
        panels, rows: As of `Figure`.
        images: The images that were looked at.
        headline: Name -> number or text: what the study says in short.
        expects: What the paper found, in a sentence.
        climbs: Whether pictures were climbed, so that the settings of the climb are worth telling.
    """
    c = subject.climbing
    scales = ", ".join(f"{s:g}" for s in c.scales)
    count = f"{len(images)} image{'s' if len(images) != 1 else ''} of {_split(subject.split)}"
    size = (
        f"{c.step:g} grey levels" if c.gradient == "linf" else f"{c.step:g} grey levels per unit of gradient"
    )
    how = (
        f"up to {c.steps} steps of {size}, lambda {c.lam:g}, tau {c.tau:g}, other classes x {c.others:g}, "
        f"scale {scales}, {'with' if c.flip else 'without'} mirror image, "
    )
    measured = (
        f"Measured on {count} with the run {subject.run.id}: {how if climbs else ''}seed {subject.seed}."
    )
    facts = {
        "run": subject.run.id,
        "method": subject.run.method,
        "weights": file_digest(subject.run.weights),
        "project": subject.project.name,
        "split": subject.split,
        "images": list(images),
        "climb": as_settings(c),
        "settings": as_settings(subject.own) if subject.own is not None else {},
        "seed": subject.seed,
        "device": str(next(subject.net.parameters()).device),
        "source": f"Lee et al., AdvCAM (TPAMI 2022), {subject.source}",
        "command": subject.asked,
        "headline": headline,
    }
    return Figure(
        study=subject.study,
        title=subject.title,
        caption=f"{caption} {measured} The paper ({subject.source}): {expects}",
        panels=tuple(panels),
        rows=rows,
        facts=facts,
    )


def _split(split: str) -> str:
    return "all images" if split == "all" else f"the split {text_of(split)}"
