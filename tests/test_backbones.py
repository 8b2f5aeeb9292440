"""Backbones: sizes, where cells lie, what learns, and that cutting strides changes nothing else."""

from __future__ import annotations

import copy
import functools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import UserError
from engine.nets.backbone import Backbone, build_backbone, freeze
from engine.nets.catalogue import known_backbones, list_backbones, published
from engine.nets.prep import Prep, overrides
from engine.nets.restride import SpreadAverage

# One of each kind of padding and stride: even, patches, averages, TensorFlow's, shortcuts that average.
KINDS = ["resnet18", "mobilenet_v2", "densenet121", "convnext_atto", "resnet26d", "tf_efficientnet_lite0"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@functools.cache
def _built(name: str, **options: object) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, **options)  # type: ignore[arg-type]


def build(name: str, **options: object) -> Backbone:
    """Return a fresh copy of a network that is built once."""
    return copy.deepcopy(_built(name, **options))


def cells(backbone: Backbone, height: int, width: int) -> tuple[int, int]:
    """Return the map's size without computing it."""
    shape = backbone.to("meta")(torch.zeros(1, 3, height, width, device="meta")).shape
    assert shape[:2] == (1, backbone.dim)
    return int(shape[2]), int(shape[3])


@pytest.mark.parametrize("name", list_backbones())
def test_shortlist_gives_maps_of_whole_cells(name: str) -> None:
    backbone = build_backbone(name)
    assert backbone.stride == (8 if name == "tiny_cnn" else 16)
    assert backbone.kind == ("vit" if name.startswith(("vit", "deit")) else "cnn")
    assert len(backbone.stages) >= 4
    assert {n for s in backbone.stages for n in backbone.stage_parameters(s)} == {
        n for n, _ in backbone.trunk.named_parameters()
    }
    for height, width in [(33, 64), (375, 500), (321, 321)]:
        wanted = (math.ceil(height / backbone.stride), math.ceil(width / backbone.stride))
        assert cells(backbone, height, width) == wanted


@pytest.mark.parametrize(
    ("scale", "wanted"), [(0.5, (12, 16)), (1.0, (24, 32)), (1.5, (36, 47)), (2.0, (47, 63))]
)
def test_resnet50_sizes_of_the_reference(scale: float, wanted: tuple[int, int]) -> None:
    assert cells(build("resnet50"), round(375 * scale), round(500 * scale)) == wanted


def test_resnet50_has_the_reference_parameters() -> None:
    backbone = build("resnet50")
    head = nn.Conv2d(backbone.dim, 20, 1, bias=False)
    assert sum(p.numel() for net in (backbone, head) for p in net.parameters()) == 23_548_992


def test_resnet_is_not_dilated_unless_asked() -> None:
    def dilations(backbone: Backbone) -> set[int]:
        return {m.dilation[0] for m in backbone.modules() if isinstance(m, nn.Conv2d)}

    assert dilations(build("resnet18")) == {1}
    assert dilations(build("resnet18", dilate=True)) == {1, 2}
    assert dilations(build("resnet18", dilate=True, output_stride=8)) == {1, 2, 4}
    assert dilations(build("mobilenet_v2")) == {1, 2}
    convs = build("mobilenet_v2").trunk.net.get_submodule("features")
    spread = [
        i for i, block in enumerate(convs) for m in block.modules() if getattr(m, "dilation", (1,))[0] == 2
    ]
    assert sorted(set(spread)) == [15, 16, 17]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("stride", [16, 8])
def test_dilated_map_read_at_native_cells_is_the_native_map(name: str, stride: int) -> None:
    native = build(name, output_stride=32, dilate=True).eval()
    finer = build(name, output_stride=stride, dilate=True).eval()
    finer.load_state_dict(native.state_dict())
    even = native.prep.side_offset
    image = torch.randn(1, 3, 64 + even, 96 + even)
    with torch.inference_mode():
        coarse, fine = native(image), finer(image)
    step = 32 // stride
    assert coarse.abs().max() > 0
    assert torch.allclose(fine[..., ::step, ::step], coarse, rtol=1e-4, atol=1e-5 * float(coarse.abs().max()))


