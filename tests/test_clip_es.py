"""CLIP-ES: the tower against open_clip's, gradients and affinities against their literal forms, scores, words."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UserError
from engine.method import Batch, Clock, Shot
from engine.nets.clip_maps import balanced, box_mask, log_odds, refined, stretched, whole_cells
from engine.nets.clip_net import ClipNet
from engine.nets.clip_tower import TINY, ClipSize, build_tower
from engine.nets.clip_words import (
    BACKGROUND,
    WORDS,
    kept_background,
    read_words,
    whole_clip,
    words_of,
)

VOC = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
]
BEHIND = tuple(w.strip() for w in BACKGROUND.split(","))


@pytest.fixture
def clip_es() -> ModuleType:
    pytest.importorskip("open_clip", reason="open_clip is an optional library (the extra clip)")
    return importlib.import_module("engine.methods.clip_es")


@pytest.fixture
def net() -> ClipNet:
    """A random CLIP with three classes and four background words."""
    torch.manual_seed(0)
    return ClipNet(TINY, 3, 4).eval()


# --- the tower ------------------------------------------------------------------------------------------


def test_the_tower_is_open_clips(clip_es: ModuleType) -> None:
    torch.manual_seed(1)
    whole = whole_clip(TINY)
    tower = build_tower(TINY).eval().trunk
    tower.net.load_state_dict(whole.visual.state_dict())
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        seen = tower.look(pictures, 0)
        found = tower.finish(seen.tokens, tower.blocks[-1].ln_1(seen.tokens), "class")
        torch.testing.assert_close(found, whole.encode_image(pictures), atol=1e-5, rtol=1e-5)
    assert seen.attention is None and seen.grid == (4, 4)


def test_attention_is_the_mean_over_heads_and_the_last_blocks(net: ClipNet) -> None:
    tower, pictures = net.tower, torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        seen = tower.look(pictures, 2)
        tokens, _ = tower._enter(pictures)
        matrices = []
        for block in tower.blocks:
            x = block.ln_1(tokens)
            added, matrix = block.attn(x, x, x, need_weights=True)
            matrices.append(matrix[:, 1:, 1:])
            before, tokens = tokens, tokens + added
            tokens = tokens + block.mlp(block.ln_2(tokens))
    assert seen.grid == (3, 5) and seen.attention.shape == (2, 15, 15)
    torch.testing.assert_close(seen.tokens, before, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen.attention, torch.stack(matrices[-2:]).mean(0), atol=1e-6, rtol=1e-5)
    # More blocks than there are: all of them.
    with torch.no_grad():
        every = tower.look(pictures, 8).attention
    torch.testing.assert_close(every, torch.stack(matrices).mean(0), atol=1e-6, rtol=1e-5)


def test_the_last_tap_is_the_map_and_positions_stretch(net: ClipNet) -> None:
    pictures = torch.randn(1, 3, 40, 70)
    with torch.no_grad():
        taps = net.backbone.taps(pictures)
        assert torch.equal(list(taps.values())[-1], net.backbone(pictures)) and len(taps) == 3
        assert taps["block0"].shape == (1, 32, 3, 5)
        net.tower.net.positional_embedding[1:] = torch.arange(4.0).repeat(4)[:, None]
        spread = net.tower._positions((2, 8))[1:, 0].unflatten(0, (2, 8))
    expected = F.interpolate(
        torch.arange(4.0).expand(1, 1, 4, 4), (2, 8), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(spread, expected[0, 0])


# --- maps ---------------------------------------------------------------------------------------------


def literal_cam(net: ClipNet, seen: Any, cls: int, among: list[int], pool: str) -> Tensor:
    """The map by the gradient of the softmax itself, in double precision, through torch's own attention."""
    block, visual = net.tower.blocks[-1], net.tower.net
    leaf = block.ln_1(seen.tokens).detach().requires_grad_()
    x = seen.tokens + block.attn(leaf, leaf, leaf, need_weights=False)[0]
    x = visual.ln_post(x + block.mlp(block.ln_2(x)))
    vector = F.normalize((x[:, 0] if pool == "class" else x[:, 1:].mean(1)) @ visual.proj, dim=1)
    words = torch.cat([net.words[among], net.behind[net.kept]])
    share = (net.sharpness * vector @ words.T).softmax(1)[0, among.index(cls)]
    (g,) = torch.autograd.grad(share, leaf)
    return (leaf[0, 1:] @ g[0, 1:].mean(0)).relu().detach().unflatten(0, seen.grid)


