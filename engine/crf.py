"""Snap labels to the edges of the photograph with a fully connected Gaussian CRF.

Mean field of Kraehenbuehl and Koltun, "Efficient inference in fully connected CRFs with
Gaussian edge potentials", NIPS 2011, as pydensecrf computes it:

    Q <- softmax_l( -U_l + w_p (K_p Q)_l + w_b (K_b Q)_l )
    K_p = exp(-|p_i - p_j|^2 / 2 sxy^2)
    K_b = exp(-|p_i - p_j|^2 / 2 sxy^2 - |rgb_i - rgb_j|^2 / 2 srgb^2)

U is the unary energy, both kernels are normalised symmetrically. The permutohedral lattice
approximates the kernels, so no other implementation agrees with it to many digits.

    lattice = Lattice(image, 3, parse(CRFParams, {"preset": "irn"}))
    q = lattice.refine(unary_of_labels(a, 3, 0.7))
    for q, energy in lattice.steps(unary_of_labels(a, 3, 0.7)):  # the start, then every iteration
        ...
    sure, possible = refine_together(image, [unary_a, unary_b], params)  # two starts for little more than one
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.errors import UserError
from engine.params import Spec

__all__ = [
    "CRFParams",
    "Lattice",
    "crf_label",
    "refine_labels",
    "refine_scores",
    "refine_together",
    "unary_of_labels",
    "unary_of_scores",
]

Floats: TypeAlias = npt.NDArray[np.float32]
Image: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.uint8]

UNSURE = 255
# Below this the logarithm would let one pixel outvote its whole surroundings.
_LEAST = 1e-5


@dataclass(frozen=True)
class CRFParams:
    """Kernels, iterations and starting point of the CRF; the defaults are IRN's.

    Widths are in px of the image and in grey levels 0..255: a 16-bit image is scaled to
    eight bits first.
    """

    positional_sxy: Annotated[
        float, Spec("Reach of the smoothing that ignores colour.", low=0.1, high=1000, unit="px")
    ] = 3.0
    positional_weight: Annotated[
        float, Spec("Strength of the smoothing that ignores colour; 0 leaves it out.", low=0, high=1000)
    ] = 3.0
    bilateral_sxy: Annotated[
        float,
        Spec(
            "Reach of the agreement between pixels of like colour.", low=0.1, high=1000, unit="px", main=True
        ),
    ] = 50.0
    bilateral_srgb: Annotated[
        float,
        Spec(
            "Colour distance within which two pixels are alike.",
            low=0.1,
            high=255,
            unit="grey levels",
            main=True,
        ),
    ] = 5.0
    bilateral_weight: Annotated[
        float,
        Spec("Strength of the agreement between pixels of like colour; 0 leaves it out.", low=0, high=1000),
    ] = 10.0
    iterations: Annotated[
        int, Spec("Rounds of mean field; 0 returns the start.", low=0, high=1000, main=True)
    ] = 10
    unary: Annotated[
        Literal["labels", "scores"],
        Spec(
            "Start from hard labels believed with gt_prob, or from the scores with the rule's background score."
        ),
    ] = "labels"
    gt_prob: Annotated[float, Spec("Belief in a hard label.", low=0.01, high=0.99)] = 0.7

    PRESETS: ClassVar[dict[str, dict[str, object]]] = {
        # IRN's and AdvCAM's confidence labels.
        "irn": {},
        # PSA's, SC-CAM's and SEAM's labels: the background power and the maps themselves.
        "psa": {"bilateral_sxy": 80.0, "bilateral_srgb": 13.0, "unary": "scores"},
        # SEAM's random walk.
        "walk": {"bilateral_sxy": 80.0, "bilateral_srgb": 13.0, "unary": "scores", "iterations": 1},
        # deeplab-pytorch's; AdvCAM's "+CRF" seeds start it from hard labels (AdvCAM issue 11).
        "deeplab": {
            "positional_sxy": 1.0,
            "bilateral_sxy": 67.0,
            "bilateral_srgb": 3.0,
            "bilateral_weight": 4.0,
        },
        "afa": {"bilateral_sxy": 64.0, "bilateral_weight": 4.0, "unary": "scores"},
    }


class Rule(Protocol):
    """What a label rule offers here; `engine.labels.LabelRule` does."""

    def threshold(self) -> np.float32:
        """Return t: a pixel is foreground when its best score exceeds t."""

    def scores(self, best: Floats) -> Floats:
        """Return the background score of each pixel from its best class score."""

    def sides(self) -> Sequence[Rule]:
        """Return one rule, or the sure and the possible side of an ignore band."""


class Lattice:
    """The pairwise kernels of one image, built once and used for several unaries.

    Building takes a quarter to a half of a refinement; a second unary on the same lattice
    gives bit for bit what a fresh lattice gives.

    Args:
        image: `[H, W, 3]` uint8, RGB (channel order does not matter, range does).
        n_labels: Labels of every unary that will be refined, background included.
        params: Kernels and iterations.
        scale: Size of `image` relative to the image the widths are meant for; 0.5 for a
            preview at half size.

    Raises:
        UserError: pydensecrf cannot be imported.
    """

    def __init__(self, image: Image, n_labels: int, params: CRFParams, *, scale: float = 1.0) -> None:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"the CRF takes [H, W, 3] uint8, not {image.shape} {image.dtype}")
        self.shape = (n_labels, *image.shape[:2])
        self.params = params
        self._field: Any = None
        if n_labels < 2 or not image.size:
            return
        self._field = _field(image, n_labels, params, scale)

    def refine(self, unary: Floats) -> Floats:
        """Return the label distribution of each pixel, `[L, H, W]` float32, sum 1 over L.

        Args:
            unary: `[L, H, W]` float32 energies, the negative logarithms of beliefs.
        """
        if unary.shape != self.shape:
            raise ValueError(f"a unary of {unary.shape} on a lattice of {self.shape}")
        if self._field is None:
            # One label has nothing to compete with: its probability is 1.
            return np.ones(self.shape, np.float32)
        self._field.setUnaryEnergy(np.require(unary.reshape(len(unary), -1), np.float32, ["C", "W"]))
        return np.array(self._field.inference(self.params.iterations), np.float32).reshape(self.shape)

    def steps(self, unary: Floats) -> Iterator[tuple[Floats, float]]:
        """Yield the label distribution and its energy at the start and after every iteration.

        The energy is the mean-field free energy, each pair of pixels counted once:
        sum Q log Q + sum Q U - 1/2 sum Q (w_p K_p Q + w_b K_b Q). It is what the iterations
        bring down; `klDivergence` of the library counts each pair twice. It comes with the
        messages of the next iteration, so the whole costs one iteration more than `refine`.

        Args:
            unary: `[L, H, W]` float32 energies.

        Yields:
            Q `[L, H, W]` float32 (a copy), the last one what `refine` returns, and the energy
            in nats, summed over the image; 0 for one label.
        """
        if unary.shape != self.shape:
            raise ValueError(f"a unary of {unary.shape} on a lattice of {self.shape}")
        rounds = self.params.iterations + 1
        if self._field is None:
            for _ in range(rounds):
                yield np.ones(self.shape, np.float32), 0.0
            return
        energies = np.require(unary.reshape(len(unary), -1), np.float32, ["C", "W"])
        self._field.setUnaryEnergy(energies)
        belief, _, _ = self._field.startInference()
        moved, spare = (_matrix(energies.shape) for _ in range(2))
        for _ in range(rounds):
            q = np.array(belief, np.float32, order="C")  # [L, H*W]
            self._field.setUnaryEnergy(energies)  # whoever holds the lattice may refine between two steps
            self._field.stepInference(belief, moved, spare)
            # `moved` is the messages less the unary.
            energy = np.sum(q * np.log(np.maximum(q, 1e-20)), dtype=np.float64)
            energy += 0.5 * np.sum(q * (energies - np.asarray(moved)), dtype=np.float64)
            yield q.reshape(self.shape), float(energy)


def refine_together(
    image: Image, unaries: Sequence[Floats], params: CRFParams, *, scale: float = 1.0
) -> list[Floats]:
    """Return the label distributions of several unaries of one image, refined side by side.

    As `Lattice.refine` of each, to about 1e-5, for little more than the time of one. The
    filters are linear and Potts messages matter up to a constant, so a field of L labels
    needs L - 1 filtered channels, q_l - q_0. The channels of all fields go through the
    lattice in one pass, which handles four at once: two fields of three labels fill it
    where one field of three leaves a quarter idle.

    Args:
        image: `[H, W, 3]` uint8.
        unaries: `[L, H, W]` float32 energies each, of one shape.
        params: Kernels and iterations.
        scale: As of `Lattice`.

    Returns:
        `[L, H, W]` float32 for each unary, sum 1 over L.

    Raises:
        UserError: pydensecrf cannot be imported.
    """
    stack = np.stack(unaries).astype(np.float32, copy=False)  # [U, L, H, W]
    count, n_labels = stack.shape[:2]
    if stack.shape[2:] != image.shape[:2]:
        raise ValueError(f"unaries of {stack.shape[1:]} for an image of {image.shape}")
    if n_labels < 2 or not image.size:
        return [np.ones(stack.shape[1:], np.float32) for _ in range(count)]
    start = (stack[:, :1] - stack[:, 1:]).reshape(count, n_labels - 1, -1)  # [U, L-1, H*W]
    channels, pixels = count * (n_labels - 1), start.shape[2]
    field = _field(image, channels, params, scale)
    given, moved, spare = (_matrix((channels, pixels)) for _ in range(3))
    q = _softmax(start)  # [U, L, H*W]
    for _ in range(params.iterations):
        np.subtract(q[:, 1:], q[:, :1], out=np.asarray(given).reshape(start.shape))
        field.stepInference(given, moved, spare)
        # The field has no unary of its own: what was moved are the messages alone.
        q = _softmax(start + np.asarray(moved).reshape(start.shape))
    return list(q.reshape(stack.shape))


def unary_of_scores(scores: npt.NDArray[Any]) -> Floats:
    """Return -log(clip(scores, 1e-5, 1)), `[L, H, W]` float32.

    Args:
        scores: `[L, H, W]` float in [0, 1]; they need not sum to 1, a common factor cancels.
    """
    return np.asarray(-np.log(np.clip(scores, _LEAST, 1.0)), np.float32)


def unary_of_labels(labels: Mask, n_labels: int, gt_prob: float) -> Floats:
    """Return the energy of hard labels: -log(gt_prob) for the own, the rest shared evenly.

    Args:
        labels: `[H, W]` uint8 in [0, n_labels), or 255: no belief, all labels alike.
        n_labels: Labels in all.
        gt_prob: Belief in the given label, in (0, 1).

    Returns:
        `[n_labels, H, W]` float32; zeros for one label.
    """
    if n_labels < 2:
        return np.zeros((n_labels, *labels.shape), np.float32)
    unary = np.full((n_labels, *labels.shape), -np.log((1.0 - gt_prob) / (n_labels - 1)), np.float32)
    for label in range(n_labels):
        unary[label][labels == label] = -np.log(gt_prob)
    unary[:, labels == UNSURE] = np.log(n_labels)
    return unary


def refine_scores(image: Image, scores: npt.NDArray[Any], params: CRFParams) -> Floats:
    """Return the refined distribution of soft scores.

    Args:
        image: `[H, W, 3]` uint8.
        scores: `[L, H, W]` float in [0, 1].
        params: Kernels and iterations.

    Returns:
        Q `[L, H, W]` float32, sum 1 over L.
    """
    return Lattice(image, len(scores), params).refine(unary_of_scores(scores))


def refine_labels(image: Image, mask: Mask, params: CRFParams) -> Mask:
    """Return a mask snapped to the edges; only the labels that it holds compete.

    Args:
        image: `[H, W, 3]` uint8.
        mask: `[H, W]` uint8 labels; 255 has no belief of its own and takes the label that
            wins it.
        params: Kernels, iterations and `gt_prob`.

    Returns:
        `[H, W]` uint8 with the labels of `mask`, 255 only where `mask` holds nothing else.
    """
    values = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=256)).astype(np.uint8)
    labels = values[values != UNSURE]
    if not len(labels):
        return mask.copy()
    places = np.full(256, UNSURE, np.uint8)
    places[labels] = np.arange(len(labels))
    unary = unary_of_labels(places[mask], len(labels), params.gt_prob)
    return np.asarray(labels[Lattice(image, len(labels), params).refine(unary).argmax(axis=0)], np.uint8)


def crf_label(image: Image, maps: Floats, classes: Sequence[int], rule: Rule, params: CRFParams) -> Mask:
    """Return the mask of a label rule, refined; only the classes of the maps compete.

    With `unary = labels` the field starts from the rule's hard mask, believed with
    `gt_prob`; with `unary = scores` from the rule's background score and the maps.

    A rule with an ignore band gives two starts, one at each limit, refined on one lattice
    and joined as the papers do. From labels (IRN): a class where the sure side has one,
    background where both have none, else unsure. From scores (PSA): as IRN's, but where
    only the sure side has a class, the background of the possible side wins.

    Args:
        image: `[H, W, 3]` uint8.
        maps: `[K, H, W]` float32 in [0, 1].
        classes: Class index (0-based) of each map; without any all is background.
        rule: The background rule and its ignore band.
        params: Kernels, iterations and the kind of start.

    Returns:
        `[H, W]` uint8: 0 background, class index + 1, 255 unsure.
    """
    height, width = image.shape[:2]
    if maps.shape != (len(classes), height, width):
        raise ValueError(f"maps {maps.shape} for {len(classes)} classes and an image of {height}x{width} px")
    if not classes:
        return np.zeros((height, width), np.uint8)
    best = np.asarray(maps.max(axis=0), np.float32)
    lattice = Lattice(image, len(maps) + 1, params)
    refined = []
    for side in rule.sides():
        if params.unary == "labels":
            hard = np.where(best > side.threshold(), maps.argmax(axis=0) + 1, 0).astype(np.uint8)
            unary = unary_of_labels(hard, len(maps) + 1, params.gt_prob)
        else:
            unary = unary_of_scores(np.concatenate([side.scores(best)[None], maps]))  # [1 + K, H, W]
        refined.append(lattice.refine(unary).argmax(axis=0))
    values = np.array([0, *(c + 1 for c in classes)], np.uint8)
    masks = [values[winner] for winner in refined]
    if len(masks) == 1:
        return np.asarray(masks[0], np.uint8)
    return join_sides(masks[0], masks[1], strict=params.unary == "scores")


def join_sides(sure: Mask, possible: Mask, *, strict: bool) -> Mask:
    """Join the mask that is sure of its foreground with the one that is sure of its background.

    Args:
        sure, possible: `[H, W]` uint8 labels.
        strict: Where only `sure` has a class: background (PSA's joining) instead of the
            class (IRN's).

    Returns:
        `[H, W]` uint8; 255 where `sure` is background and `possible` is not.
    """
    joined = np.where((sure == 0) & (possible > 0), np.uint8(UNSURE), sure)
    if strict:
        joined[possible == 0] = 0
    return np.asarray(joined, np.uint8)


def _softmax(energies: Floats) -> Floats:
    """Return the softmax over the labels, `[U, L, N]`, of `[U, L-1, N]` logits against label 0."""
    q = np.empty((energies.shape[0], energies.shape[1] + 1, energies.shape[2]), np.float32)
    top = np.maximum(energies.max(axis=1, keepdims=True), 0)  # [U, 1, N]
    np.subtract(energies, top, out=q[:, 1:])
    np.negative(top, out=q[:, :1])
    np.exp(q, out=q)
    q /= q.sum(axis=1, keepdims=True)
    return q


def _matrix(shape: tuple[int, ...]) -> Any:
    # stepInference of the library writes into what it is given, but lets only a matrix that had
    # its size from the start be read.
    return _densecrf().eigen.matrixXf(np.zeros(shape, np.float32))


def _field(image: Image, channels: int, params: CRFParams, scale: float) -> Any:
    height, width = image.shape[:2]
    field = _densecrf().DenseCRF2D(width, height, channels)
    # A kernel of weight 0 costs as much as any other and adds nothing.
    if params.positional_weight > 0:
        field.addPairwiseGaussian(sxy=params.positional_sxy * scale, compat=params.positional_weight)
    if params.bilateral_weight > 0:
        field.addPairwiseBilateral(
            sxy=params.bilateral_sxy * scale,
            srgb=params.bilateral_srgb,
            rgbim=np.require(image, requirements=["C", "W"]),
            compat=params.bilateral_weight,
        )
    return field


def _densecrf() -> Any:
    try:
        import pydensecrf.densecrf as densecrf
    except ImportError as error:
        raise UserError(
            f"The dense CRF cannot be loaded: {error}.",
            "It comes with the package pydensecrf2, which is compiled when it is installed.",
            "Install a C++ compiler (Debian: apt-get install g++), then: pip install pydensecrf2.",
        ) from None
    return densecrf
