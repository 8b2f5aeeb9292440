"""Compare each image with prototypes of its classes that other confident images left behind, and train both maps to agree.

Citation:

Tang, Xu, Qu, Feng, Jiang, Ge. Hunting Attributes: Context Prototype-Aware Learning for Weakly
Supervised Semantic Segmentation. CVPR 2024. No code was released; what its appendix leaves open follows
Chen, Yang, Lai, Xie, Self-supervised Image-specific Prototype Exploration (SIPE), CVPR 2022, or is ours.

Departs from the paper:

- Reconstructed: the width and form of the embedding (embed, dim), the background (complement of the best class), the order of choosing and weighing neighbours (select), the temperature of the weights, and where the first prototypes come from (first).
- Seeds are cut at 0.3 of the peak and the self-supervised loss waits for the first tenths of the training (tau, begin): on photographs 0.3 drew better maps than the paper's 0.2. Without ImageNet weights waiting is not enough: both maps come to agree on the background all the same, unless the loss is small and moves the classifier's map alone (weight = 0.05, detach).
- The shift follows a running mean of the prototypes (shift = ema): the printed mean of the mini-batch erases the image wherever it shows its class alone (shift = literal).
- The bank keeps rows as they were before the shift; shifted ones would hold it where it began.
- Prototypes are clustered by direction, as everything they are compared by is a cosine.
- Over another method (maps = RUN): the appendix says no more than that it is a plug-in. Its maps, as they were drawn, take the place of the classifier's in eq. 4 and eq. 14 and stay as they are; the classifier only opens the gate of the bank.
- Trained with AdamW (optimiser = auto), whatever the preset; the paper uses SGD, by poly decay in its text and by cosine in its algorithm.

Look at:

- The prototype-aware map beside the plain one: it should reach the parts that the classifier does not need.
- How full the bank is and how often images pass the gate: an empty bank teaches nothing.
- Classes that are always seen together: their prototypes come to look alike.
- Old rows of the bank: where few images pass many times, they tell of a network that is no more, and neighbours of one sort come to hold others. A bank of the newest rows (length and clusters of 200, say) held purer ones on drawn images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import prototypes
from engine.class_maps import Alignment, Cell, PredictedAbove, Seen, Shot, check_scales, fused_maps, host_maps
from engine.compute import gathered
from engine.errors import UserError
from engine.method import Batch, ClassifierMethod, ClassifierParams, Clock, Losses
from engine.nets.bank import Entries
from engine.nets.prototype_net import PrototypeNet
from engine.nets.weights import Weights
from engine.params import Spec
from engine.prototypes import Mode
from engine.results import CamStack, ClusterRound, image_key
from engine.store import Run

__all__ = ["METHOD", "Cpal", "Params", "Views"]

_OURS = "Reconstructed, not stated in the paper."
_EPSILON = 1e-5


@dataclass(frozen=True)
class Params(ClassifierParams):
    """Parameters of the training: the classifier's own, the bank and what is done with it."""

    bank: Annotated[
        Literal["context", "image", "off"],
        Spec(
            "Which prototypes draw the second map: those of the bank, the image's own alone (SIPE's step), or none "
            "(plain CAM training).",
            main=True,
        ),
    ] = "context"
    weight: Annotated[
        float, Spec("Weight of the self-supervised loss (eq. 1).", low=0, high=100, main=True)
    ] = 1.0
    begin: Annotated[
        float,
        Spec(
            "Part of the training after which the self-supervised loss counts: a classifier's first maps "
            f"teach little. {_OURS}",
            low=0,
            high=0.9,
        ),
    ] = 0.15
    alpha: Annotated[
        float, Spec("Score from which an image enters the bank (appendix B).", low=0, high=1, main=True)
    ] = 0.8
    tau: Annotated[
        float,
        Spec(
            "Part of its peak above which a map seeds the image's prototype (eq. 4).",
            low=0,
            high=0.99,
            main=True,
        ),
    ] = 0.3
    neighbours: Annotated[
        int, Spec("Soft positive neighbours K of an image (eq. 6).", low=1, high=1000, main=True)
    ] = 20
    clusters: Annotated[int, Spec("Prototypes of a class (eq. 5).", low=1, high=1000)] = 50
    length: Annotated[
        int, Spec("Rows of the bank for each class (appendix B).", low=1, high=20000, unit="rows")
    ] = 1000
    positiveness: Annotated[
        bool, Spec("Weigh the neighbours by learnt positiveness (eq. 7), or all alike.")
    ] = True
    temperature: Annotated[
        float,
        Spec(f"Divides the products of the positiveness; cosines at 1 are nearly flat. {_OURS}", low=1e-3),
    ] = 0.1
    select: Annotated[
        Literal["cos", "positiveness"],
        Spec(
            f"What neighbours are chosen by: likeness, as in the text, or weight, as in its algorithm. {_OURS}"
        ),
    ] = "cos"
    shift: Annotated[
        Literal["ema", "literal", "shrink", "off"],
        Spec(
            "How instance features are moved onto the bank's mean (eq. 12): from a running mean of prototypes, from the "
            f"mini-batch as printed, that shortened by (m - 1) / m for m images, or not. ema, shrink: {_OURS.lower()}"
        ),
    ] = "ema"
    draw: Annotated[
        Literal["mean_cos", "cos_mean", "max_cos"],
        Spec(
            "How neighbours make one map: weighted mean of cosines, cosine to their mean (the same after division by the "
            f"peak), or the best of them. {_OURS}"
        ),
    ] = "mean_cos"
    first: Annotated[
        Literal["mid", "epoch"],
        Spec(
            "First prototypes: as soon as max(K, a tenth of the rows) came in, or at the second epoch's start. "
            f"{_OURS}"
        ),
    ] = "mid"
    embed: Annotated[
        Literal["hier", "linear"],
        Spec(f"Embedding: layers on four stages joined (SIPE), or one on the last. {_OURS}"),
    ] = "hier"
    dim: Annotated[int, Spec(f"Width of the embedding. {_OURS}", low=8, high=4096)] = 768
    detach: Annotated[
        bool, Spec(f"Keep the self-supervised loss from moving the prototype-aware map itself. {_OURS}")
    ] = False
    maps: Annotated[
        str | None,
        Spec(
            "Maps that seed the prototypes, RUN or RUN/VIEWS of any method (amn, say): they stay as they are, and what "
            f"draws the second map learns from them. none: the classifier's own. {_OURS}",
            picks="run",
        ),
    ] = None
    claim: Annotated[
        float, Spec(f"Weight of the objective of Claim 1 as a loss of its own. {_OURS}", low=0, high=100)
    ] = 0.0

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"backbone": "resnet50", "shift": "literal", "begin": 0.0, "tau": 0.2},
        "coco": {
            "backbone": "resnet50",
            "length": 2000,
            "clusters": 60,
            "neighbours": 25,
            "shift": "literal",
            "begin": 0.0,
            "tau": 0.2,
        },
        "engine": {},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours > self.clusters:
            raise UserError(
                f"neighbours = {self.neighbours} is more than clusters = {self.clusters}.",
                "At most all prototypes of a class can be neighbours.",
                "Lower neighbours or raise clusters.",
            )
        if self.maps and (self.bank == "off" or self.detach):
            chosen = "bank = off" if self.bank == "off" else "detach = true"
            raise UserError(
                f"{chosen} leaves nothing to learn from maps = {self.maps}.",
                "Maps of another run stay as they are; only the prototype-aware map can come nearer to them.",
                "Leave one of the two out.",
            )


