"""Pictures of the window: real pixels of a shown window, in the theme and size that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.errors import UserError
from wsss_napari.__main__ import main
from wsss_napari.screenshots import shoot


def test_pages_are_drawn_with_real_content(small_project, tmp_path, qapp):
    drawn = shoot(tmp_path / "shots", small_project.root, sizes=[(1280, 800)], pages=["tags"])
    assert [p.name for p in drawn] == ["tags-dark-1280x800.png", "tags-light-1280x800.png"]
    dark, light = (np.asarray(Pillow.open(p).convert("RGB")) for p in drawn)
    assert dark.shape == light.shape == (800, 1280, 3)
    for picture in (dark, light):
        canvas = picture[200:600, 400:800].reshape(-1, 3)
        assert len(np.unique(canvas, axis=0)) > 100, "a hidden window gives a canvas of one colour"
        dock = picture[:, 910:].reshape(-1, 3)
        assert len(np.unique(dock, axis=0)) > 100
    assert np.median(dark[:, 910:]) < 90 < 160 < np.median(light[:, 910:])


def test_a_project_that_is_none_is_a_sentence_and_leaves_no_window(tmp_path, qapp, capsys):
    assert main([str(tmp_path), "--screenshots", str(tmp_path / "shots")]) == 2
    assert "no project" in capsys.readouterr().err
    with pytest.raises(UserError, match="no project"):
        shoot(tmp_path / "shots", tmp_path)
