"""Whether CPAL's neighbours are of an image's own sort, on the bundled sample with two sorts in each class, and how well its map ranks pixels beside that of the class's mean.

The classes are the three cloths of the sample, their sub-types the two kinds of toy that wear each
(`objects.csv` knows which image shows which). Images with both kinds of one cloth are in no split, so an
image of a class is of one sort. A tiny network learns from random weights, in two ways:

    own settings     the method as it is, made for a network that knows photographs
    light hand       three neighbours, a loss that is small and moves the classifier's map alone (weight =
                     0.05, detach): at full weight both maps come to agree on the background; and a bank of the
                     newest 200 rows, each a prototype of its own: older ones tell of a network that is no more

Every figure is a mean over pairs of an image and a class it shows:

    purity           share of the bank's rows behind the K neighbours that come from images of the same
                     sort; rows of the image itself do not count
    chance           the same over all rows of the class: what neighbours drawn blindly would have
    auc_aware        area under the ROC curve of the prototype-aware map over the pixels, void left out
    auc_mean         the same for the cosine to the mean of the class's rows, features shifted alike
    auc_plain        the same for the classifier's own map

at scale 1, without the mirror image. Held-out images first, those of the training under `train`.
`--rounds N` trains N / 5 times in each way, with other random numbers each.
"""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

import engine
from engine.atomic import write_text
from engine.bench import ROUNDS
from engine.images import read_mask
from engine.messages import New, Prototypes, Train
from engine.passage import Choice, pass_through
from engine.resources import resource
from engine.results import PrototypeBank, PrototypeView, enlarge, image_key
from engine.store import open_project, run_of

__all__ = ["Compared", "Sample", "Sorts", "bench", "compare", "measured", "ranked", "read_sample", "trained"]

# (image, 0-based class) -> name of the sub-type that the image shows of the class.
Sorts = Mapping[tuple[str, int], str]

_FIGURES = ("purity", "chance", "auc_aware", "auc_mean", "auc_plain")
_SPLITS = ("val", "train")
_WAYS: dict[str, dict[str, Any]] = {
    "own settings": {},
    "light hand": {"weight": 0.05, "detach": True, "neighbours": 3, "length": 200, "clusters": 200},
}


@dataclass(frozen=True)
class Compared:
    """One class of one image: the figures that the module's docstring explains; `purity` is NaN without a bank."""

    purity: float
    chance: float
    auc_aware: float
    auc_mean: float
    auc_plain: float


