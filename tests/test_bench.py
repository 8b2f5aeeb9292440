"""The benchmarks: their registry, the fairness of the clock, and the format of what they tell."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from engine.bench import about, benchmarks, measure
from engine.bench._versus import allocated, alternate, numbers, resident
from engine.cli import main
from engine.errors import UserError

KEYS = {"ratio", "max_difference", "seconds", "reference_seconds", "peak_bytes", "reference_peak_bytes"}


def test_the_folder_is_the_registry() -> None:
    assert {"cam", "sweep", "ui-threshold"} <= set(benchmarks())
    for name in benchmarks():
        assert about(name).endswith(".")
    with pytest.raises(UserError, match="Did you mean 'sweep'"):
        measure("sweeps")


def test_the_two_sides_take_turns_and_medians_are_told() -> None:
    order: list[str] = []
    waits = iter([0.0, 0.03, 0.001, 0.001])

    def ours() -> None:
        order.append("ours")
        time.sleep(next(waits))

    seconds, reference = alternate(ours, lambda: order.append("reference"), 3)
    assert order == ["ours", "reference", "ours", "reference", "reference", "ours", "ours", "reference"]
    assert 0.001 <= seconds < 0.02, "the slow round is no median"
    assert 0 <= reference < seconds


def test_peaks_are_of_the_call_alone() -> None:
    held = np.ones(1 << 20)
    assert allocated(lambda: np.ones(1 << 17)) == pytest.approx(1 << 20, rel=0.05)
    assert held.nbytes > allocated(lambda: None)

    def hold() -> None:
        grown = np.ones(1 << 23)
        time.sleep(0.5)  # the size is looked at now and then: a busy machine may miss what is gone in 30 ms
        assert grown[0]

    assert resident(hold) > 30 << 20


def test_the_ratio_is_reference_over_ours() -> None:
    told = numbers((2.0, 6.0), (10, 20), 0.5, images=3)
    assert told["ratio"] == 3 and told["images"] == 3 and set(told) >= KEYS
    assert (told["seconds"], told["reference_seconds"]) == (2, 6)


def test_the_sweep_is_identical_to_the_loop(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "sweep", "--rounds", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) >= KEYS and told["thresholds"] == 60
    assert told["max_difference"] == 0 and told["ratio"] > 0
