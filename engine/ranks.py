"""One rank of a job, started by `engine.relay` through torch's launcher: `python -m engine.ranks JOB.json`.

Events leave on standard output, one JSON object a line. The rank stops when a file `stop`
lies beside the job's, and ends at once when its standard input does.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import psutil

from engine.errors import UserError
from engine.messages import Failed, Job, decode, encode
from engine.run import run

__all__ = ["main"]


def main(paper: Path) -> int:
    """Do the job in the file `paper` as the rank that the environment names.

    Returns:
        0 when it finished or was stopped, 1 when it failed: the launcher then ends the others.
    """
    # What libraries print must not mix with the events.
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    job = decode(paper.read_bytes())
    if not isinstance(job, Job):
        raise UserError(f"{paper} holds no job.")
    status = 0
    for event in run(job, stop=paper.with_name("stop").exists):
        status = 1 if isinstance(event, Failed) else status
        _write(channel, encode(event) + b"\n")
    return status


def _write(channel: int, data: bytes) -> None:
    while data:
        data = data[os.write(channel, data) :]


def _leave_with_parent() -> None:
    # Not sys.stdin: a thread that waits in its lock would block the interpreter's end.
    while os.read(0, 1024):
        continue
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