def test_native_map_is_torchvisions() -> None:
    import torchvision

    ours = build("mobilenet_v2", output_stride=32).eval()
    theirs = torchvision.models.mobilenet_v2(weights=None)
    theirs.classifier = nn.Identity()
    theirs.load_state_dict(ours.trunk.net.state_dict())
    image = torch.randn(1, 3, 97, 129)
    with torch.inference_mode():
        assert torch.equal(ours(image), theirs.eval().features(image))


def test_resnet_stages_are_torchvisions() -> None:
    import torchvision

    ours = build("resnet18").eval()
    theirs = torchvision.models.resnet18(weights=None)
    theirs.fc = nn.Identity()
    theirs.load_state_dict(ours.trunk.net.state_dict())
    theirs.eval()
    image = torch.randn(1, 3, 65, 80)
    with torch.inference_mode():
        taps = ours.taps(image)
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        for name in ("layer1", "layer2", "layer3"):
            x = theirs.get_submodule(name)(x)
            assert torch.equal(taps[name], x)


def make_linear(backbone: Backbone) -> None:
    """Make the network a smoother with symmetric kernels: a cell's gradient is centred where the cell is."""
    for path, module in list(backbone.named_modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        elif isinstance(module, nn.ReLU6):
            backbone.set_submodule(path, nn.Identity())
        elif isinstance(module, nn.MaxPool2d):
            average = nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
            backbone.set_submodule(path, average)


@pytest.mark.parametrize(
    ("name", "centre", "index", "side"),
    [
        ("resnet18", 0.0, 8, 305),
        ("mobilenet_v2", 0.0, 8, 305),
        ("regnetx_002", 0.0, 8, 305),
        ("vgg11", 7.5, 6, 240),
        ("densenet121", 14.0, 4, 177),
    ],
)
def test_cell_i_is_centred_on_its_pixel(name: str, centre: float, index: int, side: int) -> None:
    backbone = build(name).eval()
    assert backbone.cell_centre == centre
    make_linear(backbone)
    image = torch.rand(1, 3, side, side, requires_grad=True)
    backbone(image)[..., index, index].sum().backward()
    energy = image.grad.abs().sum((0, 1))  # [H, W]
    place = torch.arange(side, dtype=energy.dtype)
    for shares in (energy.sum(0) / energy.sum(), energy.sum(1) / energy.sum()):
        # The image's own centre is ten pixels away or more: a field cut by its border would show.
        assert float((shares * place).sum()) == pytest.approx(16 * index + centre, abs=0.7)


def test_a_patch_net_sees_from_its_patch_on() -> None:
    # ConvNeXt starts with blocks that are nearly the identity: a cell sees its own patches.
    backbone = build("convnext_tiny")
    image = torch.randn(1, 3, 96, 96, requires_grad=True)
    backbone.eval()(image)[..., 2, 2].pow(2).sum().backward()
    energy = image.grad.abs().sum((0, 1))
    seen = (energy > energy.max() / 1000).nonzero()
    low, high = seen.min(0).values, seen.max(0).values
    assert ((low + high) / 2).tolist() == [16 * 2 + backbone.cell_centre] * 2


def test_vit_cell_is_its_patch() -> None:
    backbone = build("vit_tiny_patch16_224").eval()
    assert backbone.cell_centre == 7.5
    image = torch.randn(1, 3, 48, 64)
    other = image.clone()
    other[..., 16:32, 32:48] += 1
    patches = [backbone.trunk.net.patch_embed(x).reshape(3, 4, -1) for x in (image, other)]
    changed = (patches[0] != patches[1]).any(-1)
    assert changed.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("down", [0, 1])
def test_a_shift_of_one_stride_is_a_shift_of_one_cell(down: int) -> None:
    backbone = build("resnet18").eval()
    wide = torch.randn(1, 3, 416 + 16, 416 + 16)
    a, b = wide[..., :416, :416], wide[..., 16 * down : 416 + 16 * down, 16:]
    with torch.inference_mode():
        before, after = backbone(a), backbone(b)
    # The receptive field reaches 169 px to each side: only the innermost cells are free of the border.
    left, right = before[..., 11 + down : 15 + down, 12:16], after[..., 11:15, 11:15]
    assert torch.allclose(left, right, rtol=1e-3, atol=1e-4 * float(before.abs().max()))
    assert not torch.allclose(before[..., 11:15, 11:15], right, rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["resnet18", "convnext_tiny", "vit_tiny_patch16_224", "convnext_atto", "tiny_cnn"]
)
def test_taps_end_in_the_map_and_leave_one_another_alone(name: str) -> None:
    backbone = build(name).eval()
    image = torch.randn(2, 3, 70, 90)
    kept = image.clone()
    with torch.inference_mode():
        taps = backbone.taps(image)
        assert torch.equal(list(taps.values())[-1], backbone(image))
        assert torch.equal(image, kept)
        for tap, x in taps.items():
            stride = backbone.tap_strides[tap]
            assert x.shape == (2, backbone.tap_dims[tap], math.ceil(70 / stride), math.ceil(90 / stride)) or (
                name.startswith("convnext") and x.shape[2:] == (80 // stride, 96 // stride)
            )
    strides = list(backbone.tap_strides.values())
    assert strides == sorted(strides) and strides[-1] == backbone.stride


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "vgg11"])
def test_no_stage_writes_into_the_map_of_the_one_before(name: str) -> None:
    backbone = build(name).eval()
    seen: list[Tensor] = []
    for paths in backbone.stages.values():
        end = backbone.trunk.get_submodule(paths[-1])
        end.register_forward_hook(lambda _m, _a, out: seen.append(out.clone()))
    with torch.inference_mode():
        taps = backbone.taps(torch.randn(1, 3, 64, 64))
    assert len(seen) == len(taps)
    assert all(torch.equal(x, y) for x, y in zip(taps.values(), seen, strict=True))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "tiny_cnn"])