@pytest.mark.parametrize("pool", ["patches", "class"])
def test_maps_are_softmax_grad_cams_up_to_a_factor(net: ClipNet, pool: str) -> None:
    net.double().sharpness.fill_(20.0)
    net.kept[2] = False
    with torch.no_grad():
        seen = net.tower.look(torch.randn(2, 3, 48, 64).double(), 0)
    found = net.grad_cams(seen, [[0, 2], [1]], pool)
    assert [f.shape for f in found] == [(2, 3, 4), (1, 3, 4)]
    for n, k, cls, among in ((0, 0, 0, [0, 2]), (0, 1, 2, [0, 2]), (1, 0, 1, [1])):
        one = seen._replace(tokens=seen.tokens[n : n + 1])
        wanted = literal_cam(net, one, cls, among, pool)
        assert wanted.max() > 0
        torch.testing.assert_close(
            found[n][k] / found[n][k].max(), wanted / wanted.max(), atol=1e-9, rtol=1e-7
        )


def test_a_class_that_clip_is_sure_of_keeps_its_map(net: ClipNet) -> None:
    with torch.no_grad():
        seen = net.tower.look(torch.randn(1, 3, 64, 64), 0)
        normed = net.tower.blocks[-1].ln_1(seen.tokens)
        vector = F.normalize(net.tower.finish(seen.tokens, normed, "patches"), dim=1)
        net.words[0] = F.normalize(vector[0] + 0.1 * torch.randn(16), dim=0)
        likeness = vector[0] @ torch.cat([net.words[:1], net.behind]).T
        net.sharpness.copy_(20 / (likeness[0] - likeness[1:].max()))
        z = net.likeness(vector)[0, [0, *range(3, 7)]]
    assert float(z.softmax(0)[0]) == 1, "single precision does not tell it from certainty"
    (found,) = net.grad_cams(seen, [[0]], "patches")
    net.double()
    wanted = literal_cam(net, seen._replace(tokens=seen.tokens.double()), 0, [0], "patches")
    assert wanted.max() > 0
    ours = found[0].double()
    torch.testing.assert_close(ours / ours.max(), wanted / wanted.max(), atol=1e-3, rtol=1e-3)


def test_log_odds_leave_out_what_counts_not() -> None:
    z = torch.tensor([[1.0, 2.0, -torch.inf, 0.5]], requires_grad=True)
    p = z.softmax(1)[0, 1]
    found = log_odds(z, torch.tensor([1]))
    torch.testing.assert_close(found[0], (p / (1 - p)).log())
    found.sum().backward()
    assert torch.isfinite(z.grad).all() and z.grad[0, 2] == 0 and z.grad[0, 1] == 1


def test_only_classes_of_the_image_and_background_words_compete(net: ClipNet) -> None:
    with torch.no_grad():
        seen = net.tower.look(torch.randn(1, 3, 64, 64), 0)
        before = net.grad_cams(seen, [[0]], "patches")[0]
        net.words[1] = F.normalize(torch.randn(16), dim=0)
        assert torch.equal(net.grad_cams(seen, [[0]], "patches")[0], before), "a class that is not there"
        rival = net.grad_cams(seen, [[0, 1]], "patches")[0][:1]
        net.behind[0] = F.normalize(torch.randn(16), dim=0)
        against = net.grad_cams(seen, [[0]], "patches")[0]
    for other in (rival, against):
        assert not torch.allclose(stretched(other), stretched(before), atol=1e-3)


def test_the_affinity_is_the_literal_one() -> None:
    torch.manual_seed(2)
    attention = torch.rand(12, 12).softmax(1).double()
    s = attention
    for _ in range(3):
        s = s / s.sum(0, keepdim=True)
        s = s / s.sum(1, keepdim=True)
    s = (s + s.T) / 2
    torch.testing.assert_close(balanced(attention), s)
    assert torch.equal(balanced(attention), balanced(attention).T)
    torch.testing.assert_close(balanced(attention).sum(0), torch.ones(12).double(), atol=1e-3, rtol=0)
    heat = torch.rand(2, 3, 4).double()
    boxes = (torch.rand(2, 3, 4) > 0.4).double()
    for squares in (0, 1, 2):
        power = torch.linalg.matrix_power(s, 2**squares)
        for k in range(2):
            wanted = (power * boxes[k].flatten()) @ heat[k].flatten()
            found = refined(heat, balanced(attention), boxes, squares)[k]
            torch.testing.assert_close(found.flatten(), wanted)


