"""Kill a process that merges two classes and takes it back at random moments, and look whether anything is half done.

    python tests/kill_merges.py 50

After each SIGKILL the project is opened: it is merged or it is not, tags, labels and corrected masks alike, before the
corrected masks follow and after they did. Taken back, every pixel and tag is what it was at the very beginning.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from engine import images
from engine.edits import EditRoom, corrected
from engine.store import Image, Project, create, label_set, open_project
from engine.tags import Tags

_SIZE = (40, 50)
_STEMS = tuple(f"im_{n}" for n in range(8))
_STATES = np.array([[n % 3 - 1, n // 3 - 1] for n in range(8)], np.int8)


def mask_of(n: int, seed: int) -> np.ndarray:
    """Return a mask that holds everything, [H, W] uint8."""
    return np.random.default_rng([n, seed]).choice(np.array([0, 1, 2, 255], np.uint8), _SIZE)


def make(root: Path) -> Project:
    """Make a project of eight grey images with labels and corrected masks, one of them approved."""
    (root / "images").mkdir(parents=True)
    listed = []
    for n, stem in enumerate(_STEMS):
        path = root / "images" / f"{stem}.png"
        Pillow.fromarray(np.full((*_SIZE, 3), 10 * n, np.uint8)).save(path)
        listed.append(Image(stem, path.name, *_SIZE, sha256=images.digest(path)))
    project = create(
        root / "project",
        images=listed,
        image_folder=root / "images",
        tags=Tags(("cat", "dog"), _STEMS, _STATES),
    )
    labels = label_set(project.root, project.colours, "crf", new=True)
    with EditRoom.open(project) as room:
        for n, stem in enumerate(_STEMS):
            labels.write(stem, mask_of(n, 0), f"digest {n}")
            sheet = room.load(stem, ("crf", labels.read(stem)))
            room.commit(sheet, "Brush", "brush", (0, 0, *_SIZE), mask_of(n, 1))
        room.set_state(_STEMS[3], "approved")
    return project


def work(root: Path) -> None:
    """Merge and take back until killed; one line each time that masks begin to follow."""
    while True:
        project = open_project(root)
        with EditRoom.open(project) as room:
            list(room.follow_merges())
            print("x", flush=True)
            if project.merges:
                project.take_back_merge()
            else:
                project.merge_classes("dog", "cat")
            list(room.follow_merges())


def check(project: Project) -> None:
    """Raise an AssertionError where one thing is merged and another is not."""
    merged = bool(project.merges)
    assert merged == bool(project.class_list.merged)
    # What was kept of a merge that never began, or is over, goes with the next one.
    kept = {place.name for place in (project.root / "merges").glob("*")}
    assert set(project.merges) <= kept and len(kept) <= 2
    labels, people = label_set(project.root, project.colours, "crf"), corrected(project)
    assert labels.stems() == people.stems() == _STEMS
    for n, stem in enumerate(_STEMS):
        for found, seed in ((labels.read(stem), 0), (people.read(stem), 1)):
            drawn = mask_of(n, seed)
            assert np.array_equal(found, np.where(drawn == 2, 1, drawn) if merged else drawn), (
                stem,
                seed,
                merged,
            )
        assert labels.digest(stem) == f"digest {n}"
    if not merged:
        assert np.array_equal(project.tags().states, _STATES)


def kill_round(root: Path, wait: float) -> bool:
    """Let a child work for `wait` seconds, kill it, and check; return whether it had begun a merge or its end."""
    with subprocess.Popen([sys.executable, __file__, "--work", str(root)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"x\n"
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
    check(open_project(root))  # jobs read it so, before anybody opens the Correct page
    project = open_project(root)
    with EditRoom.open(project) as room:
        assert room.notes == (), room.notes
        late = not room.follows
        list(room.follow_merges())
        assert room.follows and room.state(_STEMS[3]) == "approved"
        table = np.array([0, 1, 1 if project.merges else 2, *[0] * 252, 255], np.uint8)
        for n, stem in enumerate(_STEMS):
            assert np.array_equal(room.load(stem).mask, table[mask_of(n, 1)]), stem
        check(project)
    return late


def main(rounds: int, root: Path) -> int:
    """Run rounds of 0 to 2 s; return in how many of them masks did not follow yet."""
    rng, project = np.random.default_rng(rounds), make(root).root
    late = sum(kill_round(project, float(rng.random() * 2)) for _ in range(rounds))
    last = open_project(project)
    if last.merges:
        last.take_back_merge()
    check(last)
    return late


if __name__ == "__main__":
    if sys.argv[1] == "--work":
        work(Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            count = main(int(sys.argv[1]), Path(folder))
        print(f"{sys.argv[1]} kills, {count} before the masks followed, nothing half done")
