"""Formats of class activation maps, out and in: round trips, the repositories' own lines, hostile pickles."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from engine.formats import format_named
from engine.results import CamStack

CLASSES = ("cat", "traffic light", "sheep")


def _stacks() -> list[CamStack]:
    rng = np.random.default_rng(2)

    def make(stem: str, size: tuple[int, int], classes: tuple[int, ...], origin: float) -> CamStack:
        shape = (len(classes), -(-size[0] // 16), -(-size[1] // 16))
        maps = rng.random(shape).astype(np.float16)
        return CamStack(
            stem,
            size,
            classes,
            maps,
            np.ones(len(classes), np.float32),
            16.0,
            origin,
            np.zeros(3, np.float32),
        )

    return [make("a", (50, 70), (0, 2), 7.5), make("b", (33, 21), (1,), 0.0), make("c", (20, 30), (), 0.0)]


SIZES = {"a": (50, 70), "b": (33, 21), "c": (20, 30)}


def _tensor(array: np.ndarray) -> object:
    return pytest.importorskip("torch").from_numpy(array.copy())


def _storage(data: bytes) -> np.ndarray:
    torch = pytest.importorskip("torch")
    storage = torch.load(io.BytesIO(data), weights_only=True)
    return torch.tensor([], dtype=storage.dtype).set_(storage).numpy()


@pytest.mark.parametrize(("name", "torch"), [("psa-cam", False), ("irn-cam", False), ("irn-cam", True)])
def test_maps_come_back_as_they_went(name: str, torch: bool, tmp_path: Path) -> None:
    lost = format_named(name).write(tmp_path, _stacks(), _tensor if torch else None)
    assert any("torch tensors" in line for line in lost) == (name == "irn-cam" and not torch)
    incoming = format_named(name).read(tmp_path, SIZES, CLASSES, _storage if torch else None)
    back = {stack.image: stack for stack in incoming.items}
    for sent in _stacks():
        got = back[sent.image]
        assert (got.classes, got.size) == (sent.classes, sent.size)
        np.testing.assert_allclose(got.full(), sent.full(), atol=5e-4)  # half precision
        assert got.scores.tolist() == [float(c in sent.classes) for c in range(3)]


def test_the_repositories_own_lines_read_the_files(tmp_path: Path) -> None:
    format_named("irn-cam").write(tmp_path, _stacks(), _tensor)
    cams = np.load(tmp_path / "a.npy", allow_pickle=True).item()
    keys = np.pad(cams["keys"] + 1, (1, 0), mode="constant")
    assert keys.tolist() == [0, 1, 3]
    assert cams["cam"].shape == (2, 13, 18) and str(cams["cam"].dtype) == "torch.float32"
    assert cams["high_res"].shape == (2, 50, 70) and cams["high_res"].dtype == np.float32
    format_named("psa-cam").write(tmp_path, _stacks())
    held = np.load(tmp_path / "a.npy", allow_pickle=True).item()
    assert list(held) == [0, 2] and held[2].shape == (50, 70) and held[2].dtype == np.float32


def test_the_quarter_maps_lie_where_the_large_ones_do(tmp_path: Path) -> None:
    # a ramp over the columns: bilinear resizing keeps it a ramp away from the edges
    ramp = np.tile(np.linspace(0, 1, 20, dtype=np.float16), (1, 10, 1))
    for cell, origin in ((16.0, 7.5), (16.0, 0.0)):
        stack = CamStack(
            "r", (160, 320), (0,), ramp, np.ones(1, np.float32), cell, origin, np.zeros(1, np.float32)
        )
        format_named("irn-cam").write(tmp_path, [stack])
        held = np.load(tmp_path / "r.npy", allow_pickle=True).item()
        pooled = held["high_res"].reshape(1, 40, 4, 80, 4).mean(axis=(2, 4))
        np.testing.assert_allclose(held["cam"][..., 5:-5], pooled[..., 5:-5], atol=1e-3)
        del held["high_res"]
        np.save(tmp_path / "r.npy", held)
        (coarse,) = format_named("irn-cam").read(tmp_path, {"r": (160, 320)}, ("cat",)).items
        assert (coarse.cell, coarse.origin) == (4.0, 1.5)
        np.testing.assert_allclose(coarse.full()[..., 20:-20], stack.full()[..., 20:-20], atol=3e-3)


def test_maps_of_others_are_put_in_order_and_scaled(tmp_path: Path) -> None:
    one, two = np.full((4, 5), 0.5), np.full((4, 5), 8.0, np.float32)
    two[0, 0] = -1
    np.save(tmp_path / "x.npy", {np.int64(2): one, 1: two})  # type: ignore[arg-type]
    (stack,) = format_named("psa-cam").read(tmp_path, {"x": (4, 5)}, CLASSES).items
    assert stack.classes == (1, 2) and stack.peaks.tolist() == [8.0, 1.0]
    assert stack.maps[0].max() == 1 and stack.maps[0].min() == 0 and (stack.maps[1] == 0.5).all()


@pytest.mark.parametrize(
    "content",
    [
        {3: np.zeros((4, 5), np.float32)},
        {-1: np.zeros((4, 5), np.float32)},
        {"cat": np.zeros((4, 5), np.float32)},
        {0: np.zeros((5, 4), np.float32)},
        {0: np.zeros((4, 5), np.int64)},
        {0: np.full((4, 5), np.nan, np.float32)},
        {0: [1.0, 2.0]},
        {0: None},
        [1, 2],
    ],
    ids=str,
)
def test_wrong_maps_are_refused_with_their_file(content: object, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array(content, dtype=object) if isinstance(content, dict) else content)
    with pytest.raises(UserError, match=r"x\.npy"):
        list(format_named("psa-cam").read(tmp_path, {"x": (4, 5)}, CLASSES).items)


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("name", ["irn-cam", "psa-cam"])
@pytest.mark.parametrize("where", ["value", "whole", "storage"])
def test_a_pickle_that_would_run_a_program_does_not(name: str, where: str, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    payload = _Payload(target)
    if where == "storage":
        # a true call of torch's loader, whose bytes are the payload
        class Storage:
            def __reduce__(self) -> tuple[object, tuple[bytes]]:
                return pytest.importorskip("torch").storage._load_from_bytes, (pickle.dumps(payload),)

        content: object = {"keys": Storage(), "cam": Storage()}
    else:
        content = {0: payload} if where == "value" else payload
    np.save(tmp_path / "x.npy", np.array(content, dtype=object))
    with pytest.raises(UserError, match=r"x\.npy"):
        list(format_named(name).read(tmp_path, {"x": (4, 5)}, CLASSES, _storage).items)
    assert not target.exists()


def test_tensors_without_torch_and_tensors_that_lie(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    read = format_named("irn-cam").read
    format_named("irn-cam").write(tmp_path, _stacks()[:1], _tensor)
    with pytest.raises(UserError, match="torch is not at hand"):
        list(read(tmp_path, SIZES, CLASSES, None).items)

    class Lie:
        def __init__(self, *args: object) -> None:
            self.args = args

        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return torch._utils._rebuild_tensor_v2, (torch.zeros(6).storage(), *self.args, False, {})

    for lie in (
        Lie(0, (2**40,), (0,)),
        Lie(0, (7,), (1,)),
        Lie(5, (2,), (1,)),
        Lie(0, (2,), (-1,)),
        Lie(0, (2, 2), (1,)),
    ):
        np.save(tmp_path / "a.npy", {"keys": lie, "cam": lie})  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"a\.npy"):
            list(read(tmp_path, SIZES, CLASSES, _storage).items)


def test_forged_headers_cuts_and_random_damage_are_sentences(tmp_path: Path) -> None:
    format_named("psa-cam").write(tmp_path, _stacks()[1:2])
    whole = (tmp_path / "b.npy").read_bytes()
    read = format_named("psa-cam").read

    def check(data: bytes) -> None:
        (tmp_path / "b.npy").write_bytes(data)
        with pytest.raises(UserError, match=r"b\.npy"):
            list(read(tmp_path, SIZES, CLASSES).items)

    for length in {*range(0, 260, 7), *range(260, len(whole) - 1, 311), len(whole) - 1}:
        check(whole[:length])
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f8", "fortran_order": False, "shape": (50_000_000_000,)}
    )
    check(huge.getvalue() + b"\0" * 64)
    rng = np.random.default_rng(6)
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, 400, 3):
            data[place] = rng.integers(256)
        (tmp_path / "b.npy").write_bytes(bytes(data))
        try:
            list(read(tmp_path, SIZES, CLASSES).items)
        except UserError as error:
            assert "b.npy" in str(error)
