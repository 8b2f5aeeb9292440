"""What the steps of a climb show, as arrays for layers and as words; read row by row from disk. No Qt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from engine.errors import UserError
from engine.labels import LabelRule, apply, best_class
from engine.params import text_of
from engine.results import CamStack, ClimbPath, ClimbTrace, path_to, traces_in
from engine.store import Project, Run
from engine.tags import PRESENT
from wsss_napari.mask_view import MaskView
from wsss_napari.session import STATES

__all__ = [
    "AMPLIFIED",
    "OWN",
    "Climbs",
    "Found",
    "StepView",
    "climbs_of",
    "differences",
    "path_of",
    "restricted_truth",
    "rows_text",
    "tag_note",
    "title_of",
]

#: Views that hold the climbs of this page; a batch under another name never replaces them.
OWN = "steps"
AMPLIFIED = 8
_GREY = 128.0
# What a climb of one class and one image has no use for.
_BATCH = frozenset({"steps", "classes", "predicted_above", "keep"})


@dataclass(frozen=True, eq=False)
class Found:
    """A trace and the name of the views that hold it; those of a batch are only to be looked at."""

    trace: ClimbTrace
    views: str

    @property
    def key(self) -> str:
        """What tells it from all others of the image: its id, behind the views' name for a batch."""
        return self.trace.id if self.views == OWN else f"{self.views}/{self.trace.id}"


Climbs = Mapping[str, Found]


def climbs_of(project: Project, run: Run, image: str, cls: int) -> dict[str, Found]:
    """Return key -> climb of one class in one image, this page's before those of batches.

    Traces of another image size are left out: they were climbed before the image changed.
    """
    names = [OWN, *(v.name for v in run.all_views() if v.name != OWN)]
    facts = project.image(image)
    found = {}
    for name in names:
        for trace in traces_in(run.views(name).folder / image / "climb").values():
            if trace.cls == cls and trace.image == image and trace.size == (facts.height, facts.width):
                climb = Found(trace, name)
                found[climb.key] = climb
    return found


def path_of(climbs: Climbs, key: str) -> ClimbPath:
    """Return the steps from the photograph to the end of one climb.

    Raises:
        UserError: A trace on the way is missing.
    """
    views = climbs[key].views
    return path_to({f.trace.id: f.trace for f in climbs.values() if f.views == views}, climbs[key].trace.id)


