"""What the simulated person is given: classes of images with truth, a start mask and the engine's maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.annotator.moves import Case
from engine.errors import UserError
from engine.images import read, read_mask
from engine.resources import resource
from engine.store import (
    LabelSet,
    Project,
    Views,
    label_set,
    label_sets,
    read_pixels,
    read_stack,
    runs_of,
    source_of,
)
from engine.store.truth import has_truth, read_truth

__all__ = ["drawn_cases", "drawn_stems", "newest_labels", "project_cases", "project_stems"]

# Fewer pixels of a class are a label's noise and nobody's object.
_SMALLEST = 100
# How far off a drawn pseudo-label is, px: about what maps of stride 4 to 8 are.
_BLUR, _SHIFT = 4.0, 5
# Maps of one class, and labels beside their own, that a person looks at before taking one.
_SOURCES = 3
_OTHERS = 2


def newest_labels(project: Project) -> LabelSet:
    """Return the labels that were made last.

    Raises:
        UserError: There are none.
    """
    made = [(s.folder.stat().st_mtime, s) for s in label_sets(project.root, project.colours) if s.stems()]
    if not made:
        raise UserError(
            f"The project {project.name} has no labels to correct.",
            "Labels of images with truth are corrected by the simulated person.",
            "Make them with `wsss label`.",
        )
    return max(made, key=lambda pair: pair[0])[1]


def project_stems(project: Project, labels: LabelSet, count: int) -> list[str]:
    """Return images that have labels and truth, chosen evenly: of the split val where there is one.

    Raises:
        UserError: There are none.
    """
    stems = project.splits.get("val") or project.usable
    there = set(labels.stems())
    found = [s for s in stems if s in there and has_truth(project, s)]
    if not found:
        raise UserError(
            f"None of the labels '{labels.name}' has truth to be measured against.",
            "Labels of the split val, or of all images where there is no such split.",
            "Make them with `wsss label`, or make the project with --truth.",
        )
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))]


def project_cases(project: Project, name: str, stem: str) -> list[Case]:
    """Return the cases of one image: each class of its truth.

    Args:
        project: The project.
        name: The labels that the person is shown.
        stem: The image.
    """
    labels, truth = label_set(project.root, project.colours, name), read_truth(project, stem)
    assert truth is not None
    start, photo = labels.read(stem), read_pixels(project, stem)
    others = _others(project, labels, stem)
    maps: dict[int, list[NDArray[np.float32]]] = {}
    for views in _sources(project, labels, stem):
        stack = read_stack(project, views, stem)
        for c, scores in zip(stack.classes, stack.full(), strict=True):
            maps.setdefault(c + 1, []).append(scores)
    return [
        Case(stem, photo, start, truth, value, np.stack(maps[value]) if value in maps else None, others)
        for value in _values(truth)
    ]


def _others(project: Project, labels: LabelSet, stem: str) -> NDArray[np.uint8] | None:
    """Return the masks of an image in other label sets, the newest first, [m, H, W]; None without any."""
    there = [
        s for s in label_sets(project.root, project.colours) if s.name != labels.name and stem in s.stems()
    ]
    there.sort(key=lambda s: -s.path(stem).stat().st_mtime)
    return np.stack([s.read(stem) for s in there[:_OTHERS]]) if there else None


def _sources(project: Project, labels: LabelSet, stem: str) -> list[Views]:
    """Return the maps a person can take regions of an image from: the labels' own first, others by age."""
    own = labels.facts.get("source")
    first = source_of(project.root, own).folder if isinstance(own, str) else None
    there = [v for run in runs_of(project.root) for v in run.all_views() if v.path(stem).is_file()]
    there.sort(key=lambda v: (v.folder != first, -v.path(stem).stat().st_mtime))
    return there[:_SOURCES]


def drawn_stems(count: int) -> list[str]:
    """Return images of the bundled sample, chosen evenly."""
    found = sorted(path.stem for path in (resource("sample") / "images").glob("*.png"))
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))]


def drawn_cases(stem: str) -> list[Case]:
    """Return the cases of one image of the bundled sample; blurred and displaced truth stands for maps."""
    folder = resource("sample")
    photo = read(folder / "images" / f"{stem}.png").pixels
    truth = read_mask(folder / "masks" / f"{stem}.png")
    hand = np.random.default_rng(sum(stem.encode()))
    start, maps = np.zeros(truth.shape, np.uint8), {}
    for value in _values(truth):
        shift = hand.integers(-_SHIFT, _SHIFT + 1, 2)
        moved = ndimage.shift((truth == value).astype(np.float32), shift, order=0)
        heat = ndimage.gaussian_filter(moved, _BLUR)
        maps[value] = np.asarray(heat / max(float(heat.max()), 1e-6), np.float32)
        start[maps[value] > 0.3] = value
    return [Case(stem, photo, start, truth, value, maps[value][None]) for value in _values(truth)]


def _values(truth: NDArray[np.uint8]) -> list[int]:
    counts = np.bincount(truth.reshape(-1), minlength=256)
    return [int(v) for v in np.flatnonzero(counts[1:255] >= _SMALLEST) + 1]