def test_a_batch_equals_its_images_one_by_one_and_memory_order_does_not_matter(name: str) -> None:
    backbone = build(name).eval()
    images = torch.randn(3, 3, 64, 48)
    with torch.inference_mode():
        together = backbone(images)
        single = torch.cat([backbone(image[None]) for image in images])
        backbone.to(memory_format=torch.channels_last)
        last = backbone(images.contiguous(memory_format=torch.channels_last))
    size = float(together.abs().max())
    assert torch.allclose(together, single, rtol=1e-4, atol=1e-5 * size)
    assert torch.allclose(together, last, rtol=1e-4, atol=1e-5 * size)


def sums(backbone: Backbone) -> dict[str, list[float]]:
    return {
        s: [float(p.detach().double().sum()) for p in backbone.stage_parameters(s).values()]
        for s in backbone.stages
    }


def step(backbone: Backbone) -> None:
    learn = [p for p in backbone.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learn, lr=1e-3, weight_decay=1e-2)
    backbone(torch.randn(2, 3, 64, 64)).pow(2).mean().sqrt().backward()
    optimiser.step()


@pytest.mark.parametrize(
    ("name", "scheme", "frozen"),
    [
        ("resnet18", "none", []),
        ("resnet18", "stem", ["stem"]),
        ("resnet18", "layer2", ["stem", "layer1", "layer2"]),
        ("mobilenet_v2", "layer2", ["s2", "s4", "s8"]),
        ("resnet26d", "layer2", ["act1", "layer1", "layer2"]),
        ("vit_tiny_patch16_224", "layer2", ["stem"] + [f"block{i}" for i in range(6)]),
        ("tiny_cnn", "layer2", ["stem", "stage1", "stage2"]),
    ],
)
def test_frozen_stages_stay_and_the_others_learn(name: str, scheme: str, frozen: list[str]) -> None:
    backbone = build(name)
    freeze(backbone, scheme)
    assert list(backbone.frozen) == frozen
    statistics = {n: b.clone() for n, b in backbone.named_buffers()}
    before = sums(backbone)
    step(backbone)
    after = sums(backbone)
    for stage in backbone.stages:
        assert (before[stage] == after[stage]) == (stage in frozen or not before[stage]), stage
    assert all(torch.equal(statistics[n], b) for n, b in backbone.named_buffers())


def test_freezing_all_leaves_nothing_to_learn_and_none_gives_it_back() -> None:
    backbone = build("resnet18")
    freeze(backbone, "all")
    assert not any(p.requires_grad for p in backbone.parameters())
    freeze(backbone, "none")
    assert all(p.requires_grad for p in backbone.parameters())
    with pytest.raises(UserError, match="freeze = 'layer1'"):
        freeze(backbone, "layer1")