def test_boxes_are_those_of_contours() -> None:
    rng = np.random.default_rng(3)
    maps = np.kron(rng.random((6, 4, 5)), np.ones((2, 2))).astype(np.float32)
    found = box_mask(torch.from_numpy(maps), 0.85).numpy()
    for heat, mask in zip(maps, found, strict=True):
        wanted = np.zeros_like(heat)
        contours, _ = cv2.findContours(
            (heat > 0.85 * heat.max()).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        for x, y, width, height in map(cv2.boundingRect, contours):
            wanted[y : y + height, x : x + width] = 1
        assert np.array_equal(mask, wanted) and 0 < mask.mean() < 1
    corner = torch.zeros(1, 4, 4)
    corner[0, 0, 0] = corner[0, 1, 1] = 1
    assert box_mask(corner, 0.4).sum() == 4, "regions that touch at a corner are one"
    assert box_mask(torch.zeros(1, 2, 2), 0.4).sum() == 0


def test_flat_maps_show_nothing() -> None:
    maps = torch.stack([torch.full((2, 3), 0.7) + 1e-7 * torch.rand(2, 3), torch.zeros(2, 3)])
    assert float(stretched(maps).max()) < 0.05
    faint = stretched(torch.tensor([[[1e-12, 3e-12], [2e-12, 1e-12]]]))
    torch.testing.assert_close(faint, torch.tensor([[[0, 1], [0.5, 0]]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("size", "scale", "longest", "wanted"),
    [
        ((375, 500), 1.0, 640, (384, 512)),
        ((384, 512), 1.0, 640, (384, 512)),
        ((1, 1), 0.25, 640, (16, 16)),
        ((600, 1200), 1.0, 640, (320, 640)),
        ((375, 500), 0.5, 640, (192, 256)),
        ((3000, 4000), 2.0, 640, (960, 1280)),
    ],
)
def test_sides_are_rounded_up_to_whole_patches(
    size: tuple[int, int], scale: float, longest: int, wanted: tuple[int, int]
) -> None:
    assert whole_cells(size, scale, longest, 16) == wanted


# --- a CLIP that knows two colours --------------------------------------------------------------------


def planted(bright: float = 4.0) -> ClipNet:
    """A tower whose tokens are the colour of their patch, whose last block mixes tokens of one colour."""
    size = ClipSize(64, 16, 8, 2, 1, 8, 8, 1, 1)
    net = ClipNet(size, 2, 1).eval()
    with torch.no_grad():
        visual = net.tower.net
        for part in (visual.conv1.weight, visual.class_embedding, visual.positional_embedding):
            part.zero_()
        visual.conv1.weight[0, 0] = visual.conv1.weight[1, 2] = bright / 256
        visual.proj.copy_(torch.eye(8))
        for n, block in enumerate(net.tower.blocks):
            for entry in block.attn.parameters():
                entry.zero_()
            block.mlp.c_proj.weight.zero_()
            block.mlp.c_proj.bias.zero_()
            if n == 1:
                block.attn.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
                block.attn.out_proj.weight.copy_(torch.eye(8))
        every = torch.eye(8)
        net.words.copy_(every[:2])
        net.behind.copy_(every[4:5])
    return net


def red_left_blue_right(height: int, width: int) -> np.ndarray:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    return pixels


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("settings", [{}, {"flip": True}, {"scales": (1.0, 0.5)}, {"longest": 64}])
def test_each_colour_is_found_where_it_is(
    clip_es: ModuleType, settings: dict[str, Any], refine: bool
) -> None:
    method = clip_es.ClipEs(clip_es.Params(pretrained=False))
    tags = [np.array(t, np.int8) for t in ([1, 1], [1, -1], [-1, 0])]
    shots = [Shot(f"s{n}", red_left_blue_right(90, 192), t) for n, t in enumerate(tags)]
    views = clip_es.Views(refine=refine, **settings)
    with torch.no_grad():
        both, red, none = (stack for _, stack in method.infer(planted(), shots, views))
    assert (both.classes, red.classes, none.classes) == ((0, 1), (0,), ())
    for stack in (both, red):
        for cls, full in zip(stack.classes, stack.full(), strict=True):
            sides = full[:, :86].mean(), full[:, 106:].mean()
            assert sides[cls] > 0.8 and sides[1 - cls] < 0.1, (cls, sides)
    # The border between the halves lies where it does, not a cell beside it.
    if settings != {"longest": 64}:
        at = int(np.argmin(np.abs(both.full()[0, 45] - 0.5)))
        assert abs(at - 96) <= 8
    assert both.scores.shape == (2,) and both.peaks.min() > 0


# --- scores and what learns ---------------------------------------------------------------------------


def test_scores_begin_as_the_softmax_against_the_background_words(net: ClipNet) -> None:
    net.sharpness.fill_(10.0)
    net.kept[1] = False
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        seen = net.tower.look(pictures, 0)
        vectors = net.tower.finish(seen.tokens, net.tower.blocks[-1].ln_1(seen.tokens), "class")
        z = 10 * F.normalize(vectors, dim=1) @ torch.cat([net.words, net.behind[[0, 2, 3]]]).T
        for c in range(3):
            wanted = z[:, [c, 3, 4, 5]].softmax(1)[:, 0]
            torch.testing.assert_close(net(pictures).sigmoid()[:, c], wanted)


def test_only_the_line_learns_and_unknown_tags_teach_nothing(clip_es: ModuleType) -> None:
    method = clip_es.ClipEs(clip_es.Params(pretrained=False))
    net = method.build(3).train()
    assert [n for n, p in net.named_parameters() if p.requires_grad] == ["slope", "offset"]
    assert {id(p) for p in net.new_parameters()} == {id(net.slope), id(net.offset)}
    tags = torch.tensor([[1, 0, -1], [0, 1, -1]], dtype=torch.int8)
    batch = Batch(torch.randn(2, 3, 33, 64), tags, ("a", "b"), 4, 2, 1, torch.zeros(2, 3))
    method.training_step(net, batch, Clock(0, 1, 0))["tags"].backward()
    assert net.offset.grad[2] == 0 and (net.offset.grad[:2] != 0).all()
    before = net.grad_cams(net.tower.look(batch.images, 0), [[0], [1, 2]], "patches")
    with torch.no_grad():
        net.slope += 1
        net.offset += 1
    after = net.grad_cams(net.tower.look(batch.images, 0), [[0], [1, 2]], "patches")
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "no map depends on it"


# --- words ---------------------------------------------------------------------------------------------


def test_the_words_are_the_papers() -> None:
    assert len(BEHIND) == len(set(BEHIND)) == 25
    voc = words_of(VOC, {})
    assert voc[14] == "person with clothes,people,human" and voc[0] == "aeroplane" and voc[8] == "chair seat"
    assert all(kept_background(BEHIND, [*VOC, *voc]))
    coco = ["person", "keyboard", "stop sign", "fire hydrant", "skateboard"]
    left = [w for w, stays in zip(BEHIND, kept_background(BEHIND, coco), strict=True) if not stays]
    assert left == ["keyboard", "sign"], "the paper's list for COCO has these 23 others"
    assert words_of(["potted_plant", "Bird"], {"potted_plant": "fern"}) == ["fern", WORDS["bird"]]
    assert words_of(["hot_air balloon"], {}) == ["hot air balloon"]


def test_words_are_read_and_refused() -> None:
    assert read_words(" cat = cat, kitten ;dog=dog; ") == {"cat": "cat, kitten", "dog": "dog"}
    assert read_words("") == {}
    for text in ("cat", "cat=", "=x", "cat=a; cat=b"):
        with pytest.raises(UserError):
            read_words(text)
    with pytest.raises(UserError, match="Did you mean 'cat'"):
        words_of(["cat", "dog"], {"catt": "kitten"})


def test_settings_that_cannot_be_asked_are_refused(clip_es: ModuleType) -> None:
    for settings in ({"prompt": "a cat"}, {"prompt": "{} and {}"}, {"background": " , "}, {"words": "cat"}):
        with pytest.raises(UserError):
            clip_es.Params(**settings)
    method = clip_es.ClipEs(clip_es.Params(pretrained=False, background="sky, sea"))
    with pytest.raises(UserError, match="none of them is left"):
        method.named(method.build(2), ["sky", "sea"])
