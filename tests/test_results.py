"""Stacks of maps: on disk and back, forged ones refused, and where each cell lies on the image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.arrays import read_npz, write_npz
from engine.errors import UserError
from engine.results import CamStack, enlarge

rng = np.random.default_rng(0)


def stack(**other: Any) -> CamStack:
    values: dict[str, Any] = {
        "image": "cat_1",
        "size": (45, 62),
        "classes": (0, 2),
        "maps": rng.random((2, 12, 16)).astype(np.float16),
        "peaks": np.array([3.5, 0.25], np.float32),
        "cell": 4.0,
        "origin": 1.5,
        "scores": np.array([0.9, 0.1, 0.4], np.float32),
        "facts": {"digest": "abc", "kind": "cam"},
    }
    return CamStack(**{**values, **other})


@pytest.mark.parametrize("background", [None, rng.random((12, 16)).astype(np.float16)])
def test_round_trip(tmp_path: Path, background: Any) -> None:
    wanted = stack(background=background)
    wanted.save(tmp_path / "cams.npz")
    found = CamStack.load(tmp_path / "cams.npz")
    for field in dataclasses.fields(CamStack):
        a, b = getattr(wanted, field.name), getattr(found, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        else:
            assert a == b and type(a) is type(b)


def test_a_stack_without_maps(tmp_path: Path) -> None:
    none = stack(classes=(), maps=np.zeros((0, 12, 16), np.float16), peaks=np.zeros(0, np.float32))
    none.save(tmp_path / "cams.npz")
    found = CamStack.load(tmp_path / "cams.npz")
    assert found.classes == () and found.maps.shape == (0, 12, 16)
    assert found.full().shape == (0, 45, 62) and found.full_background() is None


@pytest.mark.parametrize(
    "other",
    [
        {"classes": (0,)},
        {"classes": (2, 0)},
        {"classes": (0, 0)},
        {"classes": (-1, 0)},
        {"classes": (0, 254)},
        {"maps": np.zeros((12, 16), np.float16)},
        {"peaks": np.zeros(3, np.float32)},
        {"background": np.zeros((16, 12), np.float16)},
        {"cell": 0.0},
        {"cell": float("nan")},
        {"origin": float("inf")},
    ],
)
def test_parts_that_do_not_fit_are_a_mistake_of_the_programmer(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        stack(**other)


FORGED: dict[str, dict[str, Any]] = {
    "another kind": {"kind": "trace"},
    "a long kind": {"kind": "x" * 100_000},
    "no image": {"image": None, "size": None},
    "size of one": {"size": [4]},
    "size of words": {"size": ["a", "b"]},
    "size of nothing": {"size": [0, 4]},
    "size of a world": {"size": [1 << 40, 4]},
    "size below nothing": {"size": [-4, 4]},
    "no cell": {"cell": 0},
    "cell back to front": {"cell": -4.0},
    "cell of words": {"cell": "four"},
    "cell without end": {"cell": 10**400},
    "facts as a list": {"facts": [1, 2]},
    "facts as text": {"facts": "ab"},
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_facts(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cams.npz"
    stack().save(path)
    arrays, facts = read_npz(path)
    write_npz(path, arrays, {k: v for k, v in {**facts, **FORGED[name]}.items() if v is not None})
    refused(path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("maps", np.array(["a", "b"])),
        ("maps", np.zeros((2, 12, 16, 1), np.float16)),
        ("maps", None),
        ("peaks", np.zeros(7, np.float32)),
        ("peaks", np.array(["x", "y"])),
        ("classes", np.array([1, 0], np.int32)),
        ("classes", np.array([0, 300], np.int32)),
        ("classes", np.array(5, np.int32)),
        ("classes", np.array(["a", "b"])),
        ("scores", np.zeros(3, [("a", "<f4"), ("b", "<f4")])),
        ("background", np.full((12, 16), "x")),
        ("background", np.zeros((3, 3), np.float16)),
    ],
)
def test_forged_arrays(tmp_path: Path, name: str, array: Any) -> None:
    path = tmp_path / "cams.npz"
    stack().save(path)
    arrays, facts = read_npz(path)
    arrays.pop(name, None)
    write_npz(path, arrays if array is None else {**arrays, name: array}, facts)
    refused(path)


def refused(path: Path) -> None:
    with pytest.raises(UserError) as raised:
        CamStack.load(path)
    assert str(path) in raised.value.found and raised.value.accepted and raised.value.todo
    assert len(str(raised.value)) < 1000


def test_what_is_missing_is_told_from_what_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CamStack.load(tmp_path / "cams.npz")
    (tmp_path / "cams.npz").write_bytes(b"")
    with pytest.raises(UserError):
        CamStack.load(tmp_path / "cams.npz")


def naive(maps: np.ndarray, size: tuple[int, int], cell: float, origin: float) -> np.ndarray:
    """Bilinear interpolation by its definition, one pixel at a time."""
    out = np.zeros((len(maps), *size))
    _, h, w = maps.shape
    for y in range(size[0]):
        for x in range(size[1]):
            v, u = np.clip((y - origin) / cell, 0, h - 1), np.clip((x - origin) / cell, 0, w - 1)
            i, j = int(v), int(u)
            p, q = v - i, u - j
            i2, j2 = min(i + 1, h - 1), min(j + 1, w - 1)
            m = maps.astype(np.float64)
            out[:, y, x] = (
                m[:, i, j] * (1 - p) * (1 - q)
                + m[:, i, j2] * (1 - p) * q
                + m[:, i2, j] * p * (1 - q)
                + m[:, i2, j2] * p * q
            )
    return out


@pytest.mark.parametrize(("cell", "origin"), [(4, 0), (4, 1.5), (1, 0), (3.3, -2), (16, 100)])
def test_enlarging_is_bilinear_with_held_edges(cell: float, origin: float) -> None:
    maps = rng.random((2, 5, 7)).astype(np.float16)
    found = enlarge(maps, (19, 23), cell, origin)
    assert found.dtype == np.float32 and found.shape == (2, 19, 23)
    np.testing.assert_allclose(found, naive(maps, (19, 23), cell, origin), atol=1e-6)
    assert found.min() >= maps.min() and found.max() <= maps.max()


def test_cells_lie_where_the_alignment_says() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float16), (1, 8, 1))
    centred, official = enlarge(ramp, (32, 32), 4, 0.0), enlarge(ramp, (32, 32), 4, 1.5)
    np.testing.assert_allclose(centred[0, 0, :29], np.arange(29) / 4)
    np.testing.assert_allclose(official[0, 0, 2:30], (np.arange(2, 30) - 1.5) / 4)


def test_one_cell_and_no_map() -> None:
    assert (enlarge(np.full((1, 1, 1), 0.5, np.float16), (3, 4), 8, 0) == 0.5).all()
    assert enlarge(np.zeros((0, 3, 3), np.float16), (3, 4), 8, 0).shape == (0, 3, 4)
    assert not enlarge(np.zeros((2, 0, 3), np.float16), (3, 4), 8, 0).any()


def test_the_target_is_written_in_place() -> None:
    maps = rng.random((2, 5, 7)).astype(np.float16)
    out = np.full((2, 19, 23), np.nan, np.float32)
    assert enlarge(maps, (19, 23), 4, 0, out) is out
    np.testing.assert_array_equal(out, enlarge(maps, (19, 23), 4, 0))
    np.testing.assert_array_equal(
        stack(background=maps[0], maps=maps).full_background(), stack(maps=maps[:1].repeat(2, 0)).full()[0]
    )
