"""Rounds of clustering: what a training keeps of each, and the Clusters tab that shows them."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolTip

import engine
from engine.errors import UserError
from engine.messages import Train
from engine.nets.bank import Entries, SupportBank
from engine.results import ClusterRound, PrototypeBank, image_key, rounds_in
from engine.store import Run, open_project, run_of
from wsss_napari.pages.prototypes import PrototypesPage

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_prototypes.py")))
PAGES = runpy.run_path(str(Path(__file__).with_name("fake_pages.py")))
IMAGE = PAGES["IMAGE"]


def filled(rows: int = 6) -> SupportBank:
    bank = SupportBank(2, 8, 4, 2)
    draw = torch.Generator().manual_seed(0)
    bank.push(
        Entries(
            torch.arange(rows) + 10,
            torch.zeros(rows, dtype=torch.int64),
            torch.randn(rows, 4, generator=draw),
            torch.full((rows,), 0.9),
            torch.full((rows,), 0.2),
            torch.rand(rows, 2, generator=draw),
        ),
        step=1,
    )
    return bank


def test_a_round_holds_what_the_prototypes_were_made_of() -> None:
    bank = filled()
    bank.cluster(0, 3)
    made = bank.round(3)
    assert made.epoch == 3 and (made.member[1] == -1).all() and np.isnan(made.shift[1])
    rows = bank.held(0).numpy()
    assert made.shift[0] == pytest.approx(np.linalg.norm(rows.mean(0) - bank.mean[0].numpy()), rel=1e-3)
    clusters = made.clusters(0)
    assert sum(len(own) for _, own in clusters) == 6 and not made.clusters(1)
    assert [len(own) for _, own in clusters] == sorted((len(own) for _, own in clusters), reverse=True)
    # What comes into the bank later changes nothing of it.
    before = made.keys.copy()
    bank.push(Entries(*(part[:1] for part in _entries(99))), step=2)
    assert np.array_equal(made.keys, before) and (made.member[0, :6] >= 0).all()
    assert (bank.round(4).member == -1).all(), "another epoch made nothing"


def _entries(key: int) -> Entries:
    one = torch.ones(1)
    return Entries(
        torch.tensor([key]), torch.zeros(1, dtype=torch.int64), torch.ones(1, 4), one, one, torch.ones(1, 2)
    )


def test_a_round_comes_back_and_damage_is_told(tmp_path: Path) -> None:
    bank = filled()
    bank.cluster(0, 3)
    made, folder = bank.round(3), tmp_path / "rounds"
    assert rounds_in(folder) == {}
    made.save(folder)
    replace(made, epoch=12).save(folder)
    (folder / "note.npz").write_bytes(b"")
    assert list(rounds_in(folder)) == [3, 12]
    again = ClusterRound.load(rounds_in(folder)[3])
    for name in ("keys", "centres", "member", "shift"):
        assert np.array_equal(getattr(again, name), getattr(made, name), equal_nan=name == "shift")
    data = rounds_in(folder)[3].read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        rounds_in(folder)[3].write_bytes(data[:cut])
        with pytest.raises(UserError):
            ClusterRound.load(rounds_in(folder)[3])
    with pytest.raises(UserError, match="Train the run anew"):
        np.savez(folder / "0005.npz", keys=made.keys)
        ClusterRound.load(folder / "0005.npz")
    for other in ({"shift": made.shift[:1]}, {"centres": np.full_like(made.centres, np.nan)}):
        with pytest.raises(ValueError):
            replace(made, **other)
    with pytest.raises(ValueError):
        replace(made, keys=made.keys[:, :3])


def test_a_training_keeps_each_epochs_round(small_project) -> None:
    engine.do(
        Train(
            project=str(small_project.root),
            method="cpal",
            run="cpal",
            epochs=3,
            batch=4,
            crop=64,
            settings={
                "backbone": "tiny_cnn",
                "pretrained": False,
                "alpha": 0.0,
                "neighbours": 2,
                "clusters": 4,
                "length": 20,
                "dim": 32,
            },
        )
    )
    run = run_of(open_project(small_project.root).root, "cpal")
    bank = PrototypeBank.load(run.weights)
    kept = {epoch: ClusterRound.load(path) for epoch, path in rounds_in(run.rounds).items()}
    assert 2 in kept and set(kept) <= {0, 1, 2} and len(kept) > 1
    last = kept[2]
    # Rows that came in since have overwritten some of those that the last prototypes were made of.
    same = bank.member >= 0
    assert np.array_equal(last.member[same], bank.member[same])
    assert np.array_equal(last.keys[same], bank.keys[same])
    known = {image_key(stem) for stem in small_project.usable}
    assert set(last.keys[last.member >= 0].tolist()) <= known
    assert np.isfinite(last.shift).any()


# The window ---------------------------------------------------------------------------------------


def kept(project: Any, run: Run, epoch: int, **changes: Any) -> ClusterRound:
    """Write a round of every class: two clusters, of four rows and of two."""
    classes = len(project.classes)
    keys = np.full((classes, 12), image_key(IMAGE), np.int64)
    keys[:, 1] = 7  # an image that is gone
    member = np.full((classes, 12), -1, np.int32)
    member[:, :4], member[:, 4:6] = 1, 0
    made = ClusterRound(
        epoch,
        keys,
        np.full((classes, 12, 2), 0.5, np.float32),
        member,
        np.full(classes, 0.5 / (epoch + 1), np.float32),
    )
    made = replace(made, **changes)
    made.save(run.rounds)
    return made


@pytest.fixture
def run(small_project) -> Run:
    made = FAKE["trained"](small_project, title="context")  # its prototypes are of epoch 3
    FAKE["look"](small_project, made, IMAGE)
    return made


def opened(project: Any, qtbot: Any) -> PrototypesPage:
    page = PAGES["opened"](PAGES["make_page"](PrototypesPage, ViewerModel(), qtbot), project)
    page.panel.galleries.tabs.setCurrentIndex(1)
    return page


def choose(page: PrototypesPage, text: str) -> None:
    box = page.panel.galleries.rounds
    box.setCurrentIndex(box.findText(text))
    box.activated.emit(box.currentIndex())


def test_earlier_rounds_are_chosen_and_looked_at(small_project, run, qtbot) -> None:
    for epoch in (0, 1, 2):
        kept(small_project, run, epoch)
    page = opened(small_project, qtbot)
    panes = page.panel.galleries
    texts = [panes.rounds.itemText(n) for n in range(panes.rounds.count())]
    assert texts == ["Epoch 3: the prototypes as they are", "Epoch 2", "Epoch 1"]
    now = panes.grid.lines
    choose(page, "Epoch 1")
    lines = panes.grid.lines
    assert [(line.prototype, len(line.cells)) for line in lines] == [(1, 4), (0, 2)]
    assert lines[0].share == 1 and lines[1].share == 0.5 and "4 rows" in lines[0].words
    assert lines[0].cells[0].stem == IMAGE and lines[0].cells[1].stem is None
    assert "in epoch 1" in panes.round.text() and panes.sizes.words.text() == "2 to 4 rows a prototype"
    sheet = panes.grid.sheet
    qtbot.mouseClick(sheet, Qt.MouseButton.LeftButton, pos=sheet.rect_of(0, 0).center())
    assert [a.text() for a in panes.menu.actions()] == [f"Show {IMAGE}"]
    panes.menu.close()
    qtbot.mouseClick(sheet, Qt.MouseButton.LeftButton, pos=sheet.rect_of(0, 1).center())
    assert not panes.menu.actions()[0].isEnabled()
    panes.menu.close()
    page.session.cls = small_project.tags().present(IMAGE)[1]
    assert panes.rounds.currentText() == "Epoch 1", "another class of the same run"
    choose(page, texts[0])
    page.session.cls = small_project.tags().present(IMAGE)[0]
    assert [line.prototype for line in panes.grid.lines] == [line.prototype for line in now]
    QToolTip.hideText()


def test_the_shift_is_drawn_from_epoch_to_epoch(small_project, run, qtbot) -> None:
    for epoch in (0, 1, 2):
        kept(small_project, run, epoch)
    page = opened(small_project, qtbot)
    panes = page.panel.galleries
    x, y = panes.shift_line.getData()
    assert panes.shifts.isVisible() and list(x) == [1, 2, 3]
    assert np.allclose(y, [0.5, 0.25, 0.5 / 3])
    assert panes.shifts.words.text() == "|δ| 0.167 in epoch 3, 0.500 in epoch 1"


def test_runs_without_rounds_show_the_last_one(small_project, run, qtbot) -> None:
    page = opened(small_project, qtbot)
    panes = page.panel.galleries
    assert panes.rounds.count() == 1 and not panes.rounds.isEnabled() and not panes.shifts.isVisible()
    assert len(panes.grid.lines) == 4


def test_a_class_that_had_no_clusters_in_an_epoch_is_not_offered_it(small_project, run, qtbot) -> None:
    first = small_project.tags().present(IMAGE)[0]
    shift = np.full(len(small_project.classes), 0.1, np.float32)
    shift[first] = np.nan
    kept(small_project, run, 0, shift=shift)
    kept(small_project, run, 1)
    page = opened(small_project, qtbot)
    assert page.panel.galleries.rounds.count() == 2
    page.session.cls = small_project.tags().present(IMAGE)[1]
    assert page.panel.galleries.rounds.count() == 3


def test_a_damaged_round_is_told_and_passed_over(small_project, run, qtbot) -> None:
    kept(small_project, run, 0)
    kept(small_project, run, 1)
    path = rounds_in(run.rounds)[0]
    path.write_bytes(path.read_bytes()[:50])
    said: list[str] = []
    page = PAGES["make_page"](PrototypesPage, ViewerModel(), qtbot)
    page.desk.said = lambda _level, text: said.append(text)
    PAGES["opened"](page, small_project)
    page.panel.galleries.tabs.setCurrentIndex(1)
    assert page.panel.galleries.rounds.count() == 2 and len(said) == 1 and "0000.npz" in said[0]
