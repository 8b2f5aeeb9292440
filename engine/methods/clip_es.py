"""Ask a frozen CLIP where the words of an image's tags are, against words of the background, and spread each map over what it attends to.

Citation:

Lin, Chen, Wang, Wu, Li, Lin, Liu, He. CLIP is Also an Efficient Segmenter: A Text-Driven Approach for Weakly
Supervised Semantic Segmentation. CVPR 2023. CLIP: Radford et al., Learning Transferable Visual Models From Natural
Language Supervision, ICML 2021.

Departs from the paper:

- The paper trains nothing and neither do our maps. Training fits only the line from CLIP's likeness to the score of a tag, 1 + C numbers that start where CLIP alone puts them; epochs=1 is enough for maps.
- Words of classes other than VOC's and COCO's are their names (words); background words by which a class is called are left out, which gives the paper's second list on COCO.
- Maps come from the gradient of the log-odds, which is that of the softmax times a positive number and does not vanish where CLIP is sure; after division by the peak they are the same.
- The image's vector under the gradient is the mean of its patches, as in the released code (pool = patches); CLIP was trained by its class token (pool = class).
- Boxes reach the border of the image; the released code leaves out its last row and column.
- Larger images are shrunk to 640 px first (longest); the attention of a patch to all others grows with the square of their number.
- The paper's background is 1 - max (a rule of the label job), its CRF a step of its own.

Look at:

- The map before and after it is spread (refine): where the attention leaks to another object, raise box.
- Things that come with the object, tracks under a train or water under a boat: they need a background word.
- A class whose name is short or has two meanings: give it better words.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine import losses, maps
from engine.class_maps import Cell, PredictedAbove, Shot, check_scales, wanted_classes
from engine.errors import UserError
from engine.method import Batch, Clock, Losses, Method
from engine.nets.catalogue import Published
from engine.nets.clip_maps import balanced, box_mask, refined, stretched, whole_cells
from engine.nets.clip_net import ClipNet
from engine.nets.clip_tower import TINY, VIT_B_16, Seen
from engine.nets.clip_words import (
    BACKGROUND,
    kept_background,
    read_words,
    text_vectors,
    whole_clip,
    words_of,
)
from engine.nets.input import resized
from engine.nets.weights import Weights, load_strictly
from engine.params import Spec
from engine.results import CamStack

__all__ = ["METHOD", "ClipEs", "Params", "Views"]

if importlib.util.find_spec("open_clip") is None:
    raise ImportError(
        "open_clip, which reads the words, is not installed; `pip install 'wsss-napari[clip]'` installs it"
    )


@dataclass(frozen=True)
class Params:
    """What CLIP is asked for."""

    pretrained: Annotated[
        bool,
        Spec(
            "Take OpenAI's CLIP (ViT-B/16, 600 MB). false: a tiny one of random numbers, to try the way; its maps mean "
            "nothing.",
            main=True,
        ),
    ] = True
    prompt: Annotated[str, Spec("Sentence that a word is put into, in place of {}.", main=True)] = (
        "a clean origami {}."
    )
    words: Annotated[
        str,
        Spec(
            "What classes are called where their names are not best: person = people, human; bird = bird avian. Classes "
            "of VOC and COCO have the paper's words unless they stand here.",
            main=True,
        ),
    ] = ""
    background: Annotated[
        str,
        Spec(
            "Words of what is no class, separated by commas; each class must stand out against all of them."
        ),
    ] = BACKGROUND

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}, "code": {}, "engine": {}}

    def __post_init__(self) -> None:
        if self.prompt.count("{}") != 1:
            raise UserError(
                f"prompt = '{self.prompt[:80]}' has no place for a word, or several.",
                "A sentence with {} where the word goes.",
                "The default is 'a clean origami {}.'.",
            )
        read_words(self.words)
        if not self.behind:
            raise UserError(
                "background names no word.",
                "At least one: a class is found against them.",
                "Leave the setting away to take the paper's words.",
            )

    @property
    def behind(self) -> tuple[str, ...]:
        """The background words, each once."""
        return tuple(dict.fromkeys(w.strip() for w in self.background.split(",") if w.strip()))


@dataclass(frozen=True)
class Views:
    """How the maps are drawn."""

    refine: Annotated[
        bool, Spec("Spread each map over what its patches attend to (CAA), or show it as it is.", main=True)
    ] = True
    box: Annotated[
        float,
        Spec(
            "Only patches in boxes around regions over this part of the peak are spread; the paper takes 0.7 on COCO.",
            low=0,
            high=0.99,
            main=True,
        ),
    ] = 0.4
    blocks: Annotated[
        int, Spec("Last blocks whose attention is averaged.", low=1, high=12, unit="blocks")
    ] = 8
    squares: Annotated[
        int, Spec("How often the attention is multiplied with itself before a map is spread.", low=0, high=4)
    ] = 1
    pool: Annotated[
        Literal["patches", "class"],
        Spec(
            "What stands for the image under the gradient: the mean of its patches, as in the released code, or the "
            "class token."
        ),
    ] = "patches"
    scales: Annotated[
        tuple[float, ...],
        Spec(
            "Image scales whose maps are added up; time grows with the sum of their fourth powers.",
            low=0.25,
            high=2,
            unit="x",
            main=True,
        ),
    ] = (1.0,)
    flip: Annotated[bool, Spec("Add the map of the mirror image too; doubles the time.", main=True)] = False
    classes: Annotated[
        Literal["present", "predicted", "all"],
        Spec(
            "Draw the tags that are present, the classes that CLIP finds, or all; those drawn compete with each other.",
            main=True,
        ),
    ] = "present"
    predicted_above: PredictedAbove = 0.5
    longest: Annotated[
        int,
        Spec(
            "Larger images are shrunk to this long side before they are scaled.", low=64, high=1024, unit="px"
        ),
    ] = 640
    cell: Cell = 4

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "code": {},
        "coco": {"box": 0.7},
        "engine": {},
    }

    def __post_init__(self) -> None:
        check_scales(self.scales)


class ClipEs(Method[Params, Views]):
    """M_c = T (box * relu(sum_d w_d A_d)): softmax-GradCAM, spread by the attention of the last blocks."""

    TITLE = "Words (CLIP-ES)"
    NEEDS = ("tags", "class names that mean something")
    Params = Params
    Views = Views

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.size = VIT_B_16 if params.pretrained else TINY
        # Both halves, from where they are loaded until the words are read.
        self._whole: nn.Module | None = None
        self._left_out: tuple[str, ...] = ()

    def pretrained(self) -> Published | None:
        return self.size.published

    def build(self, classes: int, weights: Weights | None = None) -> ClipNet:
        net = ClipNet(self.size, classes, len(self.params.behind))
        if weights is None and self.params.pretrained:
            return net  # about to be loaded from a run, which has its words
        self._whole = whole_clip(self.size)
        if weights is not None:
            net.backbone.loaded = load_strictly(self._whole, weights, ())
            net.backbone.prep = net.backbone.prep.with_overrides(weights.prep)
        net.tower.net.load_state_dict(self._whole.visual.state_dict())
        net.sharpness.copy_(self._whole.logit_scale.detach().exp())
        return net

    def named(self, net: nn.Module, classes: Sequence[str]) -> None:
        """Read the words of the classes and of the background; afterwards the words' half of CLIP is not needed.

        Raises:
            UserError: `words` names no class, or a class is called by every background word.
        """
        assert isinstance(net, ClipNet) and self._whole is not None
        p = self.params
        words = words_of(classes, read_words(p.words))
        kept = kept_background(p.behind, [*classes, *words])
        self._left_out = tuple(w for w, stays in zip(p.behind, kept, strict=True) if not stays)
        if not any(kept):
            raise UserError(
                "Classes are called by every background word, so none of them is left.",
                "At least one word of what is no class.",
                "Add other words: --set background=ground,sky,wall.",
            )
        vectors = text_vectors(self._whole, [p.prompt.replace("{}", w) for w in (*words, *p.behind)])
        net.words.copy_(vectors[: len(words)])
        net.behind.copy_(vectors[len(words) :])
        net.kept.copy_(torch.tensor(kept))
        self._whole = None

    def remarks(self, states: NDArray[np.int8]) -> tuple[str, ...]:
        if not self._left_out:
            return ()
        words = ", ".join(self._left_out)
        return (f"These background words are left out, for classes are called so: {words}.",)

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        scores = net(batch.images)
        known = torch.as_tensor(batch.known, dtype=scores.dtype, device=scores.device)
        return {"tags": losses.plain(scores, batch.targets, known=known, world=batch.world)}

    def infer(self, net: nn.Module, shots: Sequence[Shot], views: Views) -> Iterator[tuple[str, CamStack]]:
        assert isinstance(net, ClipNet)
        size = (int(shots[0].pixels.shape[0]), int(shots[0].pixels.shape[1]))
        pixels = torch.from_numpy(np.stack([s.pixels for s in shots])).to(net.words.device)
        pixels = pixels.permute(0, 3, 1, 2)  # [B, 3, H, W]
        patch = net.tower.patch
        scores: Tensor | None = None
        wanted: list[list[int]] = []
        drawn: list[int] = []
        total: Tensor | None = None
        peaks = np.zeros((len(shots), len(net.words)), np.float32)
        # The scale nearest to 1 first: it gives the scores, which may choose the classes, and the peaks.
        for scale in sorted(views.scales, key=lambda s: abs(s - 1)):
            scaled = whole_cells(size, scale, views.longest, patch)
            images = net.backbone.prep.normalise(resized(pixels, scaled).float() / 255)  # [B, 3, h, w]
            if views.flip:
                images = torch.cat([images, images.flip(3)])  # [2B, 3, h, w]
            seen = net.tower.look(images, views.blocks if views.refine else 0)
            first = scores is None
            if scores is None:
                scores = self.probabilities(net.scores(seen)).unflatten(0, (-1, len(shots))).mean(0)  # [B, C]
                wanted = [wanted_classes(s.tags, scores[n], views) for n, s in enumerate(shots)]
                drawn = sorted(set().union(*wanted))
                if not drawn:
                    break
            found = net.grad_cams(seen, wanted * (len(images) // len(shots)), views.pool)
            if first:
                for n, raw in enumerate(found[: len(shots)]):
                    peaks[n, wanted[n]] = raw.amax((1, 2)).cpu().numpy()
            heat = images.new_zeros(len(images), len(drawn), *seen.grid)
            for n, raw in enumerate(found):
                rows = [drawn.index(c) for c in wanted[n % len(shots)]]
                heat[n, rows] = _spread(raw, seen, n, views)
            total = maps.on_grid(
                total,
                heat.split(len(shots)),
                size,
                scaled,
                stride=patch,
                centre=net.backbone.cell_centre,
                cell=views.cell,
                official=False,
            )
        assert scores is not None
        grid = maps.grid_size(size, views.cell)
        for n, shot in enumerate(shots):
            rows = [drawn.index(c) for c in wanted[n]]
            fused = torch.zeros(0, *grid) if total is None else maps.normalise(total[n, rows])[0]
            yield (
                shot.stem,
                CamStack(
                    image=shot.stem,
                    size=size,
                    classes=tuple(wanted[n]),
                    maps=fused.cpu().numpy().astype(np.float16),
                    peaks=peaks[n, wanted[n]],
                    cell=float(views.cell),
                    origin=0.0,
                    scores=scores[n].float().cpu().numpy().astype(np.float32),
                    facts={"kind": "refined" if views.refine else "gradcam", "classes": views.classes},
                ),
            )


def _spread(raw: Tensor, seen: Seen, row: int, views: Views) -> Tensor:
    """Return the maps [K, h, w] in [0, 1] of one image, spread over what its patches attend to where asked for."""
    heat = stretched(raw)
    if seen.attention is None or not len(heat):
        return heat
    return stretched(refined(heat, balanced(seen.attention[row]), box_mask(heat, views.box), views.squares))


METHOD = ClipEs
