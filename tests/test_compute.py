"""Device, threads, precision and seeds: what the machine has, said plainly."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from engine import compute
from engine.errors import UserError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Let torch claim a number of GPUs of a compute capability."""

    def claim(count: int, capability: tuple[int, int] = (8, 0)) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)

    return claim


def test_device_by_name(gpus) -> None:  # type: ignore[no-untyped-def]
    gpus(2)
    assert compute.device("auto") == torch.device("cuda", 0)
    assert compute.device("cuda") == torch.device("cuda", 0)
    assert compute.device("cuda:1") == torch.device("cuda", 1)
    assert compute.device("cpu") == torch.device("cpu")
    gpus(0)
    assert compute.device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there(gpus, name: str, count: int) -> None:  # type: ignore[no-untyped-def]
    gpus(count)
    with pytest.raises(UserError) as told:
        compute.device(name)
    assert f"'{name}' is not there" in told.value.found and str(count) in told.value.found
    assert told.value.accepted == "Accepted here: auto, cpu" + ", cuda:0, cuda:1" * (count == 2) + "."
    assert "--device auto" in told.value.todo


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "mps", "", "cuda:0;rm"])
def test_no_such_device(name: str) -> None:
    with pytest.raises(UserError, match="not a choice"):
        compute.device(name)


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        assert compute.threads(1) == 1 == torch.get_num_threads()
        assert compute.threads() == max(1, compute.cores() - 1) == torch.get_num_threads()
        with pytest.raises(UserError, match="threads = 0"):
            compute.threads(0)
    finally:
        torch.set_num_threads(before)


def test_precision_is_bfloat16_only_where_the_device_computes_in_it(
    gpus, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    gpus(1, (8, 0))
    assert compute.precision(torch.device("cuda", 0)) == "bfloat16"
    gpus(1, (7, 5))
    assert compute.precision(torch.device("cuda", 0)) == "float32"
    cpu = torch.device("cpu")
    for facts, wanted in [
        ({"avx512_f": True}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({}, "float32"),
    ]:
        monkeypatch.setattr(compute, "_cpu_facts", lambda facts=facts: facts)
        assert compute.precision(cpu) == wanted
    assert compute.precision(cpu, "bfloat16") == "bfloat16"
    assert compute.precision(torch.device("cuda", 0), "float32") == "float32"
    with pytest.raises(UserError, match="precision = '16'"):
        compute.precision(cpu, "16")


def test_loader_workers_leave_the_cpu_to_the_network() -> None:
    assert compute.loader_workers(torch.device("cpu")) == 0
    assert 0 <= compute.loader_workers(torch.device("cuda", 0)) < max(1, compute.cores())


def test_seeds_follow_from_their_keys_alone() -> None:
    drawn = {
        keys: torch.randint(1 << 62, (), generator=compute.generator(*keys)).item()
        for keys in [
            (0,),
            (1,),
            (0, "a"),
            (0, 1),
            (0, "1"),
            (0, "a", "bc"),
            (0, "ab", "c"),
            (0, 1, 2),
            (0, 12),
            (-1,),
        ]
    }
    assert len(set(drawn.values())) == len(drawn)
    again = torch.randint(1 << 62, (), generator=compute.generator(0, "ab", "c")).item()
    assert again == drawn[(0, "ab", "c")]


def test_seeds_are_the_same_in_another_process() -> None:
    code = "from engine.compute import seed_of; print(seed_of(7, 'order', 3))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == compute.seed_of(7, "order", 3) < 1 << 63


def test_describe_is_plain_data() -> None:
    facts = compute.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["torch"] == torch.__version__
    assert facts["cpu"]["cores"] >= 1
    assert facts["cpu"]["memory"] is None or facts["cpu"]["memory"] > 1 << 28
    assert len(facts["gpus"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)
