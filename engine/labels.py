"""Turn class maps into a mask: background rule, ignore band, removal of small regions.

A rule compares the best class score of a pixel with a background score. Every rule here
is monotone in the best score, so each is the same single threshold in the end:
`best_class` is computed once per image, `apply` is one comparison per slider move.

    best, which = best_class(maps)                              # once per image
    mask = apply(LabelRule("power", 4.0), best, which, classes)  # at every slider move
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from engine.errors import UserError, nearest

__all__ = [
    "BACKGROUNDS",
    "UNSURE",
    "LabelRule",
    "apply",
    "apply_scores",
    "best_class",
    "clean",
    "disagreement",
]

Floats: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.uint8]

UNSURE = 255
BACKGROUNDS = ("constant", "power", "one_minus_max")

_FORMS = (
    "Accepted: constant:T with T from 0 to 1, power:A with A above 0, or one_minus_max; "
    "the ignore band is LOW,HIGH with 0 <= LOW <= HIGH <= 1."
)
# A block of this many pixels and its temporaries stay in the processor's second cache.
_BLOCK = 1 << 15


@dataclass(frozen=True)
class LabelRule:
    """How class scores become a mask; `m` is the best class score of a pixel.

    Args:
        background: The background score that `m` must exceed (a tie is background):
            `constant` is `value`; `power` is (1 - m) ** value (PSA, section 4 of the paper:
            alpha); `one_minus_max` is 1 - m, which is power 1.
        value: The constant in [0, 1] or the exponent above 0; 1 for `one_minus_max`.
        ignore: LOW and HIGH on the scale of `m`, whatever the background: m <= LOW is
            background, LOW < m <= HIGH is unsure (255), above HIGH is the best class. With
            a band the two limits decide alone; `background` then only shapes the scores
            that a CRF starts from.
        min_region: Connected regions of a class or of the background with fewer pixels
            than this are given to their surroundings; 0 keeps all (see `clean`).
        crf: Name of the CRF preset that refines the labels, or `none`.

    Raises:
        UserError: A value is out of its limits.
    """

    background: str = "constant"
    value: float = 0.2
    ignore: tuple[float, float] | None = None
    min_region: int = 0
    crf: str = "none"

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise UserError(
                f"There is no background rule '{self.background}'.",
                _FORMS,
                nearest(self.background, BACKGROUNDS),
            )
        fits = {
            "constant": 0 <= self.value <= 1,
            "power": 0 < self.value < math.inf,
            "one_minus_max": self.value == 1,
        }
        if not fits[self.background]:
            raise UserError(f"The background {self.background}:{self.value:g} is out of its limits.", _FORMS)
        if self.ignore is not None and not 0 <= self.ignore[0] <= self.ignore[1] <= 1:
            raise UserError(
                f"The ignore band {self.ignore[0]:g},{self.ignore[1]:g} is out of its limits.", _FORMS
            )
        if self.min_region < 0:
            raise UserError(f"min_region = {self.min_region} is negative.", "Accepted: pixels, 0 or more.")

    @classmethod
    def parse(
        cls, background: str, ignore: str | None = None, *, min_region: int = 0, crf: str = "none"
    ) -> LabelRule:
        """Read a rule as the command line writes it (`power:4`, `0.15,0.3`).

        Raises:
            UserError: The text has none of the accepted forms.
        """
        name, colon, number = background.strip().partition(":")
        name = name.strip()
        if name == "one_minus_max":
            if colon:
                raise UserError(f"The background '{background}' carries a number.", _FORMS)
            value = 1.0
        elif name in BACKGROUNDS:
            value = _number(number, f"The background '{background}' has no readable number.")
        else:
            raise UserError(f"There is no background rule '{name}'.", _FORMS, nearest(name, BACKGROUNDS))
        band = None
        if ignore is not None:
            wrong = f"The ignore band '{ignore}' is not two numbers."
            limits = [_number(part, wrong) for part in ignore.split(",")]
            if len(limits) != 2:
                raise UserError(wrong, _FORMS)
            band = (limits[0], limits[1])
        return cls(name, value, band, min_region, crf)

    @classmethod
    def from_json(cls, data: Any) -> LabelRule:
        """Read what `as_json` wrote.

        Raises:
            UserError: A field is unknown, of another type or out of its limits.
        """
        if not isinstance(data, Mapping):
            raise UserError(
                "The label rule is not a JSON object.", "Accepted: the object that `wsss label` writes."
            )
        known = {f.name for f in dataclasses.fields(cls)}
        for key in data:
            if key not in known:
                raise UserError(
                    f"The label rule has an unknown field '{key}'.",
                    f"Accepted: {', '.join(sorted(known))}.",
                    nearest(str(key), known),
                )
        band = data.get("ignore")
        good = (
            isinstance(data.get("background", ""), str)
            and _is_number(data.get("value", 1.0))
            and (
                band is None
                or (isinstance(band, (list, tuple)) and len(band) == 2 and all(map(_is_number, band)))
            )
            and _is_number(data.get("min_region", 0))
            and isinstance(data.get("crf", ""), str)
        )
        if not good:
            raise UserError("A field of the label rule has the wrong type.", _FORMS, "Make the labels again.")
        rule = dict(data)
        if band is not None:
            rule["ignore"] = (float(band[0]), float(band[1]))
        if "min_region" in rule:
            rule["min_region"] = int(rule["min_region"])
        return cls(**rule)

    def as_json(self) -> dict[str, Any]:
        """Return the rule as JSON-ready values; `from_json` takes it back."""
        data = dataclasses.asdict(self)
        data["ignore"] = None if self.ignore is None else list(self.ignore)
        return data

    def text(self) -> str:
        """Return the background as `--background` takes it."""
        return self.background if self.background == "one_minus_max" else f"{self.background}:{self.value!r}"

    def ignore_text(self) -> str | None:
        """Return the band as `--ignore` takes it, or None without one."""
        return None if self.ignore is None else f"{self.ignore[0]!r},{self.ignore[1]!r}"

    def threshold(self) -> np.float32:
        """Return the t for which `m > t` is foreground, without regard to the band.

        For `constant` it is the value in single precision. For the others it is the
        largest single-precision m that does not exceed its own background score computed
        in double precision, so `m > t` and `m > (1 - m) ** value` agree for every float32
        m in [0, 1] (alpha 4 / 8 / 16 gives 0.2755 / 0.1883 / 0.1228).
        """
        return np.float32(self.value) if self.background == "constant" else _crossing(self.value)

    def limits(self) -> tuple[np.float32, np.float32]:
        """Return (low, high): m <= low is background, m > high a class, between is unsure."""
        if self.ignore is None:
            t = self.threshold()
            return t, t
        return np.float32(self.ignore[0]), np.float32(self.ignore[1])

    def sides(self) -> tuple[LabelRule, ...]:
        """Return the rule itself, or the two rules without a band that its limits stand for.

        The first is sure of its foreground (at HIGH), the second of its background (at
        LOW). A power background becomes the two powers that cross at the limits, as PSA
        uses two exponents around the best one. A CRF refines each side, then joins them.
        """
        if self.ignore is None:
            return (self,)
        low, high = self.ignore
        if self.background == "constant":
            return tuple(dataclasses.replace(self, value=t, ignore=None) for t in (high, low))
        return tuple(
            dataclasses.replace(self, background="power", value=_exponent(t), ignore=None)
            for t in (high, low)
        )

    def scores(self, best: Floats) -> Floats:
        """Return the background score of each pixel, float32 in [0, 1], without regard to the band."""
        if self.background == "constant":
            return np.full(best.shape, self.value, np.float32)
        return np.asarray((1.0 - best) ** np.float32(self.value), np.float32)


def best_class(maps: npt.NDArray[Any]) -> tuple[Floats, Mask]:
    """Return the best score of each pixel and which map it came from (ties: the first).

    Args:
        maps: `[K, H, W]` float in [0, 1], K of at most 254; K = 0 gives zeros.

    Returns:
        best `[H, W]` float32 and which `[H, W]` uint8 in [0, K).
    """
    count, height, width = maps.shape
    if count > UNSURE - 1:
        raise ValueError(f"{count} maps; a mask holds at most {UNSURE - 1} classes")
    best = np.zeros((height, width), np.float32)
    which = np.zeros((height, width), np.uint8)
    if not count:
        return best, which
    flat = maps.reshape(count, -1)
    tops, winners = best.reshape(-1), which.reshape(-1)
    for start in range(0, tops.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = flat[:, part].astype(np.float32, copy=False)
        top = np.max(block, axis=0, out=tops[part])
        missed = np.ones(top.shape, bool)
        # The winner's index is the number of maps before it that fall short of the best: adding
        # truth values runs several pixels at a time, which argmax over the first axis does not.
        for row in block[:-1]:
            missed &= row != top
            winners[part] += missed.view(np.uint8)
    return best, which


def apply(
    rule: LabelRule, best: Floats, which: Mask, classes: Sequence[int], out: Mask | None = None
) -> Mask:
    """Return the mask of the rule; the CRF and the small regions are left to others.

    Args:
        rule: The rule; only its background and its ignore band are used.
        best, which: From `best_class`, `[H, W]`.
        classes: Class index (0-based) of each map, as many as there are maps.
        out: `[H, W]` uint8, C-contiguous, written and returned; made when None.

    Returns:
        `[H, W]` uint8: 0 background, class index + 1, 255 unsure.
    """
    if out is None:
        out = np.empty(best.shape, np.uint8)
    if not classes:
        out.fill(0)
        return out
    low, high = rule.limits()
    if out.shape != best.shape or not out.flags.c_contiguous:
        raise ValueError("out must be C-contiguous and have the shape of the scores")
    steps = _steps(classes)
    scores, winners, target = best.reshape(-1), which.reshape(-1), out.reshape(-1)
    spare = np.empty(min(_BLOCK, scores.size), bool)
    for start in range(0, scores.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        s, w, o = scores[part], winners[part], target[part]
        flag = spare[: s.size]
        truth = flag.view(np.uint8)
        np.add(w, np.uint8(classes[0] + 1), out=o)
        for k, step in steps:
            np.greater_equal(w, k, out=flag)
            np.multiply(truth, step, out=truth)
            np.add(o, truth, out=o)
        np.greater(s, high, out=flag)
        np.multiply(o, truth, out=o)
        if high > low:
            np.not_equal(flag, s > low, out=flag)
            np.negative(truth, out=truth)  # 0 - 1 is 255 in uint8
            np.bitwise_or(o, truth, out=o)
    return out


def apply_scores(scores: npt.NDArray[Any], classes: Sequence[int]) -> Mask:
    """Return the mask of a source that holds its own background score: a plain argmax.

    Args:
        scores: `[1 + K, H, W]` float, the background first; a tie goes to the first.
        classes: Class index (0-based) of each score after the background.
    """
    if len(scores) != len(classes) + 1:
        raise ValueError(f"{len(scores)} scores for the background and {len(classes)} classes")
    _, which = best_class(scores)
    table = np.array([0, *(c + 1 for c in classes)], np.uint8)
    return np.asarray(table[which], np.uint8)


def clean(mask: Mask, min_region: int) -> Mask:
    """Give each region of fewer than `min_region` pixels to the nearest pixel that stays.

    A region is a 4-connected set of one class or of the background (so small holes close
    too). Unsure regions stay as they are. When nothing would stay, the mask is returned
    as it is.
    """
    if min_region <= 1:
        return mask
    small = np.zeros(mask.shape, bool)
    for value in np.flatnonzero(np.bincount(mask.reshape(-1))):
        if value == UNSURE:
            continue
        regions, _ = ndimage.label(mask == value)
        tiny = np.bincount(regions.reshape(-1)) < min_region
        tiny[0] = False
        small |= tiny[regions]
    if not small.any() or small.all():
        return mask
    out = mask.copy()
    # The nearest pixel that stays touches the 8-connected patch it is asked for, so each patch
    # needs only its own box: a distance transform of the whole image takes far longer.
    patches, _ = ndimage.label(small, np.ones((3, 3)))
    for number, (rows, columns) in enumerate(ndimage.find_objects(patches), 1):
        box = _widened(rows), _widened(columns)
        kept = ndimage.distance_transform_edt(small[box], return_distances=False, return_indices=True)
        np.copyto(out[box], mask[box][tuple(kept)], where=patches[box] == number)
    return out


def disagreement(mask: Mask, salient: npt.NDArray[np.bool_]) -> Mask:
    """Return the mask, unsure where it and a saliency mask disagree (AdvCAM-Sal, section 4.5 of the paper).

    Args:
        mask: `[H, W]` uint8 labels.
        salient: `[H, W]` bool, True on any object.

    Returns:
        `[H, W]` uint8: 255 where a class lies on salient background or background on a salient
        object, else `mask`.
    """
    if salient.shape != mask.shape or salient.dtype != bool:
        raise ValueError(f"saliency {salient.shape} {salient.dtype} for a mask {mask.shape}")
    return np.where((mask > 0) == salient, mask, np.uint8(UNSURE))


def _widened(span: slice) -> slice:
    return slice(max(span.start - 1, 0), span.stop + 1)


def _steps(classes: Sequence[int]) -> list[tuple[np.uint8, np.uint8]]:
    # A table look-up costs 5 ns a pixel. A whole-array step at each gap between class indexes
    # costs a tenth of it, and neighbouring classes need none; uint8 wraps, so any order works.
    gaps = [(k, (classes[k] - classes[k - 1] - 1) % 256) for k in range(1, len(classes))]
    return [(np.uint8(k), np.uint8(gap)) for k, gap in gaps if gap]


@functools.lru_cache(maxsize=256)
def _crossing(exponent: float) -> np.float32:
    # Floats in [0, 1] are ordered as their bit patterns are, so this bisects over float32
    # itself and ends on the exact last value that is still background.
    low, high = 0, int(np.float32(1).view(np.uint32))
    while high - low > 1:
        middle = (low + high) // 2
        m = float(np.uint32(middle).view(np.float32))
        if m > (1.0 - m) ** exponent:
            high = middle
        else:
            low = middle
    return np.uint32(low).view(np.float32)


def _exponent(threshold: float) -> float:
    # Solve t = (1 - t) ** a for a. At 0 the background must lose to any score, at 1 it must win.
    if threshold <= 0:
        return 1e6
    if threshold >= 1:
        return 1e-6
    return math.log(threshold) / math.log1p(-threshold)


def _number(text: str, found: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UserError(found, _FORMS) from None
    if not math.isfinite(value):
        raise UserError(found, _FORMS)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
