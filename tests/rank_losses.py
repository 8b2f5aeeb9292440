"""Print the loss of every step of a training as one JSON line; started by torchrun it is one of the ranks.

python rank_losses.py JOB_FILE
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from engine.messages import Metrics, Train, decode
from engine.steps import train
from engine.work import Work


def losses(job: Train) -> list[float]:
    """Do the job below `engine.run`, which passes on ten metrics a second at most."""
    return [e.values["loss"] for e in train.run(job, Work()) if isinstance(e, Metrics)]


if __name__ == "__main__":
    given = decode(Path(sys.argv[1]).read_bytes())
    assert isinstance(given, Train)
    found = losses(given)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(found))
