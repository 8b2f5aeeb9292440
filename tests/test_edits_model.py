"""Random edits, undo, redo, image switches and restarts equal a plain model of lists of masks."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from engine import images
from engine.edits import EditRoom, corrected
from engine.errors import UserError
from engine.store import Image, create, open_project
from engine.tags import Tags

_SIZE = (9, 13)
_STEMS = ("one", "two.b")


def _project(root: Path):
    (root / "images").mkdir(parents=True)
    listed = []
    for n, stem in enumerate(_STEMS):
        path = root / "images" / f"{stem}.png"
        Pillow.fromarray(np.full((*_SIZE, 3), 40 * n, np.uint8)).save(path)
        listed.append(Image(stem, path.name, *_SIZE, sha256=images.digest(path)))
    tags = Tags(("cat", "dog"), _STEMS, np.zeros((2, 2), np.int8))
    return create(root / "project", images=listed, image_folder=root / "images", tags=tags)


class _Model:
    """One image: masks by step, parents, proposals, decisions; everything is copied whole."""

    def __init__(self, proposal: np.ndarray | None) -> None:
        self.start = np.zeros(_SIZE, np.uint8) if proposal is None else proposal
        self.masks: dict[int | None, np.ndarray] = {None: self.start}
        self.parent: dict[int, int | None] = {}
        self.proposal: dict[int | None, np.ndarray | None] = {None: proposal}
        self.decided: dict[int | None, np.ndarray] = {None: np.zeros(_SIZE, bool)}
        self.cursor: int | None = None
        self.state = "unseen" if proposal is None else "proposed"

    @property
    def mask(self) -> np.ndarray:
        return self.masks[self.cursor]

    def add(self, number, after, proposal=None, decided=None) -> None:
        changed = after != self.mask
        self.parent[number] = self.cursor
        self.masks[number] = after
        self.proposal[number] = self.proposal[self.cursor] if proposal is None else proposal
        self.decided[number] = self.decided[self.cursor] | changed if decided is None else decided
        self.move(number)

    def move(self, number: int | None) -> None:
        if self.cursor != number:
            self.cursor, self.state = number, "in progress"

    def child(self) -> int | None:
        return max((s for s, p in self.parent.items() if p == self.cursor), default=None)


_OPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("brush",) * 6
            + ("undo",) * 4
            + ("redo",) * 3
            + ("go",) * 2
            + ("switch", "switch", "revert", "adopt", "reopen", "kill", "flush", "approve", "bulk")
        ),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=45,
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ops=_OPS, empty=st.booleans())
def test_random_days_equal_a_plain_model(ops, empty):
    root = Path(tempfile.mkdtemp())
    rooms: list[EditRoom] = []
    try:
        _live(root, ops, empty, rooms)
    finally:
        for room in rooms:
            room.close()
        shutil.rmtree(root)


def _live(root: Path, ops, empty: bool, rooms: list[EditRoom]) -> None:
    project = _project(root)
    rng = np.random.default_rng(len(ops))
    proposals = {s: rng.integers(0, 3, _SIZE).astype(np.uint8) for s in _STEMS}
    first = {s: None if empty else ("crf", proposals[s]) for s in _STEMS}
    models = {s: _Model(None if empty else proposals[s]) for s in _STEMS}
    rooms.append(EditRoom.open(project, who="ada"))
    at = 0
    sheets = {s: rooms[-1].load(s, first[s]) for s in _STEMS}
    for op, seed in ops:
        rng = np.random.default_rng(seed)
        room, stem = rooms[-1], _STEMS[at]
        sheet, model = sheets[stem], models[stem]
        if op == "brush":
            y0, x0 = int(rng.integers(0, _SIZE[0])), int(rng.integers(0, _SIZE[1]))
            y1, x1 = int(rng.integers(y0, _SIZE[0] + 1)), int(rng.integers(x0, _SIZE[1] + 1))
            after = model.mask.copy()
            part = rng.choice(np.array([0, 1, 2, 255], np.uint8), (y1 - y0, x1 - x0))
            keep = rng.random(part.shape) < rng.random()
            after[y0:y1, x0:x1] = np.where(keep, after[y0:y1, x0:x1], part)
            step = room.commit(sheet, "Brush", "brush", (y0, x0, y1, x1), after[y0:y1, x0:x1])
            changed = after != model.mask
            assert (step is None) == (not changed.any())
            if step is not None:
                ys, xs = np.nonzero(changed)
                assert step.box == (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
                assert step.pixels == changed.sum() and step.parent == model.cursor and step.who == "ada"
                model.add(step.id, after)
        elif op == "undo":
            step = room.undo(sheet)
            assert (step is None) == (model.cursor is None)
            if step is not None:
                assert step.id == model.cursor and not step.done
                model.move(model.parent[step.id])
        elif op == "redo":
            step = room.redo(sheet)
            assert (None if step is None else step.id) == model.child()
            if step is not None:
                model.move(step.id)
        elif op == "go":
            target = [None, *model.parent][int(rng.integers(len(model.parent) + 1))]
            moved = room.go_to(sheet, target)
            assert bool(moved) == (target != model.cursor)
            model.move(target)
        elif op == "switch":
            at = 1 - at
            sheets[_STEMS[at]] = room.load(_STEMS[at], first[_STEMS[at]])
        elif op == "revert":
            goal = model.proposal[model.cursor]
            goal = model.start if goal is None else goal
            step = room.revert(sheet)
            assert (step is None) == np.array_equal(goal, model.mask)
            if step is not None:
                model.add(step.id, goal, decided=np.zeros(_SIZE, bool))
        elif op == "adopt":
            new = rng.integers(0, 3, _SIZE).astype(np.uint8)
            open_to = ~model.decided[model.cursor]
            assert np.array_equal(room.would_change(sheet, new), (new != model.mask) & open_to)
            step = room.adopt(sheet, "newer", new)
            assert step is not None
            after = np.where(open_to, new, model.mask)
            model.add(step.id, after, new, model.decided[model.cursor])
        elif op == "flush":
            room.flush()
        elif op == "approve":
            room.set_state(stem, "approved")
            with pytest.raises(UserError, match="approved"):
                room.commit(sheet, "Brush", "brush", (0, 0, *_SIZE), (model.mask == 0).astype(np.uint8))
            assert room.decided(sheet).all()
            room.set_state(stem, "in progress")
            model.state = "in progress"
            model.decided[model.cursor] = np.ones(_SIZE, bool)
        elif op == "bulk":
            changed = list(room.bulk("Dogs are cats", "convert", _dogs, _STEMS))
            for s in changed:
                models[s].add(room.load(s).cursor, _dogs(s, models[s].mask))
        elif op in ("reopen", "kill"):
            if op == "reopen":
                room.close()
                project = open_project(project.root)
            else:  # what a killed process leaves: the files as they are, log included
                home = root / f"killed{len(rooms)}"
                shutil.copytree(project.root, home)
                project = open_project(home)
            rooms.append(EditRoom.open(project, who="ada"))
            assert rooms[-1].notes == ()
            sheets = {s: rooms[-1].load(s, first[s]) for s in _STEMS}
        _same(rooms[-1], sheets, models)
    rooms[-1].close()
    masks = corrected(project, None)
    for stem, model in models.items():
        if stem in masks.stems():
            assert np.array_equal(masks.read(stem), model.mask)
        else:
            assert model.state in ("unseen", "proposed")


def _same(room, sheets, models) -> None:
    for stem, model in models.items():
        sheet = sheets[stem]
        assert np.array_equal(sheet.mask, model.mask)
        assert sheet.cursor == model.cursor and sheet.state == model.state
        proposal = model.proposal[model.cursor]
        assert (sheet.proposal is None) == (proposal is None)
        assert proposal is None or np.array_equal(sheet.proposal, proposal)
        assert np.array_equal(room.decided(sheet), model.decided[model.cursor])
        way, step = [], model.cursor
        while step is not None:
            way, step = [step, *way], model.parent[step]
        told = room.steps(stem)
        assert [s.id for s in told if s.done] == way


def _dogs(stem: str, mask: np.ndarray) -> np.ndarray:
    return np.where(mask == 2, 1, mask).astype(np.uint8)
