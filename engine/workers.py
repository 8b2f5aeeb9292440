"""Run one function over many arguments in child processes; only JSON crosses the border.

    for index, result in run_pool("package.module:function", ([str(p)] for p in paths), workers=2):
        ...

The function is given by name and takes and returns JSON values: paths go over, arrays stay
in files. `multiprocessing` is not used on purpose: its children import the parent's main
module again, which loads torch in every worker and fails in a script without a main guard.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UserError

__all__ = ["run_pool"]

# One task in work and one waiting in the pipe, so that no worker idles between two.
_AHEAD = 2


def run_pool(function: str, arguments: Iterable[Sequence[Any]], workers: int) -> Iterator[tuple[int, Any]]:
    """Call `function(*arguments)` for each element and yield (index, result) as they end.

    Arguments are drawn as workers become free. Closing the generator ends the workers at
    once; what one of them was writing is left to `engine.atomic`.

    Args:
        function: `package.module:name`; the module should not import torch, or each worker
            waits for it.
        arguments: JSON values for one call each.
        workers: Most processes at a time, at least 1.

    Raises:
        UserError: The function raised it, or a worker died (killed, out of memory).
        RuntimeError: The function failed otherwise; the worker's traceback is in the text.
    """
    if workers < 1:
        raise ValueError(f"{workers} workers")
    ended: queue.SimpleQueue[tuple[_Worker, str]] = queue.SimpleQueue()
    pool: list[_Worker] = []
    pending = 0
    tasks = enumerate(arguments)
    drained = False
    try:
        while True:
            while not drained:
                worker = min(pool, key=lambda w: len(w.tasks), default=None)
                if len(pool) < workers and (worker is None or worker.tasks):
                    worker = None  # a new one, once there is a task for it
                elif worker is not None and len(worker.tasks) >= _AHEAD:
                    break
                task = next(tasks, None)
                if task is None:
                    drained = True
                    break
                if worker is None:
                    worker = _Worker(function, ended)
                    pool.append(worker)
                worker.give(*task)
                pending += 1
            if not pending:
                return
            worker, line = ended.get()
            if not line:
                raise worker.death(function)
            index = worker.tasks.popleft()
            pending -= 1
            yield index, _opened(function, json.loads(line))
    finally:
        for worker in pool:
            worker.end()


class _Worker:
    """A child process and the indexes of the tasks it was given and has not ended."""

    def __init__(self, function: str, ended: queue.SimpleQueue[tuple[_Worker, str]]) -> None:
        self.tasks: deque[int] = deque()
        root = str(Path(__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._child = subprocess.Popen(
            [sys.executable, "-m", __name__, function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One thread each: the pool is the parallelism.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            text=True,
            encoding="utf-8",
        )
        self._listener = threading.Thread(target=self._listen, args=(ended,), daemon=True)
        self._listener.start()

    def give(self, index: int, arguments: Sequence[Any]) -> None:
        """Send a task; a dead child is noticed by the listener."""
        assert self._child.stdin is not None
        self.tasks.append(index)
        try:
            self._child.stdin.write(json.dumps(list(arguments)) + "\n")
            self._child.stdin.flush()
        except (BrokenPipeError, OSError):
            return  # the listener reports the end of the child, with its exit status

    def death(self, function: str) -> UserError:
        """Return the sentence for a child that ended by itself."""
        status = self._child.wait()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        at = f" at item {self.tasks[0]}" if self.tasks else ""
        return UserError(
            f"A worker process of {function} died ({how}){at}.",
            "Results that were finished are kept.",
            "Often the memory was exhausted: run it again with fewer --threads.",
        )

    def end(self) -> None:
        """End the child now and forget it."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.kill()
        self._child.wait()
        self._listener.join()  # it sees the end of the output
        self._child.stdout.close()
        try:
            self._child.stdin.close()
        except BrokenPipeError:
            return  # the unsent rest of a task for a child that is gone

    def _listen(self, ended: queue.SimpleQueue[tuple[_Worker, str]]) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            ended.put((self, line))
        ended.put((self, ""))


def _opened(function: str, reply: dict[str, Any]) -> Any:
    if "user" in reply:
        raise UserError(*reply["user"])
    if "bug" in reply:
        raise RuntimeError(f"{function} failed in a worker:\n{reply['bug']}")
    return reply["result"]


def _serve(name: str) -> None:
    # Ctrl-C reaches the whole group; the parent decides and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Replies keep the real standard output to themselves: a library that prints would break them.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module, _, attribute = name.partition(":")
    function = None
    for line in sys.stdin:
        reply: dict[str, Any]
        try:
            if function is None:
                function = getattr(importlib.import_module(module), attribute)
            reply = {"result": function(*json.loads(line))}
        except UserError as error:
            reply = {"user": list(error.args)}
        except Exception:  # noqa: BLE001 - whatever the task raised is told to the parent
            reply = {"bug": traceback.format_exc()}
        try:
            print(json.dumps(reply), file=replies, flush=True)
        except BrokenPipeError:
            return  # the parent is gone


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    _serve(sys.argv[1])