@dataclass(frozen=True)
class Views:
    """How the maps of a trained network are drawn."""

    map: Annotated[
        Literal["pacam", "cam", "both"],
        Spec(
            "Which map: prototype-aware, the one that seeds the prototypes (the classifier's, or that of another run), "
            "or the mean of both.",
            main=True,
        ),
    ] = "pacam"
    scales: Annotated[
        tuple[float, ...],
        Spec("Image scales whose maps are added up.", low=0.1, high=4, unit="x", main=True),
    ] = (1.0, 0.5, 1.5)
    flip: Annotated[bool, Spec("Add the map of the mirror image too; doubles the time.", main=True)] = True
    classes: Annotated[
        Literal["present", "predicted", "all"],
        Spec("Draw the tags that are present, the classes that the network predicts, or all.", main=True),
    ] = "present"
    predicted_above: PredictedAbove = 0.5
    alignment: Alignment = "centred"
    cell: Cell = 4

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"scales": (0.5, 1.0, 1.5, 2.0), "alignment": "official"},
        "engine": {},
    }

    def __post_init__(self) -> None:
        check_scales(self.scales)


class _Pairs(NamedTuple):
    """Images and the classes they show: rows [R], classes [R] int64, maps [R, h, w] in [0, 1]."""

    rows: Tensor
    classes: Tensor
    maps: Tensor


