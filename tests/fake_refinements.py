"""Drawn refinements: maps, boxes with and without stages, fields, instances, written as the engine writes them.

Run with `runpy` by the tests that need refinements and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.affinity import offsets
from engine.atomic import write_json
from engine.results import CamStack, InstanceSet, RefineTrace
from engine.store import Project, Run, new_run

GRID = (12, 16)
CELL, ORIGIN = 4.0, 0.0


def size_of(project: Project, image: str) -> tuple[int, int]:
    facts = project.image(image)
    return facts.height, facts.width


def heat(grid: tuple[int, int], wide: float, k: int = 0) -> np.ndarray:
    """Return a blob [h, w] in [0, 1]; each class has its own place."""
    h, w = grid
    y, x = np.mgrid[:h, :w]
    middle = (h * 0.45, w * (0.3 + 0.4 * (k % 2)))
    return np.exp(-(((y - middle[0]) / (h * wide)) ** 2 + ((x - middle[1]) / (w * wide)) ** 2))


def stack_of(
    project: Project,
    image: str,
    *,
    wide: float = 0.2,
    background: bool = False,
    grid: tuple[int, int] = GRID,
    cell: float = CELL,
) -> CamStack:
    """Return the maps of the classes tagged in an image."""
    classes = tuple(project.tags().present(image))
    maps = np.stack([heat(grid, wide, k) for k in range(len(classes))]) if classes else np.zeros((0, *grid))
    behind = (1 - maps.max(0, initial=0)).astype(np.float16) if background else None
    return CamStack(
        image=image,
        size=size_of(project, image),
        classes=classes,
        maps=maps.astype(np.float16),
        peaks=np.ones(len(classes), np.float32),
        cell=cell,
        origin=ORIGIN,
        scores=np.full(len(project.classes), 0.5, np.float32),
        background=behind,
    )


def seeds(project: Project, run: str = "cam", images: Sequence[str] | None = None, **how: Any) -> Run:
    """Write a trained run with maps."""
    made = new_run(project.root, run, run, {"method": "cam", "params": {"backbone": "tiny_cnn"}})
    made.weights.write_bytes(b"0")
    made.end("finished")
    views = made.views()
    for image in project.usable if images is None else images:
        stack_of(project, image, **how).save(views.path(image))
    write_json(
        views.folder / "views.json", {"method": "cam", "settings": {}, "kinds": ["cams"], "run": made.id}
    )
    return made


def network(project: Project, method: str, run: str | None = None) -> Run:
    """Write a trained affinity network."""
    made = new_run(
        project.root,
        run or method,
        method,
        {"method": method, "refines": True, "params": {"backbone": "tiny_cnn"}},
    )
    made.weights.write_bytes(b"0")
    made.end("finished")
    return made


def trace_of(
    project: Project,
    image: str,
    refiner: str,
    *,
    at: Sequence[int] | None = None,
    grid: tuple[int, int] = GRID,
    cell: float = CELL,
) -> RefineTrace:
    """Return stages of a blob that widens, with the fields that such a refiner keeps."""
    walks = refiner in ("psa", "irn")
    at = tuple(at or ((0, 1, 2, 4, 8, 16, 32, 64, 128, 256) if walks else range(6)))
    h, w = grid
    stages = []
    for n in range(len(at)):
        stack = stack_of(project, image, wide=0.15 + 0.02 * n, background=True, grid=grid)
        assert stack.background is not None
        stages.append(np.concatenate([stack.background[None], stack.maps]))
    y, x = np.mgrid[:h, :w].astype(np.float32)
    fields: dict[str, Any] = {}
    if refiner == "irn":
        ring = np.hypot((y - h * 0.45) / h, (x - w * 0.5) / w)
        fields["edge"] = np.exp(-(((ring - 0.3) / 0.05) ** 2)).astype(np.float16)
        fields["displacement"] = np.stack([h * 0.45 - y, w * 0.5 - x]).astype(np.float16)
    if refiner == "psa":
        fields["affinity"] = np.full((len(offsets(5)), h, w), 0.75, np.float16)
    if walks:
        confident = np.full(size_of(project, image), 255, np.uint8)
        confident[: confident.shape[0] // 4] = 0
        for cls in project.tags().present(image)[:1]:
            confident[-confident.shape[0] // 4 :] = cls + 1
        fields["confident"] = confident
    return RefineTrace(
        image=image,
        size=size_of(project, image),
        classes=tuple(project.tags().present(image)),
        refiner=refiner,
        at=at,
        stages=np.stack(stages).astype(np.float16),
        cell=cell,
        origin=ORIGIN,
        energy=np.linspace(100, 60, len(at)) if refiner == "crf" else None,
        fields=fields,
        radius=5 if walks else 0,
        facts={"beta": 10.0} if walks else {},
    )


def instances_of(project: Project, image: str) -> InstanceSet:
    """Return two instances, left and right."""
    height, width = size_of(project, image)
    ids = np.zeros((height, width), np.uint16)
    ids[height // 4 : height // 2, 2 : width // 3] = 1
    ids[height // 4 : height // 2, width // 2 : -2] = 2
    classes = (project.tags().present(image) or (0,))[:1] * 2
    return InstanceSet(image, ids, np.array(classes, np.int32), np.array([0.9, 0.4], np.float32))


def box(
    project: Project,
    source: str,
    refiner: str,
    *,
    run: str | None = None,
    images: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    instances: bool = False,
    network: str | None = None,
    settings: dict[str, Any] | None = None,
    wide: float = 0.3,
    **how: Any,
) -> Run:
    """Write a refinement of RUN/VIEWS.

    Args:
        project: Where.
        source: RUN/VIEWS.
        refiner: What made it.
        run: Its id.
        images: Those it holds; None for all.
        keep: Those whose stages it holds.
        instances: Whether these hold instances too.
        network: Run of its network.
        settings: All of them.
        wide: How far the blobs reach.
        **how: Of `stack_of` and `trace_of`: `grid`, `cell`.
    """
    wanted = f"{source.partition('/')[0]}-{refiner}"
    made = new_run(
        project.root,
        run,
        wanted,
        {"method": refiner, "refiner": refiner, "source": source, "status": "finished"},
    )
    views = made.views()
    for image in project.usable if images is None else images:
        stack_of(project, image, wide=wide, background=True, **how).save(views.path(image))
        if image in keep:
            trace_of(project, image, refiner, **how).save(views.path(image, "refine"))
            if instances:
                instances_of(project, image).save(views.path(image, "instances"))
    write_json(
        views.folder / "views.json",
        {
            "method": refiner,
            "settings": {**(settings or {}), **({"network": network} if network else {})},
            "network": network,
            "source": source,
            "kinds": ["cams"],
            "run": made.id,
        },
    )
    return made
