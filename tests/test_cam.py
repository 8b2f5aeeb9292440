"""The method `cam` on a network with random weights: what must hold whatever was learnt."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.errors import UserError
from engine.method import Shot
from engine.methods.cam import Cam, CamViews, Params


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(3)
    method = Cam(Params(backbone="tiny_cnn", pretrained=False))
    net = method.build(4).eval()
    with torch.no_grad():  # a head that has something to say
        net.head.weight.normal_(0, 1)
    return method, net


def _shot(height: int, width: int, seed: int, tags=(1, 0, 1, -1)) -> Shot:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return Shot(
        f"s{seed}", np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width], np.array(tags, np.int8)
    )


def _infer(trained, shots, **settings):
    method, net = trained
    with torch.no_grad():
        return dict(method.infer(net, shots, CamViews(**settings)))


def test_scores_are_the_means_of_the_class_maps(trained) -> None:
    _, net = trained
    with torch.no_grad():
        features = net.backbone(torch.randn(2, 3, 64, 96))
        torch.testing.assert_close(
            net.maps(features).mean((2, 3)), net.scores(features), rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(net(torch.zeros(1, 3, 64, 64)).shape, torch.Size([1, 4]))


def test_only_present_classes_are_drawn(trained) -> None:
    stack = _infer(trained, [_shot(48, 64, 0)])["s0"]
    assert stack.classes == (0, 2)
    assert stack.maps.shape == (2, 12, 16) and stack.maps.dtype == np.float16
    assert stack.scores.shape == (4,) and (stack.scores > 0).all() and (stack.scores < 1).all()
    assert ((stack.maps.max((1, 2)) >= 1 - 1e-3) | (stack.peaks < 1e-2)).all()


def test_predicted_and_all_are_other_modes(trained) -> None:
    shot = _shot(48, 64, 0)
    assert _infer(trained, [shot], classes="all")["s0"].classes == (0, 1, 2, 3)
    scores = _infer(trained, [shot])["s0"].scores
    middle = float(np.sort(scores)[1:3].mean())
    stack = _infer(trained, [shot], classes="predicted", predicted_above=middle)["s0"]
    assert stack.classes == tuple(int(c) for c in np.flatnonzero(scores >= middle))


def test_an_image_without_tags_has_no_maps(trained) -> None:
    found = _infer(trained, [_shot(40, 40, 0, (0, 0, 0, 0)), _shot(40, 40, 1, (0, 1, 0, 0))])
    assert found["s0"].classes == () and found["s0"].maps.shape == (0, 10, 10)
    assert found["s1"].classes == (1,)
    alone = _infer(trained, [_shot(40, 40, 0, (0, 0, 0, 0))])["s0"]
    np.testing.assert_allclose(alone.scores, found["s0"].scores, atol=1e-6)


@pytest.mark.parametrize("kind", ["cam", "gradcam", "gradcam++"])
def test_a_batch_is_its_images_one_by_one(trained, kind: str) -> None:
    shots = [_shot(52, 70, n, tags) for n, tags in enumerate([(1, 0, 1, -1), (0, 1, 0, 0), (1, 1, 1, 1)])]
    together = _infer(trained, shots, kind=kind)
    for shot in shots:
        alone = _infer(trained, [shot], kind=kind)[shot.stem]
        assert together[shot.stem].classes == alone.classes
        np.testing.assert_allclose(together[shot.stem].peaks, alone.peaks, rtol=1e-4)
        np.testing.assert_allclose(together[shot.stem].maps, alone.maps, atol=2e-3)
        np.testing.assert_allclose(together[shot.stem].scores, alone.scores, atol=1e-5)


def test_gradcam_draws_what_cam_draws(trained) -> None:
    shots = [_shot(48, 64, 5)]
    # The same up to the constant in the divisor, which weighs more on maps that are smaller by h*w.
    np.testing.assert_allclose(
        _infer(trained, shots, kind="gradcam", scales=(1.0,))["s5"].maps,
        _infer(trained, shots, kind="cam", scales=(1.0,))["s5"].maps,
        atol=2e-2,
    )


@pytest.mark.parametrize("width", [64, 65, 70, 81])
def test_the_fused_map_turns_with_the_image(trained, width: int) -> None:
    """With centred alignment a mirrored image gives the mirrored map, at every width."""
    shot = _shot(48, width, 7)
    turned = Shot("s7", np.ascontiguousarray(shot.pixels[:, ::-1]), shot.tags)
    a = _infer(trained, [shot], scales=(1.0,), cell=1)["s7"].maps.astype(np.float32)
    b = _infer(trained, [turned], scales=(1.0,), cell=1)["s7"].maps.astype(np.float32)
    # Grid cells stand on pixels 0, 1, ..., so mirroring maps pixel x to width - 1 - x exactly.
    np.testing.assert_allclose(a, b[:, :, ::-1], atol=4e-3)


def test_a_single_pass_does_not_turn_with_the_image(trained) -> None:
    shot = _shot(48, 64, 7)
    turned = Shot("s7", np.ascontiguousarray(shot.pixels[:, ::-1]), shot.tags)
    a = _infer(trained, [shot], scales=(1.0,), flip=False, cell=1)["s7"].maps.astype(np.float32)
    b = _infer(trained, [turned], scales=(1.0,), flip=False, cell=1)["s7"].maps.astype(np.float32)
    assert np.abs(a - b[:, :, ::-1]).max() > 0.02


def test_official_maps_lie_half_a_cell_further(trained) -> None:
    shot = _shot(64, 64, 2)
    assert _infer(trained, [shot])["s2"].origin == 0.0
    assert _infer(trained, [shot], alignment="official")["s2"].origin == 1.5


def test_an_image_of_one_pixel_has_a_map_of_one_cell(trained) -> None:
    shot = Shot("dot", np.full((1, 1, 3), 200, np.uint8), np.array([1, 0, 0, 0], np.int8))
    stack = _infer(trained, [shot])["dot"]
    assert stack.maps.shape == (1, 1, 1) and np.isfinite(stack.maps.astype(np.float32)).all()
    assert stack.full().shape == (1, 1, 1)


def test_scales_may_not_repeat() -> None:
    with pytest.raises(UserError, match="scale twice"):
        CamViews(scales=(1.0, 1.0))


def test_tiny_cnn_has_no_pretrained_weights() -> None:
    with pytest.raises(UserError, match="pretrained=false"):
        Params(backbone="tiny_cnn")


def test_scores_are_shares_where_one_class_an_image_is_trained(trained) -> None:
    shot = _shot(48, 64, 3)
    sigmoid = _infer(trained, [shot])["s3"]
    other = Cam(Params(backbone="tiny_cnn", pretrained=False, loss="softmax")), trained[1]
    softmax = _infer(other, [shot])["s3"]
    assert softmax.scores.sum() == pytest.approx(1, abs=1e-5) and sigmoid.scores.sum() != pytest.approx(
        1, abs=1e-2
    )
    # The maps are the classifier's, whatever it was trained by.
    np.testing.assert_array_equal(softmax.maps, sigmoid.maps)
    assert (np.argsort(softmax.scores) == np.argsort(sigmoid.scores)).all()
