"""Make the confident labels that affinity networks learn from, of another run's maps; one worker a core."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import confident as labels
from engine.arrays import read_npz, write_npz
from engine.confident import ConfidentParams
from engine.edits import Corrected
from engine.errors import UserError
from engine.messages import Event, Progress, Said
from engine.pace import Pace
from engine.params import as_settings, parse
from engine.results import CamStack
from engine.steps.masks import people
from engine.store import (
    Project,
    Run,
    Views,
    digest_of,
    maps_digest,
    open_once,
    read_pixels,
    read_stack,
    source_of,
    with_maps,
)
from engine.tags import UNKNOWN
from engine.workers import run_pool

__all__ = [
    "Confident",
    "HostMaps",
    "confident_of",
    "corrections",
    "label_seed",
    "make_confident",
    "seeds_of",
    "settled",
]

_FOLDER = "confident"


@dataclasses.dataclass(frozen=True)
class Confident:
    """The confident labels of a run, read by image."""

    folder: Path

    @classmethod
    def of(cls, run: Run) -> Confident:
        """Return those of a run, made or not."""
        return cls(run.folder / _FOLDER)

    def read(self, stem: str) -> NDArray[np.uint8]:
        """Return [H, W] uint8: 0 background, class + 1, 255 unsure.

        Raises:
            UserError: It is missing or damaged.
        """
        return _label(self.folder / f"{stem}.npz")


@dataclasses.dataclass(frozen=True)
class HostMaps:
    """The maps of another run that a method is given, read by image."""

    project: Project
    source: Views

    @classmethod
    def of(cls, project: Project, host: str) -> HostMaps | None:
        """Return those that `engine.method.Method.host` names, or None where it names none.

        Raises:
            UserError: There is no such run, or nothing was drawn under that name.
        """
        return cls(project, source_of(project.root, host)) if host else None

    def facts(self) -> dict[str, str]:
        """Return what says which maps they are."""
        return {"maps": str(self.source), "maps_drawn": digest_of(self.source.facts)}

    def read(self, stem: str) -> CamStack:
        """Return the maps of an image.

        Raises:
            UserError: It has none, or they are damaged.
        """
        try:
            return read_stack(self.project, self.source, stem)
        except FileNotFoundError:
            raise UserError(
                f"{self.source} has no maps of {stem}.",
                "The method needs them beside the image.",
                f"Draw them with `wsss infer {self.source.run.id}`.",
            ) from None


def confident_of(run: Run | None, stem: str) -> dict[str, NDArray[Any]]:
    """Return the confident label that a run learnt from as a field of a trace, or nothing without one."""
    path = None if run is None else Confident.of(run).folder / f"{stem}.npz"
    return {} if path is None or not path.is_file() else {"confident": _label(path)}


def seeds_of(
    project: Project, method: str, seeds: str, stems: tuple[str, ...]
) -> tuple[Views, tuple[str, ...]]:
    """Return the maps that a method learns from, and the images that have some.

    Raises:
        UserError: None are named, or there are none of these images.
    """
    if not seeds:
        raise UserError(
            f"{method} learns from the maps of another run, and none is named.",
            "Accepted: seeds=RUN or seeds=RUN/VIEWS.",
            f"For instance: `wsss train {method} --set seeds=cam`.",
        )
    source = source_of(project.root, seeds)
    return source, with_maps(source, stems)


def corrections(project: Project, which: str, stems: Sequence[str]) -> dict[str, str]:
    """Return the images of which a person's mask is learnt from -> the digest of that mask.

    Args:
        project: The project.
        which: `approved`, `all` or `none`, see `engine.walker.SeedParams`.
        stems: The images of the training.

    Raises:
        UserError: The journal or a mask is damaged: to learn from the maps instead would hide it.
    """
    found = _people(project, which)
    if found is None:
        return {}
    there = set(found.stems())
    return {stem: found.digest(stem) for stem in stems if stem in there}


def _people(project: Project, which: str) -> Corrected | None:
    if which == "none":
        return None
    return people(project, "approved" if which == "approved" else "all")


def settled(
    project: Project, source: Views, stems: Sequence[str], params: ConfidentParams
) -> ConfidentParams:
    """Return the parameters with the cuts that the maps themselves suggest where none are given."""
    counts = sum(
        (labels.score_histogram(read_stack(project, source, s).maps) for s in stems), np.zeros(256, np.int64)
    )
    return labels.settled(params, counts)


def make_confident(
    project: Project,
    run: Run,
    source: Views,
    stems: Sequence[str],
    params: ConfidentParams,
    threads: int | None,
    which: str = "none",
) -> Generator[Event, None, None]:
    """Make the labels that are not there yet; they lie in the run's folder.

    A person's mask of an image takes the place of what its maps are sure of: a person knows more,
    and leaves unsure (255) what nobody can know.

    Args:
        project, run: Where.
        source: The maps.
        stems: Images.
        params: With thresholds.
        threads: Worker processes; one a core without it.
        which: Masks of people that are learnt from, as of `corrections`.
    """
    folder = Confident.of(run).folder
    made_by = {"source": str(source), "settings": as_settings(params)}
    todo = []
    known = corrections(project, which, stems)
    masks = _people(project, which)
    for stem in stems:
        if masks is not None and stem in known:
            digest = digest_of({"corrected": known[stem]})
            if _digest(folder / f"{stem}.npz") != digest:
                folder.mkdir(exist_ok=True)
                write_npz(folder / f"{stem}.npz", {"confident": masks.read(stem)}, {"digest": digest})
            continue
        of_maps = maps_digest(source, stem, read_stack(project, source, stem))
        digest = digest_of([made_by, of_maps, project.image(stem).sha256])
        if _digest(folder / f"{stem}.npz") != digest:
            todo.append([str(project.root), str(source), run.id, stem, digest, as_settings(params)])
    from_maps = len(stems) - len(known)
    yield Said(
        text=f"Confident labels of {from_maps} images from {source}: {_words(params)}"
        + (f" ({from_maps - len(todo)} were there)." if len(todo) < from_maps else ".")
    )
    if known:
        yield Said(text=f"Of {len(known)} more the masks that people corrected are learnt from.")
    if todo:
        pace = Pace(len(todo))
        workers = min(threads or os.cpu_count() or 1, len(todo))
        pool = run_pool("engine.steps.seeds:label_seed", todo, workers=workers)
        for done, (index, why_not) in enumerate(pool, start=1):
            if why_not:
                yield Said(text=f"{todo[index][3]} teaches nothing: {why_not}", level="warning")
            yield Progress(done=done, total=len(todo), seconds_left=pace.left(done), phase="labels")


def label_seed(
    project_path: str, source: str, run_id: str, stem: str, digest: str, settings: dict[str, Any]
) -> str:
    """Make and write the confident label of one image, in a worker process; only names cross over.

    Returns:
        Why there is none, or an empty string.
    """
    project = open_once(project_path)
    stack = read_stack(project, source_of(project.root, source), stem)
    target = project.root / "runs" / run_id / _FOLDER / f"{stem}.npz"
    why_not, pixels = "", None
    if not stack.classes and (project.tags().row(stem) == UNKNOWN).any():
        why_not = "it has no map, and tags that are not known, so nothing in it is surely background"
    else:
        try:
            pixels = read_pixels(project, stem)
        except UserError as error:
            why_not = error.found
    if pixels is None:
        label = np.full(stack.size, 255, np.uint8)
    else:
        params = parse(ConfidentParams, settings)
        label, _, _ = labels.confident(pixels, stack.full(), stack.classes, params)
    target.parent.mkdir(exist_ok=True)
    write_npz(target, {"confident": label}, {"digest": digest})
    return why_not


def _words(params: ConfidentParams) -> str:
    cuts = [f"{rule.background} {rule.value:.3g}" for rule in params.rules()]
    return f"a class above {cuts[0]}, background below {cuts[1]}"


def _label(path: Path) -> NDArray[np.uint8]:
    try:
        arrays, _ = read_npz(path)
        label = arrays["confident"]
        if label.ndim != 2 or label.dtype != np.uint8:
            raise KeyError("confident")
        return label
    except (FileNotFoundError, KeyError):
        raise UserError(
            f"{path} holds no confident label.",
            "`wsss train` makes it.",
            "Resume the training; it makes what is missing.",
        ) from None


def _digest(path: Path) -> str:
    try:
        return str(read_npz(path)[1].get("digest"))
    except (FileNotFoundError, UserError):
        return ""