class Cpal(ClassifierMethod[Params, Views]):
    """PACAM_n = relu(sum_i w_i cos(z + delta_n, p_i)) over the K neighbours p_i of the image's own prototype."""

    TITLE = "Context prototypes (CPAL)"
    Params = Params
    Views = Views

    def host(self) -> str:
        return self.params.maps or ""

    def build(self, classes: int, weights: Weights | None = None) -> PrototypeNet:
        p = self.params
        plain = super().build(classes, weights)
        net = PrototypeNet(
            plain.backbone, classes, kind=p.embed, dim=p.dim, length=p.length, prototypes=p.clusters
        )
        net.head = plain.head  # of the same random numbers as a plain classifier's
        idle = {
            "off": (net.embedding, net.of_instance, net.of_prototype),
            "image": (net.of_instance, net.of_prototype),
        }
        for part in idle.get(p.bank, ()):
            part.requires_grad_(False)
        return net

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        assert isinstance(net, PrototypeNet)
        p = self.params
        self._entries: Entries | None = None
        self._round: ClusterRound | None = None
        if p.bank == "off":
            return super().training_step(net, batch, clock)
        features, z = net.both(batch.images)
        scores = net.scores(features)
        losses = {"tags": self.tag_loss(scores, batch)}
        inside = _inside(batch.images, features)  # [B, h, w]
        pairs = self._pairs(
            net.maps(features) if batch.maps is None else batch.maps, batch.targets > 0, inside
        )
        zero = sum(v.sum() * 0 for v in (z, net.of_instance.weight, net.of_prototype.weight))
        if not len(pairs.rows):
            return losses | {"self": zero}
        seeds = pairs.maps.detach() > p.tau  # [R, h, w]
        raw = prototypes.masked_means(z, pairs.rows, seeds)  # [R, D]
        if p.bank == "context":
            self._cluster(net, clock)
            self._entries = self._confident(batch, scores, pairs, seeds, raw)
        drawn, ready, claim = self._draw(net, z, pairs, raw)
        kept = pairs.maps * ready[:, None, None]
        loss = _disagreement(kept, drawn.detach() if p.detach else drawn, pairs.rows, inside)
        # The mean over classes, background and cells, and over the images of all ranks that have a tag.
        share = batch.world / max(1, batch.named) / ((batch.targets.shape[1] + 1) * inside[0].numel())
        weight = p.weight if clock.fraction >= p.begin else 0.0
        losses["self"] = weight * share * loss + zero
        if p.claim:
            losses["claim"] = p.claim * batch.world / max(1, batch.named) * claim + zero
        return losses

    def after_step(self, net: nn.Module, clock: Clock) -> None:
        """Let the confident prototypes of the step, of all ranks, into the bank."""
        assert isinstance(net, PrototypeNet)
        if self.params.bank != "context":
            return
        entries = self._entries if self._entries is not None else _no_entries(net)
        entries = Entries(*gathered(entries))
        if len(entries.keys):
            net.bank.push(entries, clock.step)

    def keep(self, run: Run) -> None:
        if self._round is not None:
            self._round.save(run.rounds)

    def infer(self, net: nn.Module, shots: Sequence[Shot], views: Views) -> Iterator[tuple[str, CamStack]]:
        assert isinstance(net, PrototypeNet)

        def see(images: Tensor) -> Seen:
            features, z = net.both(images)

            def draw(classes: list[int]) -> Tensor:
                given = host_maps(shots, classes, images, net.backbone) if self.params.maps else None
                return self._look(net, features, z, classes, views.map, given)

            return net.scores(features), draw

        context = self.params.bank == "context"
        counts = net.bank.count.tolist()
        for stem, stack in fused_maps(net, shots, views, see, self.probabilities, {"kind": views.map}):
            # Drawn from the image's own prototype: no confident image left one behind.
            lacking = [c for c in stack.classes if context and not counts[c]]
            stack.facts["without_prototypes"] = lacking
            yield stem, stack

    def _look(
        self,
        net: PrototypeNet,
        features: Tensor,
        z: Tensor,
        classes: list[int],
        which: str,
        given: Tensor | None = None,
    ) -> Tensor:
        """Return the chosen maps [B, K, h, w] of some classes, seeded by given ones or by the classifier's own."""
        plain = net.maps(features)[:, classes] if given is None else given
        if which == "cam" or self.params.bank == "off":
            # Not divided by their peaks: scales add up as those of a CAM do.
            return plain.relu()
        every = torch.ones(plain.shape[:2], dtype=torch.bool, device=plain.device)
        pairs = self._pairs(plain, every, torch.ones_like(plain[:, 0], dtype=torch.bool))
        found = torch.zeros_like(plain)
        if not len(pairs.rows):
            return found
        named = pairs._replace(classes=torch.tensor(classes, device=plain.device)[pairs.classes])
        raw = prototypes.masked_means(z, pairs.rows, pairs.maps > self.params.tau)
        drawn, ready, _ = self._draw(net, z, named, raw)
        alone = prototypes.prototype_maps(z, pairs.rows, raw[:, None], torch.ones_like(raw[:, :1]))
        drawn = torch.where(ready[:, None, None], drawn, _by_peak(alone))
        found[pairs.rows, pairs.classes] = (drawn + pairs.maps) / 2 if which == "both" else drawn
        return found

    def _pairs(self, found: Tensor, shown: Tensor, inside: Tensor) -> _Pairs:
        """Return the pairs of images and classes to show whose map seeds a prototype.

        Args:
            found: [B, C, h, w] float, maps of the classifier before their ReLU, or of another run.
            shown: [B, C] bool.
            inside: [B, h, w] bool, cells that are not padding.
        """
        at = torch.nonzero(shown)
        chosen = found[at[:, 0], at[:, 1]].relu() * inside[at[:, 0]]  # [R, h, w]
        # Maps of another run were divided by their peak in the whole image: a crop beside the object has no seed.
        lit = torch.nonzero(chosen.detach().amax((1, 2)) > (self.params.tau if self.params.maps else 0))[:, 0]
        return _Pairs(at[lit, 0], at[lit, 1], chosen[lit] if self.params.maps else _by_peak(chosen[lit]))

    def _draw(
        self, net: PrototypeNet, z: Tensor, pairs: _Pairs, raw: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the prototype-aware maps [R, h, w] divided by their peaks, 0 for pairs whose class has no
        prototype yet, which pairs have some [R] bool, and the mean objective of Claim 1."""
        p = self.params
        if p.bank == "image":
            own = torch.ones_like(raw[:, :1])
            drawn = prototypes.prototype_maps(z, pairs.rows, raw[:, None], own)
            return _by_peak(drawn), own[:, 0] > 0, raw.sum() * 0
        counts = net.bank.count[pairs.classes]  # [R]
        ready = counts > 0
        if not ready.any():
            return torch.zeros_like(pairs.maps), ready, raw.sum() * 0
        which = torch.nonzero(ready)[:, 0]
        rows, classes, counts = pairs.rows[which], pairs.classes[which], counts[which]
        shift = self._shift(net, classes, raw[which])  # [R', D]
        shifted = raw[which] if shift is None else raw[which] + shift
        every = net.bank.prototypes[classes]  # [R', N, D]
        if p.select == "cos" or not p.positiveness:
            order, there = prototypes.nearest(shifted, every, counts, p.neighbours)
        else:
            logits = net.weights(shifted, every, p.temperature)
            there = torch.arange(every.shape[1], device=counts.device) < counts[:, None]
            logits = logits.masked_fill(~there, -torch.inf)
            order = logits.argsort(dim=1, descending=True, stable=True)[:, : p.neighbours]
            there = there.gather(1, order)
        chosen = every.gather(1, order[:, :, None].expand(-1, -1, every.shape[2]))  # [R', K, D]
        if p.positiveness:
            weights = prototypes.soft_weights(net.weights(shifted, chosen, p.temperature), there)
        else:
            weights = there / there.sum(1, keepdim=True)
        mode: Mode = p.draw
        drawn = _by_peak(prototypes.prototype_maps(z, rows, chosen, weights, shift, mode))
        full = torch.zeros_like(pairs.maps).index_copy(0, which, drawn)
        objective = prototypes.claim(shifted, chosen, weights.detach()).mean()
        return full, ready, objective

    def _shift(self, net: PrototypeNet, classes: Tensor, raw: Tensor) -> Tensor | None:
        """Return delta of each pair, [R, D], without gradient, or None (eq. 12)."""
        p = self.params
        if p.shift == "off":
            return None
        bank = net.bank.average()[classes]  # [R, D]
        if p.shift == "ema" or not net.training:
            return bank - net.bank.mean[classes]
        with torch.no_grad():
            same = (classes[:, None] == classes).to(raw)  # [R, R]
            size = same.sum(1, keepdim=True)
            delta = bank - same @ raw / size
            return delta * (size - 1) / size if p.shift == "shrink" else delta

    def _cluster(self, net: PrototypeNet, clock: Clock) -> None:
        bank, p = net.bank, self.params
        enough = max(p.neighbours, p.length // 10)
        made = False
        for cls, (epoch, filled) in enumerate(zip(bank.epoch.tolist(), bank.filled.tolist(), strict=True)):
            early = p.first == "mid" and epoch < 0 and filled >= enough
            if filled and epoch < clock.epoch and (clock.epoch > 0 or early):
                bank.cluster(cls, clock.epoch)
                made = True
        if made:
            self._round = bank.round(clock.epoch)

    def _confident(
        self, batch: Batch, scores: Tensor, pairs: _Pairs, seeds: Tensor, raw: Tensor
    ) -> Entries | None:
        """Return the pairs whose score passes the gate, as rows for the bank."""
        with torch.no_grad():
            sure = self.probabilities(scores)[pairs.rows, pairs.classes]  # [R]
            kept = torch.nonzero(sure > self.params.alpha)[:, 0]
            if not len(kept):
                return None
            keys = torch.tensor([image_key(s) for s in batch.stems], device=raw.device)
            weights = seeds[kept].float()  # [M, h, w]
            area = weights.sum((1, 2)).clamp(min=1)
            h, w = weights.shape[1:]
            if batch.places is None:
                rows, columns = ((torch.arange(n, device=raw.device) + 0.5) / n for n in (h, w))
                places = torch.stack([rows[:, None].expand(h, w), columns.expand(h, w)]).expand(
                    len(kept), -1, -1, -1
                )
            else:
                places = batch.places[pairs.rows[kept]]  # [M, 2, h, w]
            centres = (weights[:, None] * places).sum((2, 3)) / area[:, None]
            return Entries(
                keys[pairs.rows[kept]], pairs.classes[kept], raw[kept], sure[kept], area / (h * w), centres
            )


def _by_peak(found: Tensor) -> Tensor:
    return found / (found.amax((1, 2), keepdim=True) + _EPSILON)


def _inside(images: Tensor, features: Tensor) -> Tensor:
    """Return the cells that show some of the picture, [B, h, w] bool: crops are padded with zeros."""
    shown = (images != 0).any(1, keepdim=True).float()
    return F.adaptive_max_pool2d(shown, features.shape[2:])[:, 0] > 0


def _disagreement(plain: Tensor, aware: Tensor, rows: Tensor, inside: Tensor) -> Tensor:
    """Return the sum over classes and cells of |CAM - PACAM|, the background 1 - max among them (eq. 14).

    Args:
        plain, aware: [R, h, w] in [0, 1].
        rows: [R] int64, image of each pair.
        inside: [B, h, w] bool.
    """
    total = ((plain - aware).abs() * inside[rows]).sum()
    for b in rows.unique().tolist():
        own = rows == b
        # 1 - max on both sides: the ones cancel.
        behind = plain[own].amax(0) - aware[own].amax(0)
        total = total + (behind.abs() * inside[b]).sum()
    return total


def _no_entries(net: PrototypeNet) -> Entries:
    rows = net.bank.mean
    long = torch.zeros(0, dtype=torch.int64, device=rows.device)
    none = rows.new_zeros(0)
    return Entries(long, long, rows.new_zeros(0, rows.shape[1]), none, none, rows.new_zeros(0, 2))


METHOD = Cpal
