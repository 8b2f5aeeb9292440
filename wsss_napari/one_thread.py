"""Small products in the window without the threads of BLAS."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]


def one_thread() -> AbstractContextManager[object]:
    """Multiply matrices in this thread alone, for as long as the context lasts.

    BLAS shares a product of some milliseconds among threads that spin on for tens of milliseconds when it is
    done. Where no graphics card draws, the canvas needs these processors at that very moment.
    """
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries() -> ThreadpoolController:
    # To look for the libraries of the process takes longer than a frame; NumPy's is loaded by now.
    return ThreadpoolController()