def test_frozen_stages_store_nothing_and_still_pass_gradients_to_the_image() -> None:
    backbone = build("resnet18")
    freeze(backbone, "layer2")
    image = torch.randn(1, 3, 64, 64)
    taps = backbone.taps(image)
    assert [taps[s].requires_grad for s in backbone.stages] == [False, False, False, True, True]
    freeze(backbone, "all")
    image.requires_grad_(True)
    backbone(image).sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None for p in backbone.parameters())


def test_training_mode_reaches_all_but_what_is_frozen() -> None:
    backbone = build("efficientnet_b0")
    freeze(backbone, "stem")
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert backbone.eval() is backbone and not any(m.training for m in backbone.modules())
    assert backbone.train() is backbone and backbone.training
    assert norms and not any(m.training for m in norms)
    drops = [m for m in backbone.modules() if type(m).__name__ == "StochasticDepth"]
    assert drops and any(m.training for m in drops)
    net = backbone.trunk
    assert not any(m.training for path in backbone.stages["s2"] for m in net.get_submodule(path).modules())


def test_trained_norms_follow_the_batch_except_where_frozen() -> None:
    backbone = build("resnet18", norm="trained")
    freeze(backbone, "stem")
    before = {n: b.clone() for n, b in backbone.named_buffers() if n.endswith("running_mean")}
    backbone(torch.randn(2, 3, 64, 64))
    for name, buffer in backbone.named_buffers():
        if name in before:
            assert torch.equal(buffer, before[name]) == name.endswith("net.bn1.running_mean")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "tf_efficientnet_lite0"])
def test_group_norms_replace_all_batch_norms(name: str) -> None:
    plain, group = build(name), build(name, norm="group")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in group.modules())
    assert not list(group.named_buffers())
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in group.parameters())
    both = torch.randn(2, 3, 64, 64)
    freeze(group, "stem")
    with torch.inference_mode():
        assert torch.allclose(group(both)[:1], group.eval()(both[:1]), rtol=1e-3, atol=1e-4)


def test_layers_that_only_the_classifier_needs_do_not_learn() -> None:
    backbone = build_backbone("mobilenetv3_small_050")
    assert backbone.idle == {"net.conv_head.weight", "net.conv_head.bias"}
    freeze(backbone, "none")
    backbone.train()(torch.randn(1, 3, 64, 64)).sum().backward()
    assert {n for n, p in backbone.trunk.named_parameters() if p.grad is None} == backbone.idle


def test_vit_takes_any_size_and_drops_prefix_tokens() -> None:
    backbone = build_backbone("deit_tiny_distilled_patch16_224").eval()
    with torch.inference_mode():
        assert backbone(torch.randn(1, 3, 50, 90)).shape == (1, 192, 4, 6)
        image = torch.randn(1, 3, 224, 224)
        tokens = backbone.trunk.net.forward_features(image)
        assert tokens.shape == (1, 2 + 196, 192)
        assert torch.equal(backbone(image)[0, :, 3, 5], tokens[0, 2 + 3 * 14 + 5])


def test_tiny_cnn_learns_from_nothing() -> None:
    backbone = build_backbone("tiny_cnn")
    assert 100_000 < sum(p.numel() for p in backbone.parameters()) < 300_000
    head = nn.Linear(backbone.dim, 2)
    optimiser = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=1e-3)
    # Two textures of the same mean colour: only a feature tells them apart.
    rows = torch.arange(48)
    stripes = torch.stack([(rows[:, None] + 0 * rows) % 6 < 3, (0 * rows[:, None] + rows) % 6 < 3]).float()
    first = last = 0.0
    for turn in range(15):
        answer = torch.randint(0, 2, (8,))
        images = stripes[answer, None].expand(-1, 3, -1, -1) + 0.3 * torch.randn(8, 3, 48, 48)
        loss = F.cross_entropy(head(backbone(images).mean((2, 3))), answer)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = (loss.item() if turn == 0 else first), loss.item()
    assert last < 0.2 < first


