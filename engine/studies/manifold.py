"""Figure 16: the way of a climb among the features of images of two classes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.class_maps import Shot
from engine.errors import UserError
from engine.messages import Event
from engine.params import Spec
from engine.results import Figure, Panel, Series
from engine.store import Project
from engine.studies._climbs import climbed, picture_of
from engine.studies._subject import Subject, each_image, figure, named_class

__all__ = ["Settings", "choose", "principal", "run"]

TITLE = "Climbs among the features"
SENTENCE = "Draws the way of one climb each of two classes among the features of images of these classes."
SOURCE = "figure 16"
NEEDS_TRUTH = False
COUNT = 200
CLIMBS = 0
LOOKS = 1
DEFAULTS: dict[str, Any] = {"steps": 20}

Floats = NDArray[np.float64]
_LEAST = 3


@dataclass(frozen=True)
class Settings:
    """What is drawn and how it is brought to a plane."""

    first: Annotated[
        str, Spec("Name of the first class; empty: the most frequent among images of one class.", main=True)
    ] = ""
    second: Annotated[str, Spec("Name of the second class; empty: the next most frequent.", main=True)] = ""
    perplexity: Annotated[
        float,
        Spec("How many neighbours t-SNE keeps together; at most a third of the points.", low=1, high=500),
    ] = 30.0
    fit: Annotated[
        Literal["images", "all"],
        Spec(
            "What PCA is fitted on: the images alone, so that the climbs are only projected, or the climbs too.",
            main=True,
        ),
    ] = "images"
    recognised: Annotated[
        bool, Spec("Leave out images whose class is not the one with the highest score, as the paper does.")
    ] = True


def choose(project: Project, stems: Sequence[str], own: Settings) -> list[str]:
    """Return the images of which one of the two classes is the only tag."""
    pair = _pair(project, stems, own)
    tags = project.tags()
    chosen = [s for s in stems if (tags.row(s) == 1).sum() == 1 and any(tags.row(s)[c] == 1 for c in pair)]
    for c in pair:
        _enough(project, c, sum(int(tags.row(s)[c] == 1) for s in chosen))
    return chosen


def run(subject: Subject) -> Generator[Event, None, Figure]:
    """Collect the features, climb from the image of each class that lies nearest to its mean, and draw both."""
    own, project = subject.own, subject.project
    pair = _pair(project, subject.stems, own)
    names = [project.classes[c] for c in pair]
    features: dict[int, list[Floats]] = {c: [] for c in pair}
    stems: dict[int, list[str]] = {c: [] for c in pair}

    def look(shot: Shot) -> None:
        found = subject.net.features(picture_of(subject, shot))  # [1, D, h, w]
        cls = next(c for c in pair if shot.tags[c] == 1)
        if own.recognised and int(subject.net.scores(found)[0].argmax()) != cls:
            return
        features[cls].append(found.mean((2, 3))[0].double().cpu().numpy())
        stems[cls].append(shot.stem)

    yield from each_image(subject, look)
    for c in pair:
        _enough(project, c, len(features[c]), recognised=own.recognised)
    # "Representative" is not defined in the paper: the image nearest to the mean of its class.
    chosen = {c: stems[c][_middle(np.stack(features[c]))] for c in pair}
    ways = {c: _way(subject, chosen[c], c) for c in pair}
    images = np.concatenate([np.stack(features[c]) for c in pair])  # [n, D]
    climbs = np.concatenate([ways[c][0] for c in pair])  # [2 * (T + 1), D]
    both = np.concatenate([images, climbs])
    planes = {
        "t-SNE": _tsne(both, own.perplexity, subject.seed),
        "PCA": principal(images if own.fit == "images" else both, both),
    }
    steps = len(ways[pair[0]][0])
    rows: dict[str, list[Any]] = {"class": [], "kind": [], "image": [], "step": []}
    for c in pair:
        for stem in stems[c]:
            _row(rows, project.classes[c], "image", stem, 0)
    for c in pair:
        for t in range(steps):
            _row(rows, project.classes[c], "climb", chosen[c], t)
    for name, found in planes.items():
        rows |= {f"{name} x": found[:, 0].tolist(), f"{name} y": found[:, 1].tolist()}
    owners = [c for c in pair for _ in features[c]]
    headline: dict[str, Any] = {}
    for c in pair:
        way, margins = ways[c]
        own_side = [owners[int(np.linalg.norm(images - f, axis=1).argmin())] == c for f in way]
        word = project.classes[c].replace(" ", "_")
        headline |= {
            f"climbed_{word}": chosen[c],
            f"margin_first_{word}": float(margins[0]),
            f"margin_last_{word}": float(margins[-1]),
            f"nearest_of_own_class_{word}": float(np.mean(own_side)),
        }
    fitted = "the images alone and applied to both" if own.fit == "images" else "images and climbs together"
    return figure(
        subject,
        f"Mean features of images whose only tag is {names[0]} or {names[1]}"
        f"{' and whose class has the highest score' if own.recognised else ''}, and of the {steps - 1} steps climbed "
        f"from the image of each class that is nearest to its mean. Left: t-SNE of images and climbs together "
        f"(perplexity {_perplexity(both, own.perplexity):.3g}); it has no projection of its own, so distances between "
        f"groups say little. Right: PCA fitted on {fitted}.",
        [
            _panel(
                name, found, pair, names, [len(features[c]) for c in pair], [stems[c] for c in pair], steps
            )
            for name, found in planes.items()
        ],
        rows,
        [s for c in pair for s in stems[c]],
        headline,
        "climbing moves the features away from the border between the classes and stays on the manifold of their "
        "class even after 20 steps.",
    )


def principal(fit: Floats, points: Floats) -> Floats:
    """Return points [n, D] on the two first principal axes of `fit` [m, D], [n, 2] float64.

    The sign of an axis is chosen so that its greatest component is positive, or two machines could
    draw each other's mirror images.
    """
    mean = fit.mean(0)
    _, _, axes = np.linalg.svd(fit - mean, full_matrices=False)
    axes = axes[:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    found = (points - mean) @ (axes * signs[:, None]).T  # [n, 2]
    return np.asarray(found if found.shape[1] == 2 else np.pad(found, ((0, 0), (0, 1))), np.float64)


def _way(subject: Subject, stem: str, cls: int) -> tuple[Floats, Floats]:
    """Return features [T + 1, D] and score of the class less the best other one [T + 1] along a climb."""
    shot = Shot(stem, subject.project.read(stem).pixels, subject.project.tags().row(stem))
    features, margins = [], []
    for step in climbed(subject, shot, [cls], subject.climbing):
        features.append(step.features[0].double().cpu().numpy())
        scores = step.scores[0].double().cpu().numpy()
        margins.append(scores[cls] - np.delete(scores, cls).max())
    return np.stack(features), np.array(margins)


def _pair(project: Project, stems: Sequence[str], own: Settings) -> tuple[int, int]:
    """Return the two classes: those named, or the most frequent among images with one tag."""
    tags = project.tags()
    alone = np.zeros(len(project.classes), np.int64)
    for stem in stems:
        row = tags.row(stem) == 1
        if row.sum() == 1:
            alone[int(row.argmax())] += 1
    order = [int(c) for c in np.argsort(-alone, kind="stable")]
    named = [named_class(project, name) if name else None for name in (own.first, own.second)]
    left = [c for c in order if c not in named]
    pair = [c if c is not None else (left.pop(0) if left else -1) for c in named]
    if pair[0] == pair[1] or -1 in pair:
        raise UserError(
            "The two classes are the same." if -1 not in pair else "The project has a single class.",
            "Two different classes.",
            "Name others by first and second.",
        )
    return pair[0], pair[1]


def _enough(project: Project, cls: int, count: int, *, recognised: bool = False) -> None:
    if count < _LEAST:
        which = " and that the network recognises" if recognised else ""
        raise UserError(
            f"There are {count} images whose only tag is {project.classes[cls]}{which}.",
            f"At least {_LEAST} of each of the two classes.",
            "Name other classes by first and second, raise --count, or choose another split"
            + (", or set recognised=false." if recognised else "."),
        )


def _middle(features: Floats) -> int:
    return int(np.linalg.norm(features - features.mean(0), axis=1).argmin())


def _perplexity(points: Floats, wanted: float) -> float:
    return min(wanted, (len(points) - 1) / 3)


def _tsne(points: Floats, perplexity: float, seed: int) -> Floats:
    """Return t-SNE of points [n, D], [n, 2]: van der Maaten and Hinton (2008), started from PCA."""
    from sklearn.manifold import TSNE  # a second to import, which nobody else should wait for

    start = principal(points, points)
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    # One thread: sums in another order would draw another picture.
    made = TSNE(2, perplexity=_perplexity(points, perplexity), init=start, random_state=seed, n_jobs=1)
    return np.asarray(made.fit_transform(points), np.float64)


def _row(rows: dict[str, list[Any]], cls: str, kind: str, image: str, step: int) -> None:
    for key, value in (("class", cls), ("kind", kind), ("image", image), ("step", step)):
        rows[key].append(value)


def _panel(
    name: str,
    points: Floats,
    pair: tuple[int, int],
    names: Sequence[str],
    counts: Sequence[int],
    stems: Sequence[Sequence[str]],
    steps: int,
) -> Panel:
    series, at = [], 0
    for c, word, count, images in zip(pair, names, counts, stems, strict=True):
        part = points[at : at + count]
        series.append(
            Series(word, tuple(part[:, 0].tolist()), tuple(part[:, 1].tolist()), cls=c, labels=tuple(images))
        )
        at += count
    marks = []
    for c, word in zip(pair, names, strict=True):
        part = points[at : at + steps]
        labels = tuple(f"t = {t}" for t in range(steps))
        xs, ys = tuple(part[:, 0].tolist()), tuple(part[:, 1].tolist())
        series.append(Series(f"climb of {word}", xs, ys, cls=c, labels=labels, joined=True))
        marks.append((xs[-1], ys[-1], f"{word}, t = {steps - 1}"))
        at += steps
    return Panel(
        title=name,
        kind="points",
        x_label="first axis",
        y_label="second axis",
        series=tuple(series),
        marks=tuple(marks),
    )
