"""Class activation maps as functions of tensors: identities that hold exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from engine import maps
from engine.results import enlarge


def _linear_head(weight: torch.Tensor):
    return lambda f: f.mean((2, 3)) @ weight.T


def test_gradcam_is_cam_over_the_number_of_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 5, 3, 4, generator=generator)
    weight = torch.randn(6, 5, generator=generator)
    found = maps.channel_weights(features, _linear_head(weight), [1, 4], "gradcam")
    torch.testing.assert_close(found, (weight[[1, 4]] / 12).expand(2, 2, 5))
    grad = maps.cam(features, found)
    plain = maps.cam(features, weight[[1, 4]])
    torch.testing.assert_close(maps.normalise(grad * 12)[0], maps.normalise(plain)[0])


def test_gradcam_plus_plus_has_the_closed_form_of_a_linear_head() -> None:
    # Appendix A.3: W = (2, -1, 0.5), mean f = (1, 1, 4) -> (0.5, 0, 0.125).
    weight = torch.tensor([[2.0, -1.0, 0.5]])
    features = torch.tensor([1.0, 1.0, 4.0]).view(1, 3, 1, 1).repeat(1, 1, 2, 3)
    features[0, :, 0, 0] += 0.5
    features[0, :, 1, 2] -= 0.5
    found = maps.channel_weights(features, _linear_head(weight), [0], "gradcam++")[0, 0]
    torch.testing.assert_close(found, torch.tensor([0.5, 0.0, 0.125]))


def test_gradcam_plus_plus_of_a_channel_without_a_say_is_zero() -> None:
    features = torch.rand(1, 2, 3, 3)
    found = maps.channel_weights(features, _linear_head(torch.tensor([[0.0, 1.0]])), [0], "gradcam++")
    assert found[0, 0, 0] == 0 and torch.isfinite(found).all()


def test_gradcam_follows_a_head_that_is_not_linear() -> None:
    torch.manual_seed(0)
    head = nn.Sequential(
        nn.Conv2d(4, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    features = torch.randn(1, 4, 5, 5)
    found = maps.channel_weights(features, head, [2], "gradcam")
    step = 1e-3
    moved = features.clone()
    moved[:, 1] += step  # every cell of a channel at once: the sum of its gradient
    slope = (head(moved)[0, 2] - head(features)[0, 2]) / step / 25
    assert found[0, 0, 1] == pytest.approx(float(slope), abs=2e-3)


def test_negative_evidence_is_cut_before_maps_are_added() -> None:
    features = torch.tensor([[[[1.0, -1.0]]]])
    found = maps.cam(features, torch.tensor([[1.0]]))
    assert found.flatten().tolist() == [1.0, 0.0]


@pytest.mark.parametrize("kind", ["gradcam", "gradcam++"])
def test_each_image_gets_its_own_weights(kind: str) -> None:
    features = torch.rand(3, 4, 2, 2) + 0.1
    head = nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    together = maps.channel_weights(features, head, [0, 1], kind)
    for n in range(3):
        alone = maps.channel_weights(features[n : n + 1], head, [0, 1], kind)
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-4, atol=1e-6)


def test_a_centred_sampler_reads_feature_i_at_its_pixel() -> None:
    matrix = maps.sampler(65, 5, 16, cell=16, scale=1.0, centre=0.0, official=False, mirrored=False)
    torch.testing.assert_close(matrix, torch.eye(5, dtype=torch.float64))


def test_an_official_sampler_is_torchs_half_pixel_interpolation() -> None:
    x = torch.rand(1, 1, 1, 32, dtype=torch.float64)
    matrix = maps.sampler(500, 32, 16, cell=4, scale=1.0, centre=0.0, official=True, mirrored=False)
    wanted = torch.nn.functional.interpolate(x, size=(1, 125), mode="bilinear", align_corners=False)
    torch.testing.assert_close(matrix @ x[0, 0, 0], wanted[0, 0, 0])


@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize("width", [96, 97, 100, 129])
def test_the_mirror_image_is_read_backwards(official: bool, width: int) -> None:
    """An image feature and the same feature of the mirror image land on the same grid cell."""
    stride, cells = 16, -(-width // 16)
    common = {"cell": 4, "scale": 1.0, "centre": 0.0, "official": official}
    plain = maps.sampler(width, cells, stride, mirrored=False, **common)
    mirror = maps.sampler(width, cells, stride, mirrored=True, **common)
    if official:
        torch.testing.assert_close(mirror, plain.flip(1))
        return
    # A linear ramp over pixels, seen at the pixels that each pass has features on.
    at = torch.arange(cells, dtype=torch.float64) * stride
    inner = (torch.arange(plain.shape[0]) * 4 >= (width - 1) % 16) & (
        torch.arange(plain.shape[0]) * 4 <= at[-1]
    )
    torch.testing.assert_close((plain @ at)[inner], (mirror @ (width - 1 - at))[inner])


def test_rows_of_a_sampler_sum_to_one() -> None:
    for official in (True, False):
        matrix = maps.sampler(333, 21, 16, cell=4, scale=1.5, centre=7.5, official=official, mirrored=True)
        torch.testing.assert_close(matrix.sum(1), torch.ones(matrix.shape[0], dtype=torch.float64))
        assert matrix.min() >= 0


def test_fuse_adds_to_what_is_there() -> None:
    one = torch.rand(1, 2, 3, 4)
    rows, columns = torch.eye(3), torch.eye(4)
    total = maps.fuse(None, one, rows, columns)
    torch.testing.assert_close(maps.fuse(total, one, rows, columns), 2 * one)


def test_normalise_keeps_the_peak_and_a_flat_map_dark() -> None:
    heat, peaks = maps.normalise(torch.stack([torch.zeros(2, 2), torch.full((2, 2), 4.0)]))
    assert peaks.tolist() == [0.0, 4.0]
    assert heat[0].max() == 0 and 1 - 1e-4 <= heat[1].max() <= 1


def test_enlarge_is_torchs_bilinear_and_holds_the_edges() -> None:
    x = np.random.default_rng(0).random((2, 24, 32)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(torch.from_numpy(x)[None], size=(384, 512), mode="bilinear")[0]
    np.testing.assert_allclose(enlarge(x, (384, 512), 16, 7.5), wanted.numpy(), atol=1e-6)
    centred = enlarge(x, (384, 512), 16, 0.0)
    np.testing.assert_allclose(centred[:, ::16, ::16], x, atol=1e-6)
    assert centred.min() >= 0 and centred.max() <= 1
