"""A process that is killed while it edits loses no acknowledged step (five rounds; 50 by hand)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize(("rounds", "mode"), [("5", "wal"), ("2", "delete")])
def test_no_acknowledged_step_is_lost_to_a_kill(rounds, mode):
    script = Path(__file__).with_name("kill_edits.py")
    done = subprocess.run(
        [sys.executable, str(script), rounds, mode],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=script.parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{rounds} kills, ") and "none lost" in done.stdout
