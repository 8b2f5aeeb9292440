"""The walk on a device, against the walk on the processor; and its benchmark on a small grid."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch

import engine.walk as on_device
from engine.affinity import path_affinity, transition, walk
from engine.bench import walk as benchmark
from engine.bench._dense_walk import dense_transition, dense_walk
from engine.walk import walk_on

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def scene(size: tuple[int, int] = (19, 23)) -> tuple[np.ndarray, np.ndarray, scipy.sparse.csr_array]:
    random = np.random.default_rng(0)
    edge = (random.random(size) ** 3).astype(np.float32)
    maps = random.random((3, *size)).astype(np.float32)
    return edge, maps, transition(path_affinity(edge), 5, beta=10)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("device", DEVICES)
def test_torch_walks_as_scipy_does(device: str) -> None:
    _, maps, matrix = scene()
    times = (0, 1, 3, 64, 256)
    found = on_device._walked(torch.device(device), matrix, maps, times)
    assert found.dtype == np.float32 and np.array_equal(found[0], maps)
    np.testing.assert_allclose(found, walk(matrix, maps, times), atol=1e-5)
    assert np.array_equal(walk_on(torch.device(device), matrix, maps[:0], times), maps[None, :0][[0] * 5])


@pytest.mark.parametrize("device", DEVICES)
def test_torch_lets_nothing_through_a_wall(device: str) -> None:
    wall = np.zeros((15, 15), np.float32)
    wall[:, 7] = 1
    inside = np.zeros((1, 15, 15), np.float32)
    inside[..., :7] = 1
    matrix = transition(path_affinity(wall), 5, beta=10)
    walked = on_device._walked(torch.device(device), matrix, inside, (256,))[0, 0]
    assert (walked[:, 7:] == 0).all()
    np.testing.assert_allclose(walked[:, :7], 1, atol=1e-6)


def test_a_processor_walks_with_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    _, maps, matrix = scene()
    monkeypatch.setattr(on_device, "_walked", lambda *a: pytest.fail("torch walked on the processor"))
    assert np.array_equal(walk_on(torch.device("cpu"), matrix, maps, (5, 100)), walk(matrix, maps, (5, 100)))


def test_the_reference_of_the_benchmark_is_the_same_walk() -> None:
    edge, maps, matrix = scene((9, 11))
    np.testing.assert_allclose(dense_transition(edge, 5, 10), matrix.toarray(), atol=1e-6)
    found = dense_walk(edge, maps, radius=5, beta=10, steps=40)
    np.testing.assert_allclose(found, walk(matrix, maps, (40,))[0], atol=1e-5)


def test_the_benchmark_agrees_with_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_GRID", (24, 32))
    found = benchmark.bench(1)
    assert found["max_difference"] < 3e-4 and found["same_winner"] > 0.999
    assert found["steps"] == 256 and found["cells"] == 24 * 32
    assert 0 < found["peak_bytes"] < found["reference_peak_bytes"]
