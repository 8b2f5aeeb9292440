"""Signal 9 at random moments: nothing finished is lost, nothing half-written is read, all can go on.

The bar asks for twenty rounds of each kind: `python tests/kill_loop.py FOLDER --rounds 20`, and the
same with `--application`. Here a few, with the same script.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.skipif(os.name == "nt", reason="forks, and signal 9")
@pytest.mark.parametrize(
    ("rounds", "flags"), [(5, []), (1, ["--application"])], ids=["engine", "application"]
)
def test_killed_at_random_moments(rounds: int, flags: list[str], tmp_path: Path) -> None:
    paths = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [sys.executable, str(HERE / "kill_loop.py"), str(tmp_path / "work"), "--rounds", str(rounds), *flags],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    told = json.loads(result.stdout.splitlines()[-1])
    assert sum(told["killed"].values()) == rounds
