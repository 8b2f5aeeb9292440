"""The window's way through CPAL is the network's, and what is read from disk is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from engine.errors import UserError
from engine.methods.cpal import Cpal, Params
from engine.params import parse
from engine.passage import Choice, others_likeness, pass_through, plane
from engine.results import PrototypeBank, PrototypeView
from engine.train.checkpoint import save_weights

SMALL: dict[str, Any] = {
    "backbone": "tiny_cnn", "pretrained": False, "dim": 24, "length": 12, "clusters": 6, "neighbours": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, PrototypeBank, PrototypeView, Any]:
    """(method, net, bank read back, view of one picture, its z)"""
    method = Cpal(parse(Params, SMALL))
    torch.manual_seed(1)
    net = method.build(3)
    net.head.weight.data.abs_()
    bank = net.bank
    bank.rows[:2, :9] = torch.randn(2, 9, 24).half()
    bank.pushes[:2] = 9
    bank.mean.normal_(std=0.2)
    for cls in (0, 1):
        bank.cluster(cls, 0)
    net.of_instance.weight.data += 0.05 * torch.randn(24, 24)
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_weights(net, path)
    with torch.no_grad():
        features, z = net.eval().both(torch.randn(1, 3, 96, 80))
        found = net.maps(features).relu()[0]
        found = found / (found.amax((1, 2), keepdim=True) + 1e-5)
    view = PrototypeView(
        "i",
        (96, 80),
        (0, 1, 2),
        found.numpy().astype(np.float16),
        z[0].numpy(),
        16.0,
        0.0,
        np.zeros(3, np.float32),
    )
    return method, net, PrototypeBank.load(path), view, features


@pytest.mark.parametrize("draw", ["mean_cos", "cos_mean", "max_cos"])
@pytest.mark.parametrize("positiveness", [True, False])
def test_the_window_draws_what_the_network_draws(trained, draw: str, positiveness: bool) -> None:
    _, net, bank, view, features = trained
    method = Cpal(parse(Params, {**SMALL, "draw": draw, "positiveness": positiveness}))
    z = torch.from_numpy(view.features)[None]
    with torch.no_grad():
        drawn = method._look(net, features, z, [0, 1, 2], "pacam")[0]
    for cls in (0, 1, 2):
        found = pass_through(view, bank, cls, Choice(neighbours=4, draw=draw, positiveness=positiveness))
        assert found is not None and len(found.order) == (4 if cls < 2 else 0)
        np.testing.assert_allclose(found.aware, drawn[cls].numpy(), atol=2e-3)
        assert found.weights.sum() == pytest.approx(1 if cls < 2 else 0)


def test_what_a_person_turns_takes_effect(trained) -> None:
    _, _, bank, view, _ = trained
    base = pass_through(view, bank, 0, Choice(neighbours=3))
    off = pass_through(view, bank, 0, Choice(neighbours=3, off={int(base.order[0])}))
    assert int(base.order[0]) not in off.order.tolist() and off.order[0] == base.order[1]
    assert not pass_through(view, bank, 0, Choice(shift=0)).shift.any()
    evicted = pass_through(view, bank, 0, Choice(evicted={0, 1}))
    expected = bank.rows[0, 2:9].astype(np.float32).mean(0) - bank.mean[0]
    np.testing.assert_allclose(evicted.shift, expected, atol=1e-5)
    alone = pass_through(view, bank, 0, Choice(without=True))
    np.testing.assert_allclose(alone.aware, np.maximum(alone.likeness, 0) / alone.likeness.max(), atol=1e-4)
    painted = np.zeros(view.maps.shape[1:], bool)
    painted[1, 2] = True
    own = pass_through(view, bank, 0, Choice(), painted)
    np.testing.assert_allclose(own.own, view.features[:, 1, 2], atol=1e-3)
    assert pass_through(view, bank, 0, Choice(), np.zeros_like(painted)) is None


def test_likeness_to_the_other_classes(trained) -> None:
    _, _, bank, view, _ = trained
    found = others_likeness(pass_through(view, bank, 0, Choice()), bank)
    assert np.isnan(found[2]) and (np.abs(found[:2]) <= 1 + 1e-6).all()


def test_a_plane_shows_where_rows_differ() -> None:
    rng = np.random.default_rng(0)
    rows = np.zeros((50, 6), np.float32)
    rows[:, 2], rows[:, 4] = 5 * rng.normal(size=50), 2 * rng.normal(size=50)
    centre, found = plane(rows)
    assert abs(found[0, 2]) > 0.95 and abs(found[1, 4]) > 0.95 and centre.shape == (6,)
    assert plane(rows[:1])[1].shape == (2, 6)


def test_a_view_comes_back_as_it_went_and_damage_is_told(trained, tmp_path: Path) -> None:
    view = trained[3]
    path = tmp_path / "v.npz"
    view.save(path)
    again = PrototypeView.load(path)
    assert again.features.dtype == np.float32
    assert (
        again.classes == view.classes
        and np.array_equal(again.features, view.features.astype(np.float16))
        and again.cell == 16
    )
    data = path.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(UserError):
            PrototypeView.load(path)


def test_a_bank_is_read_without_the_rest_and_others_are_refused(trained, tmp_path: Path) -> None:
    bank = trained[2]
    assert (
        bank.filled.tolist() == [9, 9, 0]
        and bank.count.tolist() == [6, 6, 0]
        and bank.rows.shape == (3, 12, 24)
    )
    other = tmp_path / "w.safetensors"
    save_file({"head.weight": np.zeros((3, 4), np.float32)}, other)
    with pytest.raises(UserError, match="no support bank"):
        PrototypeBank.load(other)
    other.write_bytes(b"\x00" * 40)
    with pytest.raises(UserError, match="cannot be read"):
        PrototypeBank.load(other)
    with pytest.raises(FileNotFoundError):
        PrototypeBank.load(tmp_path / "none")