class StepView:
    """The steps of one path; only the rows that are asked for are read.

    Args:
        path: From the photograph to the end of a branch.
        photograph: [H, W, 3] uint8, the upright image.
        aggregate: Whether A_t is the `sum` of the maps or the `last` one; None leaves it to the climb.
    """

    def __init__(self, path: ClimbPath, photograph: NDArray[np.uint8], aggregate: str | None = None) -> None:
        self.path = path
        self._photograph = photograph
        self._aggregate = aggregate or str(path.leaf.settings.get("aggregate", "sum"))
        self._mapped: dict[tuple[Path, str], NDArray[Any]] = {}
        self._total: tuple[int, NDArray[np.float32]] | None = None
        self._ground: NDArray[np.float32] | None = None

    @property
    def leaf(self) -> ClimbTrace:
        """The trace whose end this is."""
        return self.path.leaf

    @property
    def last(self) -> int:
        """The last step that is written; -1 before the first."""
        return self.path.last

    @property
    def has_pictures(self) -> bool:
        """Whether every step kept its picture and saliency."""
        return all(trace.has_pictures for trace in self.path.traces)

    @property
    def picture_place(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(y, x) px of the image per px of the climbed picture, and the centre of its first px."""
        (height, width), (tall, wide) = self.leaf.size, self.leaf.picture_size
        scale = (height / tall, width / wide)
        return scale, ((scale[0] - 1) / 2, (scale[1] - 1) / 2)

    def grow(self, path: ClimbPath) -> None:
        """Go on with a path that has more steps than the one before and is else the same."""
        self.path = path

    def picture(self, step: int) -> NDArray[np.uint8]:
        """Return x^t, the photograph with its perturbation, [H', W', 3] uint8."""
        moved = self._photograph_planes() + self._row("pictures", step)[0]  # [3, H', W']
        return _pixels(moved)

    def perturbation(self, step: int) -> NDArray[np.uint8]:
        """Return x^t - x^0 eight times as strong around mid grey, [H', W', 3] uint8."""
        moved = np.multiply(self._row("pictures", step)[0], np.float32(AMPLIFIED), dtype=np.float32)
        moved += np.float32(_GREY)
        return _pixels(moved)

    def saliency(self, step: int) -> NDArray[np.float32]:
        """Return |dy_c/dx^t|, [H', W'] float32 in [0, 1], 1 at its strongest pixel."""
        return np.multiply(self._row("saliency", step), np.float32(1 / 255), dtype=np.float32)

    def cam(self, step: int) -> NDArray[np.float32]:
        """Return the map of the step alone, R^t divided by its peak, [h, w] float32 in [0, 1]."""
        return _peaked(np.asarray(self._row("maps", step), np.float32))

    def aggregated(self, step: int) -> NDArray[np.float32]:
        """Return A_t (paper eq. 4), [h, w] float32 in [0, 1]."""
        return _peaked(self._raw(step))

    def change(self, step: int) -> NDArray[np.float32]:
        """Return A_t - A_{t-1} divided by its largest value (see `strongest`), [h, w] float32 in [-1, 1]."""
        change, most = self._change(step)
        return change / np.float32(most) if most > 0 else change

    def strongest(self, step: int) -> float:
        """Return how far the step changed A_t where it changed it most; 1 is the peak of the map."""
        return self._change(step)[1]

    def restricting(self, step: int) -> NDArray[np.uint8]:
        """Return the restricting mask, [h, w] uint8: 1 where M holds, 2 where D does, 3 both."""
        return np.minimum(self._row("masks", step), np.uint8(3))

    def score(self, step: int) -> float:
        """Return the pooled score of the climbed class."""
        scores = self._row("scores", step)
        return float(scores[self.leaf.cls]) if self.leaf.cls < len(scores) else math.nan

    def stack(self, step: int) -> CamStack:
        """Return A_t as the maps of one class, as the label is made from it.

        Raises:
            UserError: The map holds no numbers.
        """
        raw, leaf = self._raw(step), self.leaf
        try:
            return CamStack(
                image=leaf.image,
                size=leaf.size,
                classes=(leaf.cls,),
                maps=_peaked(raw)[None].astype(np.float16),
                peaks=np.array([raw.max(initial=0.0)], np.float32),
                cell=leaf.cell,
                origin=leaf.origin,
                scores=np.zeros(0, np.float32),
            )
        except ValueError as error:
            raise _unfit(leaf, str(error)) from None

    def mask_view(self, step: int) -> MaskView:
        """Return A_t ready for a rule.

        Raises:
            UserError: The map holds no numbers.
        """
        return MaskView(self.stack(step))

    def masked(self, step: int, rule: LabelRule) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return A_t at image size, [H, W] float32 in [0, 1], and its mask by a rule, [H, W] uint8.

        Raises:
            UserError: The map holds no numbers.
        """
        best, which = best_class(self.stack(step).full())
        return best, apply(rule, best, which, (self.leaf.cls,))

    def _row(self, name: str, step: int) -> NDArray[Any]:
        # Opening a mapped file takes longer than reading a row of it.
        trace, row = self.path.parts[step]
        key = (trace.folder, name)
        if key not in self._mapped or len(self._mapped[key]) <= row:
            self._mapped[key] = trace.array(name)
        found: NDArray[Any] = self._mapped[key][row]
        return found

    def _raw(self, step: int) -> NDArray[np.float32]:
        """Return A_t before the division by its peak; a step forward adds one map to the sum before."""
        if self._aggregate == "last":
            return np.asarray(self._row("maps", step), np.float32)
        at, total = self._total if self._total is not None else (-1, self._zeros())
        if at > step:
            at, total = -1, self._zeros()
        for t in range(at + 1, step + 1):
            total += self._row("maps", t)
        self._total = (step, total)
        return total

    def _change(self, step: int) -> tuple[NDArray[np.float32], float]:
        if step == 0:
            return self._zeros(), 0.0
        if self._aggregate == "last":
            before, now = self._raw(step - 1), self._raw(step)
        else:
            now = self._raw(step).copy()
            before = now - self._row("maps", step)
        change = _peaked(now) - _peaked(before)
        return change, float(np.abs(change).max(initial=0.0))

    def _zeros(self) -> NDArray[np.float32]:
        return np.zeros(self._row("maps", 0).shape, np.float32)

    def _photograph_planes(self) -> NDArray[np.float32]:
        """Return the photograph as it was climbed, [3, H', W'] float32."""
        if self._ground is None:
            pixels, (tall, wide) = self._photograph, self.leaf.picture_size
            if pixels.shape[:2] != (tall, wide):
                pixels = np.asarray(Pillow.fromarray(pixels).resize((wide, tall), Pillow.Resampling.BILINEAR))
            self._ground = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        return self._ground


def differences(settings: Mapping[str, Any], trace: ClimbTrace, defaults: Mapping[str, Any]) -> list[str]:
    """Return `name value` of each setting in which a form differs from those of a climb.

    Args:
        settings: What the form changed from the defaults.
        trace: The climb.
        defaults: Setting name -> default.
    """
    found = []
    for name, default in defaults.items():
        now, before = settings.get(name, default), trace.settings.get(name, default)
        if name not in _BATCH and _plain(now) != _plain(before):
            found.append(f"{name.replace('_', ' ')} {text_of(now) or 'none'}")
    return found


def title_of(climb: Found, climbs: Climbs, defaults: Mapping[str, Any], busy: bool) -> str:
    """Return how people call a climb: where it comes from, what differs, how it ended."""
    trace = climb.trace
    parent = None if trace.parent is None else climbs.get(trace.parent)
    if climb.views != OWN:
        words = f"batch {climb.views}"
    elif trace.parent is None:
        words = f"climb {trace.id}"
    else:
        words = f"from step {trace.at} of {trace.parent}"
    differ = differences(trace.settings, parent.trace, defaults) if parent is not None else []
    if differ:
        words += f": {', '.join(differ)}"
    if not trace.ending and not busy:
        words += " · interrupted"
    elif trace.ending in ("stopped", "plateau"):
        words += " · stopped" if trace.ending == "stopped" else " · reached a plateau"
    return words


def restricted_truth(truth: NDArray[np.uint8], cls: int) -> NDArray[np.uint8]:
    """Return the truth of one class: class + 1 where it is, 255 where nobody knows, 0 elsewhere."""
    kept = np.where((truth == cls + 1) | (truth == 255), truth, np.uint8(0))
    return np.asarray(kept, np.uint8)


def tag_note(name: str, state: int) -> str:
    """Return a sentence when the class is not tagged as present, else an empty string."""
    if state == PRESENT:
        return ""
    return (
        f"{name} is tagged {STATES[state]} in this image. A climb shows what the network would take for it."
    )


def rows_text(view: StepView, step: int, name: str) -> str:
    """Return the line under the slider: the score of the class, and how much the step changed."""
    text = f"Score of {name} {view.score(step):.2f}"
    if step:
        text += f" · strongest change {100 * view.strongest(step):.1f} % of the map's peak"
    return text


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _peaked(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    # As the engine does when it makes the label: nothing below 0 is evidence.
    peak = np.float32(raw.max(initial=0.0))
    return np.maximum(raw, 0) / peak if peak > 0 else np.zeros_like(raw)


def _pixels(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return [3, H, W] float32 grey levels, which are written over, as [H, W, 3] uint8."""
    # Half a level more makes the cast round; one pass less than rint.
    planes += np.float32(0.5)
    np.clip(planes, 0, 255, out=planes)
    pixels = np.empty((*planes.shape[1:], 3), np.uint8)
    pixels.transpose(2, 0, 1)[...] = planes
    return pixels


def _unfit(trace: ClimbTrace, why: str) -> UserError:
    return UserError(
        f"The climb '{trace.id}' of {trace.image} cannot be shown: {why}."[:300],
        "Climbs written by `wsss climb` are shown.",
        "Remove it and climb again.",
    )
