"""Kill a process that edits at random moments, and look whether an acknowledged step was lost.

    python tests/kill_edits.py 50          # with the write-ahead log
    python tests/kill_edits.py 50 delete   # as on a network folder

A child edits two images as fast as it can and writes a line for each step that `commit`, `undo`
or `go_to` acknowledged, with the hash of the mask. After a SIGKILL the parent opens the project,
finds the last acknowledged step in the history with that very mask, and checks that every file
can be read and nothing was set aside. Each round goes on where the last one was killed.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from engine import images
from engine.edits import EditRoom, corrected, journal
from engine.store import Image, Project, create, open_project
from engine.tags import Tags

_SIZE = (120, 160)
_STEMS = ("one", "two")


def make(root: Path) -> Project:
    """Make a project of two grey images."""
    (root / "images").mkdir(parents=True)
    listed = []
    for n, stem in enumerate(_STEMS):
        path = root / "images" / f"{stem}.png"
        Pillow.fromarray(np.full((*_SIZE, 3), 40 * n, np.uint8)).save(path)
        listed.append(Image(stem, path.name, *_SIZE, sha256=images.digest(path)))
    tags = Tags(("cat", "dog"), _STEMS, np.zeros((2, 2), np.int8))
    return create(root / "project", images=listed, image_folder=root / "images", tags=tags)


def edit(root: Path, seed: int, mode: str) -> None:
    """Edit until killed, and acknowledge every step on standard output."""
    journal.network_folder = lambda folder: "nfs" if mode == "delete" else ""
    rng = np.random.default_rng(seed)
    room = EditRoom.open(open_project(root))
    assert room.mode == mode
    sheets = [room.load(s, ("crf", np.ones(_SIZE, np.uint8))) for s in _STEMS]
    print("{}", flush=True)
    while True:
        sheet = sheets[int(rng.integers(2))]
        kind = rng.random()
        if kind < 0.7:
            y, x = int(rng.integers(0, 100)), int(rng.integers(0, 140))
            after = rng.choice(np.array([0, 1, 2, 255], np.uint8), (20, 20))
            room.commit(sheet, "Brush", "brush", (y, x, y + 20, x + 20), after)
        elif kind < 0.8:
            room.undo(sheet)
        elif kind < 0.85:
            room.redo(sheet)
        elif kind < 0.9:
            steps = room.steps(sheet.stem)
            room.go_to(sheet, steps[int(rng.integers(len(steps)))].id if steps else None)
        elif kind < 0.97:
            room.flush(sheet.stem)
        else:
            room.set_state(sheet.stem, "approved")
            room.set_state(sheet.stem, "in progress")
        print(json.dumps([sheet.stem, sheet.cursor, _hash(sheet.mask)]), flush=True)


def kill_round(root: Path, seed: int, wait: float, mode: str) -> int:
    """Let a child edit for `wait` seconds, kill it, and check; return how many steps it acknowledged.

    Raises:
        AssertionError: Something was lost or damaged.
    """
    command = [sys.executable, __file__, "--edit", str(root), str(seed), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"{}\n"
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        told = child.stdout.read().decode().splitlines()
    acknowledged = [json.loads(line) for line in told if line.endswith("]")]
    project = open_project(root)
    before = {stem: corrected(project, None).read(stem) for stem in corrected(project, None).stems()}
    with EditRoom.open(project) as room:
        assert room.notes == (), room.notes
        for stem in _STEMS:
            mine = [a for a in acknowledged if a[0] == stem]
            sheet = room.load(stem, ("crf", np.ones(_SIZE, np.uint8)))
            assert sheet.state in ("proposed", "in progress", "approved"), (sheet.state, sheet.note)
            assert stem not in before or np.array_equal(before[stem], sheet.mask)
            if mine:
                if room.state(stem) == "approved":
                    room.set_state(stem, "in progress")
                room.go_to(sheet, mine[-1][1])
                assert _hash(sheet.mask) == mine[-1][2], f"step {mine[-1][1]} of {stem} is lost"
    folder = root / "edited"
    assert not (folder / ".damaged").exists()
    for path in folder.rglob("*.png"):
        images.read_mask(path)
    return len(acknowledged)


def _hash(mask: np.ndarray) -> str:
    return hashlib.sha256(mask.tobytes()).hexdigest()


def main(rounds: int, root: Path, mode: str) -> int:
    """Run rounds of 0 to 0.5 s; return how many steps were acknowledged in all."""
    rng = np.random.default_rng(rounds)
    project = make(root).root
    return sum(kill_round(project, seed, float(rng.random() / 2), mode) for seed in range(rounds))


if __name__ == "__main__":
    if sys.argv[1] == "--edit":
        edit(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        with tempfile.TemporaryDirectory() as folder:
            count = main(int(sys.argv[1]), Path(folder), (*sys.argv[2:], "wal")[0])
        print(f"{sys.argv[1]} kills, {count} acknowledged steps, none lost, no file damaged")
