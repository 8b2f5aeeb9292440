"""A step for several ranks that loads no torch; does what the job's `run` says."""

from __future__ import annotations

import os
import time
from pathlib import Path

from engine.errors import UserError
from engine.messages import Progress, Said
from engine.work import Halted


def run(job, desk):
    rank = int(os.environ.get("RANK", "0"))
    mark = Path(job.project, f"rank-{rank}")
    mark.write_text(str(os.getpid()))
    print("noise on standard output", flush=True)
    yield Said(text=f"rank {rank}")
    if job.run == "short":
        return {"world": int(os.environ["WORLD_SIZE"]), "rank": rank}
    for step in range(3000):
        time.sleep(0.02)
        if step == 5 and rank == 1 and job.run == "mistake":
            raise UserError("Rank 1 found this.", "", "Do so.")
        if step == 5 and rank == 1 and job.run == "die":
            os.kill(os.getpid(), 9)
        yield Progress(done=step, total=3000)
        if desk.stop():
            mark.with_name(f"left-{rank}").touch()
            raise Halted
