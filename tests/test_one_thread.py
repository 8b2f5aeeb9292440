"""Small products of the window leave the processors to the canvas."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info

from wsss_napari.one_thread import one_thread


def threads() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_one_thread_multiplies_and_the_others_come_back() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    assert before, "NumPy's BLAS is among the libraries"
    with one_thread():
        assert set(threads()) == {1}
    assert threads() == before


def test_the_others_come_back_after_an_error() -> None:
    before = threads()
    try:
        with one_thread():
            raise ValueError
    except ValueError:
        pass
    assert threads() == before
