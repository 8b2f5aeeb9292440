"""Write a climb as a film, a strip of pictures, or arrays."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from engine import film
from engine.errors import UserError
from engine.messages import Event, Film, Progress, Said
from engine.pace import Pace
from engine.results import ClimbPath, ClimbTrace, path_to, traces_in
from engine.store import Project, open_project, source_of
from engine.work import Work

__all__ = ["run"]

_MOST_FPS = 120


def run(job: Film, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Write the film; a stop leaves no file.

    Returns:
        `out`, `frames` (steps that are shown), and `seconds` that the film lasts, 0 for stills.

    Raises:
        UserError: There is no such climb, or the file cannot be written there.
    """
    project = open_project(job.project)
    out = Path(job.out).expanduser().resolve()
    ending = film.check_ending(out)
    _check_place(project, out, overwrite=job.overwrite)
    if not 1 <= job.fps <= _MOST_FPS:
        raise UserError(
            f"--fps {job.fps} is out of its limits.",
            f"1 to {_MOST_FPS} pictures a second.",
            "6 suit most climbs.",
        )
    path = _path(project, job)
    photograph = project.read(job.image).pixels
    if photograph.shape[:2] != path.leaf.size:
        raise UserError(
            f"The size of {job.image} changed since it was climbed.",
            f"The climb was made for {path.leaf.size[1]} x {path.leaf.size[0]} px.",
            "Climb again.",
        )
    reel = film.Reel(path, photograph, project.classes[path.leaf.cls])
    for text in film.notes(reel, ending, job.fps):
        yield Said(text=text)
    total = len(reel.steps_in(ending))
    pace = Pace(total)
    yield Progress(done=0, total=total, phase="frames")
    for done in film.write(reel, out, job.fps, job.threads or 0):
        yield Progress(done=done, total=total, seconds_left=pace.left(done), phase="frames")
    seconds = total / job.fps if ending in (".gif", ".mp4") else 0.0
    return {"out": str(out), "frames": total, "seconds": seconds}


def _path(project: Project, job: Film) -> ClimbPath:
    image = project.image(job.image)
    views = source_of(project.root, job.source)
    path = path_to(traces_in(views.folder / job.image / ClimbTrace.KIND), job.trace)
    leaf = path.leaf
    if (
        leaf.image != job.image
        or leaf.size != (image.height, image.width)
        or leaf.cls >= len(project.classes)
    ):
        raise UserError(
            f"The climb '{job.trace}' in {views} was made for class {leaf.cls} of {leaf.image}, "
            f"{leaf.size[1]} x {leaf.size[0]} px.",
            f"{job.image} has {image.width} x {image.height} px and {len(project.classes)} classes.",
            "Climb again.",
        )
    if path.last < 0:
        raise UserError(
            f"The climb '{job.trace}' has no step yet.",
            "At least one step is shown.",
            "Wait, or climb again.",
        )
    return path


def _check_place(project: Project, out: Path, *, overwrite: bool) -> None:
    exports = project.root / "exports"
    # An overwritten map or photograph would be lost, and a new picture among the images would pass for one.
    for folder, what in ((project.root, "the project"), (project.image_folder, "the image folder")):
        if out.is_relative_to(folder) and not out.is_relative_to(exports):
            raise UserError(
                f"{out} lies in {what}.",
                f"In the project, files go to {exports}; elsewhere, anywhere.",
                "Choose another --out.",
            )
    if out.is_dir():
        raise UserError(f"{out} is a folder.", "The name of a file is accepted.", "Choose another --out.")
    if out.exists() and not overwrite:
        raise UserError(
            f"{out} exists already.", "A file that does not exist yet.", "Choose another, or add --overwrite."
        )