def test_spread_average_is_the_average() -> None:
    x = torch.randn(1, 2, 6, 8)
    assert torch.allclose(SpreadAverage(2, 1)(x)[..., ::2, ::2], F.avg_pool2d(x, 2))
    assert torch.equal(SpreadAverage(2, 2)(torch.ones(1, 1, 5, 5)), torch.ones(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wide_resnet38", "Did you mean 'wide_resnet50_2'?"),
        ("ResNet50", "Did you mean 'resnet50'?"),
        ("vit_tiny_patch16_22", "Did you mean 'vit_tiny_patch16_224'?"),
        ("../resnet50", "resnet50"),
        ("", "Choose one"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: str, says: str) -> None:
    with pytest.raises(UserError) as told:
        build_backbone(name)
    assert f"no backbone '{name}'" in told.value.found and says in told.value.todo


def test_timm_names_may_tell_which_weights() -> None:
    assert published("resnet50.a1_in1k").hub == "timm/resnet50.a1_in1k"
    with pytest.raises(UserError, match=r"no weights 'resnet50\.a1_in2k'") as told:
        published("resnet50.a1_in2k")
    assert told.value.todo == "Did you mean 'resnet50.a1_in1k'?"


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "resnetblur18"])
def test_networks_without_a_proper_map_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot"):
        build_backbone(name)


def test_choices_are_checked() -> None:
    with pytest.raises(UserError, match="output_stride = 12"):
        build_backbone("resnet18", output_stride=12)
    with pytest.raises(UserError, match="norm = 'batch'"):
        build_backbone("resnet18", norm="batch")  # type: ignore[arg-type]


def test_every_name_of_the_shortlist_is_known() -> None:
    assert set(list_backbones()) <= set(known_backbones())


def test_preparation_travels_with_the_state() -> None:
    one, other = build("resnet18"), build("resnet18")
    one.prep = Prep((0.5, 0.4, 0.3), (0.1, 0.2, 0.3), "bicubic", 16, 1)
    assert all(isinstance(v, Tensor) for v in one.state_dict().values())
    other.load_state_dict(one.state_dict())
    assert other.prep == one.prep
    with pytest.raises(UserError, match="saved with the weights"):
        other.set_extra_state(torch.full((9,), math.nan))


def test_preparation_normalises_and_fits_sides() -> None:
    prep = Prep((0.5, 0.25, 0.0), (0.5, 0.25, 1.0), side_multiple=32, side_offset=1)
    assert prep.normalise(torch.ones(2, 3, 1, 1)).flatten().tolist() == [1.0, 3.0, 1.0] * 2
    assert [prep.side(n) for n in (1, 33, 34, 225, 300, 321)] == [33, 33, 65, 225, 321, 321]
    assert prep.at_stride(16).side(300) == 305
    assert Prep().side(301) == 301
    assert Prep().with_overrides(overrides(prep.as_facts(), "x.json")) == prep


def test_sides_that_a_network_wants() -> None:
    def sides(name: str) -> tuple[int, int]:
        return build(name).prep.side_multiple, build(name).prep.side_offset

    assert sides("resnet18") == (1, 0)
    assert sides("convnext_tiny") == (16, 0)
    assert sides("vit_tiny_patch16_224") == (16, 0)
    assert sides("tf_efficientnet_lite0") == (16, 1)


@pytest.mark.parametrize("name", ["tiny_cnn", "resnet18", "mobilenet_v2", "vit_tiny_patch16_224"])
def test_a_mixed_trunk_multiplies_in_bfloat16_and_hands_out_float32(name: str) -> None:
    backbone = build(name)
    if name != "tiny_cnn":
        freeze(backbone, "stem")
    image = torch.randn(2, 3, 64, 64)
    seen: set[torch.dtype] = set()
    for module in backbone.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(lambda module, given, found: seen.add(found.dtype))
    exact, taps = backbone(image), backbone.taps(image)
    assert seen == {torch.float32}
    seen.clear()
    backbone.mixed = True
    mixed, mixed_taps = backbone(image), backbone.taps(image)
    assert torch.bfloat16 in seen
    assert mixed.dtype == torch.float32 and {t.dtype for t in mixed_taps.values()} == {torch.float32}
    assert not torch.equal(mixed, exact)
    for found, wanted in [(mixed, exact), *((mixed_taps[n], taps[n]) for n in taps)]:
        assert (found - wanted).norm() < 0.05 * wanted.norm()
    mixed.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters() if p.grad is not None)
    seen.clear()
    assert torch.equal(backbone.eval()(image), backbone(image))
    assert seen == {torch.float32}, "what is drawn is exact"
