"""Run one of the studies on a split and keep its figure beside the run."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.messages import Event, Said, Study, command
from engine.method import ClassifierMethod
from engine.nets.classifier import Classifier
from engine.saliency import check_folder
from engine.steps.infer import load_network
from engine.store import Project, open_project, run_of
from engine.studies import StudyFile, Subject, study_named
from engine.train.fabric import start_fabric
from engine.work import Work

__all__ = ["evenly", "run"]


def run(job: Study, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Study; the figure lies in `runs/<run>/studies/<study>.json`, its data beside it as CSV.

    Raises:
        UserError: There is no such study, the run has no classifier, a setting is wrong, or the
            study needs truth masks and there are none.
    """
    study = study_named(job.study)
    own, climbing = study.parse(job.settings)
    if climbing.saliency:
        check_folder(Path(climbing.saliency))
    project = open_project(job.project)
    chosen = run_of(project.root, job.run)
    if job.devices > 1 or job.nodes > 1:
        raise UserError(
            f"{job.devices * job.nodes} processes were asked for.",
            "A study runs in one process on one device.",
            "Leave --devices and --nodes away.",
        )
    stems = _candidates(study, project, job, own)
    count = study.count if job.count is None else job.count
    looked_at = evenly(stems, count)
    fabric = start_fabric(job)
    method, net = load_network(project, chosen, desk, fabric.device)
    if not isinstance(method, ClassifierMethod) or not isinstance(net, Classifier):
        raise UserError(
            f"The run {chosen.id} ({chosen.method}) has no classifier to climb on.",
            "Runs of methods that train an image classifier, such as cam.",
            "Choose another run; `wsss status` lists them.",
        )
    net.requires_grad_(False)
    if len(looked_at) < len(stems):
        more = "" if job.count else " --count N takes more."
        yield Said(text=f"{len(looked_at)} of {len(stems)} images are looked at, chosen evenly.{more}")
    began = time.monotonic()
    figure = yield from study.run(
        Subject(
            study=study.name,
            title=study.title,
            source=study.source,
            project=project,
            run=chosen,
            split=job.split,
            stems=tuple(looked_at),
            method=method,
            net=net,
            climbing=climbing,
            own=own,
            seed=job.seed,
            stop=desk.stop,
            asked=command(job),
        )
    )
    folder = chosen.folder / "studies"
    figure.save(folder)
    place = (folder / f"{study.name}.json").relative_to(project.root)
    return {
        "study": study.name,
        "run": chosen.id,
        "images": len(figure.facts["images"]),
        "figure": place.as_posix(),
        "csv": place.with_suffix(".csv").as_posix(),
        "seconds": time.monotonic() - began,
        **figure.facts["headline"],
    }


def evenly(stems: Sequence[str], count: int) -> list[str]:
    """Return `count` of the stems at even distances, the middle one for one; all when there are no more."""
    total = len(stems)
    if count >= total:
        return list(stems)
    return [stems[(2 * k + 1) * total // (2 * count)] for k in range(count)]


def _candidates(study: StudyFile, project: Project, job: Study, own: Any) -> list[str]:
    """Return the images that the study can look at."""
    if study.needs_truth and project.truth_place is None:
        raise UserError(
            f"The study '{study.name}' measures against truth masks, and the project {project.name} has none.",
            "A project made with --truth.",
            "Make the project again with --truth, or choose a study that needs none, such as amplification.",
        )
    stems = study.choose(project, project.stems(job.split), own)
    if not stems:
        lack = "a truth mask" if study.needs_truth else "a tag that is present"
        raise UserError(
            f"None of these images has {lack}, and '{study.name}' looks at nothing else.",
            f"Found in {project.truth_place.folder}: <image>.png."
            if study.needs_truth and project.truth_place
            else "",
            "Choose another split; `wsss status` lists them.",
        )
    return stems