def bench(rounds: int) -> dict[str, Any]:
    """Train on the sample with cloths for classes in both ways and measure.

    Args:
        rounds: Five times the number of trainings of each way.
    """
    seeds = range(max(1, rounds // ROUNDS))
    told: dict[str, Any] = {
        "of": "the bundled sample, three cloths worn by two kinds each",
        "trainings": len(seeds),
    }
    for way, settings in _WAYS.items():
        with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
            places = [Path(folder) / f"seed{seed}" for seed in seeds]
            for seed, place in zip(seeds, places, strict=True):
                trained(place, seed, settings=settings)
            told[way] = {"settings": settings, **_told([measured(place) for place in places])}
    return told


def _told(found: Sequence[tuple[dict[str, dict[str, list[Compared]]], int]]) -> dict[str, Any]:
    """Return the means over what `measured` gave for each training."""
    told: dict[str, Any] = {}
    for split in _SPLITS:
        by_class = {
            name: [p for pairs, _ in found for p in pairs[split][name]] for name in found[0][0][split]
        }
        figures = _means([p for pairs in by_class.values() for p in pairs])
        figures["by_class"] = {name: _means(pairs) for name, pairs in by_class.items()}
        told |= figures if split == _SPLITS[0] else {split: figures}
    # A class whose map is 0 everywhere in an image has no prototype there, and nothing is drawn of it.
    return told | {"unseeded": sum(lost for _, lost in found)}


@dataclass(frozen=True)
class Sample:
    """The bundled sample with cloths for classes.

    Attributes:
        cloths: The classes.
        worn: Image -> the cloths it shows, all images.
        sorts: Kinds of toy, for images that show one kind of a cloth only.
        splits: `val` and `train`, without images that show two kinds of one cloth.
    """

    cloths: tuple[str, ...]
    worn: dict[str, tuple[str, ...]]
    sorts: dict[tuple[str, int], str]
    splits: dict[str, tuple[str, ...]]


def read_sample() -> Sample:
    """Read what was drawn where from the sample's own records."""
    folder = resource("sample")
    with (folder / "objects.csv").open(encoding="utf-8", newline="") as file:
        objects = list(csv.DictReader(file))
    lists = {n: (folder / f"{n}.txt").read_text(encoding="utf-8").split() for n in _SPLITS}
    cloths = tuple(sorted({row["cloth"] for row in objects}))
    worn: dict[str, set[str]] = {stem: set() for stems in lists.values() for stem in stems}
    kinds: dict[tuple[str, int], set[str]] = defaultdict(set)
    for row in objects:
        worn[row["image"]].add(row["cloth"])
        kinds[row["image"], cloths.index(row["cloth"])].add(row["class"])
    mixed = {stem for (stem, _), there in kinds.items() if len(there) > 1}
    return Sample(
        cloths,
        {stem: tuple(sorted(worn[stem])) for stem in sorted(worn)},
        {pair: min(there) for pair, there in kinds.items() if len(there) == 1},
        {name: tuple(s for s in stems if s not in mixed) for name, stems in lists.items()},
    )


def trained(
    place: Path,
    seed: int = 0,
    *,
    settings: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    crop: int | None = None,
) -> None:
    """Make a project of the sample with cloths for classes at `place`, train `cpal` in it and pass over its images.

    Args:
        place: A folder that is not there yet.
        seed: Of the random numbers.
        settings: Of the method, in place of its own.
        epochs, batch, crop: Of the plan, in place of those chosen from the data.
    """
    sample = read_sample()
    place.mkdir(parents=True)
    lines = ["image,tags", *(f"{stem}.png,{';'.join(worn)}" for stem, worn in sample.worn.items())]
    write_text(place / "tags.csv", "\n".join(lines) + "\n")
    write_text(place / "classes.txt", "".join(f"{name}\n" for name in sample.cloths))
    for name, own in sample.splits.items():
        write_text(place / f"{name}.txt", "".join(f"{stem}\n" for stem in own))
    project = str(place / "project")
    engine.do(
        New(
            project=project,
            images=str(resource("sample") / "images"),
            tags=str(place / "tags.csv"),
            classes=str(place / "classes.txt"),
            split=tuple(f"{name}={place / f'{name}.txt'}" for name in _SPLITS),
        )
    )
    engine.do(
        Train(
            project=project,
            method="cpal",
            run="cpal",
            seed=seed,
            epochs=epochs,
            batch=batch,
            crop=crop,
            settings={"backbone": "tiny_cnn", "pretrained": False, **(settings or {})},
        )
    )
    for name in _SPLITS:
        engine.do(Prototypes(project=project, run="cpal", split=name))


def compare(
    view: PrototypeView,
    bank: PrototypeBank,
    cls: int,
    sorts: Sorts,
    truth: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    choice: Choice,
) -> Compared | None:
    """Measure one class of one image, or return None where nothing seeds it.

    Args:
        view: One pass over the image.
        bank: Of the run that made the view.
        cls: 0-based class that the image shows.
        sorts: Sub-types of this image and of those that are in the bank.
        truth: [H, W] bool, pixels of the class.
        inside: [H, W] bool, pixels that count.
        choice: K, tau, and how the shift and the weights are.
    """
    passage = pass_through(view, bank, cls, choice)
    if passage is None:
        return None
    filled = int(bank.filled[cls])
    own = bank.keys[cls, :filled] == image_key(view.image)
    like = _alike(bank, cls, sorts, sorts[view.image, cls])
    behind = np.isin(bank.member[cls, :filled], passage.order) & ~own
    moved = view.features + passage.shift[:, None, None]  # [D, h, w]
    mean = bank.rows[cls, :filled].astype(np.float32).mean(0) if filled else passage.own
    cosine = np.einsum("d,dhw->hw", mean, moved) / np.maximum(np.linalg.norm(moved, axis=0), 1e-12)

    def area(cells: NDArray[Any]) -> float:
        pixels = enlarge(cells[None].astype(np.float32), view.size, view.cell, view.origin)[0]
        return ranked(truth[inside], pixels[inside])

    return Compared(
        purity=float(like[behind].mean()) if behind.any() else float("nan"),
        chance=float(like[~own].mean()) if (~own).any() else float("nan"),
        auc_aware=area(passage.aware),
        auc_mean=area(np.maximum(cosine, 0)),
        auc_plain=area(view.maps[view.classes.index(cls)]),
    )


def ranked(truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """Return the area under the ROC curve, ties counted half; NaN without a pixel of either kind."""
    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _alike(bank: PrototypeBank, cls: int, sorts: Sorts, sort: str) -> NDArray[np.bool_]:
    """Return which rows of a class come from images of a sort."""
    keys = {image_key(stem) for (stem, c), other in sorts.items() if c == cls and other == sort}
    return np.isin(bank.keys[cls, : int(bank.filled[cls])], list(keys))


def measured(place: Path) -> tuple[dict[str, dict[str, list[Compared]]], int]:
    """Return the figures by split and class of the project that `trained` made, and how many pairs nothing seeds."""
    sample, folder = read_sample(), resource("sample")
    kinds = (folder / "classes.txt").read_text(encoding="utf-8").split()
    project = open_project(place / "project")
    made = run_of(project.root, "cpal")
    bank = PrototypeBank.load(made.weights)
    choice = _choice(made.facts["params"])
    found = {s: {name: list[Compared]() for name in sample.cloths} for s in _SPLITS}
    unseeded = 0
    for split, stem in ((s, stem) for s in _SPLITS for stem in sample.splits[s]):
        view = PrototypeView.load(made.views("default").path(stem, PrototypeView.KIND))
        mask = read_mask(folder / "masks" / f"{stem}.png")
        for cls, name in enumerate(sample.cloths):
            if (stem, cls) not in sample.sorts:
                continue
            truth = mask == kinds.index(sample.sorts[stem, cls]) + 1
            pair = compare(view, bank, cls, sample.sorts, truth, mask != 255, choice)
            if pair is None:
                unseeded += 1
            else:
                found[split][name].append(pair)
    return found, unseeded


def _choice(params: Mapping[str, Any]) -> Choice:
    """Return what the run was trained with, as the window's way through it takes it."""
    return Choice(
        tau=params["tau"],
        neighbours=params["neighbours"],
        temperature=params["temperature"],
        positiveness=params["positiveness"],
        shift=0.0 if params["shift"] == "off" else 1.0,
        draw=params["draw"],
    )


def _means(pairs: Sequence[Compared]) -> dict[str, Any]:
    return {"pairs": len(pairs), **{name: _mean([getattr(p, name) for p in pairs]) for name in _FIGURES}}


def _mean(values: Collection[float]) -> float | None:
    there = [v for v in values if not np.isnan(v)]
    return round(float(np.mean(there)), 4) if there else None
