"""A study's figure: every kind of panel drawn, read with the pointer, and saved as CSV, PNG and SVG."""

from __future__ import annotations

import dataclasses
import io
import math

import defusedxml.ElementTree as ElementTree
import numpy as np
import pyqtgraph as pg
import pytest
from PIL import Image as Pillow
from qtpy.QtCore import QPointF
from qtpy.QtWidgets import QFileDialog

from engine.results import Figure, Panel, Series
from wsss_napari.figure_canvas import columns_for, looks_of
from wsss_napari.figure_facts import facts_line
from wsss_napari.figure_scale import Columns, XScale, number, read_cell
from wsss_napari.figure_view import FigureView

LIGHT = {"text": "#3b3a39", "background": "#efebe9", "foreground": "#d6d0ce"}
DARK = {"text": "#f0f1f2", "background": "#262930", "foreground": "#414851"}
CLASSES = ("#0072B2", "#E69F00", "#009E73")
LAM = (0.0, 1.0, 7.0, 70.0)


def lines(**more) -> Panel:
    return Panel(
        "Seed quality",
        "lines",
        "step t",
        "seed mIoU",
        (
            Series("with penalty", (0, 1, 2), (0.47, 0.48, 0.5), cls=1),
            Series("without", (0, 1, 2), (0.47, 0.49, 0.4)),
        ),
        marks=((2, 0.5, "best 0.500"),),
        **more,
    )


BARS = Panel(
    "Gains",
    "bars",
    "class",
    "gain, points",
    (Series("gain", (0, 1, 2), (3.0, -1.0, 2.5)),),
    categories=("cat", "dog & co", "<b>bird</b>"),
)
POINTS = Panel(
    "t-SNE",
    "points",
    "axis 1",
    "axis 2",
    (
        Series("cats", (0.0, 1.0), (0.0, 1.0), cls=0, labels=("cat_1", "cat_2")),
        Series(
            "climb",
            (0.0, 5.0, 10.0),
            (10.0, 5.0, 10.0),
            cls=0,
            labels=("step 0", "step 1", "step 2"),
            joined=True,
        ),
    ),
)
GRID = Panel("Loss", "grid", "a", "b", grid=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), extent=(-1.0, 1.0, 0.0, 1.0))
HISTOGRAM = Panel(
    "Ratios", "histogram", "ratio", "share", (Series("in R_D", (0.0, 0.5, 1.0, 1.5), (0.2, 0.7, 0.1)),)
)
SWEEP = Panel(
    "", "lines", "lambda", "mIoU", (Series("best threshold", LAM, (0.43, 0.46, 0.499, 0.487)),), log=True
)


def figure(*panels: Panel, **more) -> Figure:
    facts = {
        "run": "cam",
        "split": "train",
        "images": ["a", "b"],
        "climb": {"steps": 30, "lam": 7.0, "flip": True},
    }
    return Figure("quality", "Quality per step", "What is drawn.", panels, facts=facts, **more)


EVERY = figure(lines(), BARS, POINTS, GRID, HISTOGRAM, SWEEP)


@pytest.fixture
def view(qtbot) -> FigureView:
    made = FigureView(detachable=True)
    qtbot.addWidget(made)
    made.resize(1500, 700)
    made.show()
    qtbot.waitExposed(made)
    return made


def items(view: FigureView, panel: int, kind: type) -> list:
    return [item for item in view.canvas.panels[panel].plot.items if type(item) is kind]


def place(view: FigureView, panel: int, x: float, y: float) -> QPointF:
    """Return where a number lies in the scene."""
    view.grab()
    return view.canvas.panels[panel].plot.vb.mapViewToScene(QPointF(x, y))


def point_at(view: FigureView, panel: int, x: float, y: float) -> str:
    view.canvas.scene().sigMouseMoved.emit(place(view, panel, x, y))
    return view.line.text()


def test_every_kind_of_panel_is_drawn_with_its_numbers(view):
    view.show_figure(EVERY, CLASSES)
    assert len(view.canvas.panels) == 6
    curves = view.canvas.panels[0].plot.listDataItems()
    np.testing.assert_allclose(curves[0].getData(), [[0, 1, 2], [0.47, 0.48, 0.5]])
    (bars,) = items(view, 1, pg.BarGraphItem)
    np.testing.assert_allclose(bars.opts["height"], [3, -1, 2.5])
    (cloud,) = items(view, 2, pg.ScatterPlotItem)
    np.testing.assert_allclose(cloud.getData(), [[0, 1], [0, 1]])
    (climb,) = items(view, 2, pg.PlotDataItem)
    np.testing.assert_allclose(climb.getData(), [[0, 5, 10], [10, 5, 10]])
    (picture,) = items(view, 3, pg.ImageItem)
    np.testing.assert_array_equal(picture.image, [[1, 2, 3], [4, 5, 6]])
    assert tuple(picture.levels) == (1, 6) == tuple(view.canvas.panels[3].bar.levels())
    # The extent names the middles of the outer cells.
    assert picture.mapRectToParent(picture.boundingRect()).getRect() == pytest.approx((-1.5, -0.5, 3, 2))
    (steps,) = view.canvas.panels[4].plot.listDataItems()
    assert steps.opts["stepMode"] == "center" and len(steps.xData) == len(steps.yData) + 1
    for panel in view.canvas.panels:
        assert panel.plot.getAxis("left").labelText and panel.plot.getAxis("bottom").labelText


def test_names_of_a_file_are_text_and_no_markup(view):
    hostile = Panel(
        "<img src='x'>",
        "lines",
        "<b>x</b>",
        "y",
        (Series("<i>s</i>", (0, 1), (0, 1)), Series("t", (0, 1), (1, 0))),
    )
    view.show_figure(figure(hostile, BARS), CLASSES)
    plot = view.canvas.panels[0].plot
    assert plot.titleLabel.item.toPlainText() == "<img src='x'>"
    assert plot.getAxis("bottom").label.toPlainText().strip() == "<b>x</b>"
    (legend,) = view.canvas.legends
    assert [label.item.toPlainText() for _, label in legend.items] == ["<i>s</i>", "t"]


def test_classes_keep_their_colour_and_other_names_theirs_in_all_panels():
    two = Panel(
        "", "lines", "x", "y", (Series("cat", (0,), (0,), cls=0), Series("cat, free", (0,), (0,), cls=0))
    )
    looks = looks_of(figure(lines(), two, lines()), CLASSES)
    assert looks[0][0].colour == CLASSES[1] and looks[0] == looks[2]
    assert looks[0][1].colour not in CLASSES[:2]
    # Two curves of one class differ by their dash.
    assert [look.colour for look in looks[1]] == [CLASSES[0]] * 2
    assert looks[1][0].dash != looks[1][1].dash
    # A class of another project has no colour here.
    assert looks_of(figure(two), ())[0][0].colour.startswith("#")


def test_panels_of_the_same_series_share_a_legend_and_others_have_their_own(view):
    view.show_figure(figure(lines(), lines()), CLASSES)
    (shared,) = view.canvas.legends
    assert [label.text for _, label in shared.items] == ["with penalty", "without"]
    # A click on its sample hides the series in both panels.
    shared.items[0][0].item.setVisible(True)
    event = type("Click", (), {"button": lambda self: 1, "accept": lambda self: None})()
    shared.items[0][0].mouseClickEvent(event)
    shown = [[c.isVisible() for c in p.plot.listDataItems()[:2]] for p in view.canvas.panels]
    assert shown == [[False, True], [False, True]]
    view.show_figure(figure(lines(), POINTS, HISTOGRAM), CLASSES)
    assert len(view.canvas.legends) == 2  # one series needs none
    view.show_figure(figure(lines(), lines(), POINTS, POINTS), CLASSES)
    assert [len(legend.items) for legend in view.canvas.legends] == [2, 2]
    assert all(len(sample._others) == 1 for legend in view.canvas.legends for sample, _ in legend.items)


def test_long_titles_push_no_panel_out_of_sight(view):
    wordy = [
        dataclasses.replace(lines(), title=f"A very long title of the panel of number {i}") for i in range(4)
    ]
    view.resize(900, 220)
    view.show_figure(figure(*wordy, POINTS), CLASSES)
    view.grab()
    inside = view.canvas.scene().sceneRect()
    for panel in view.canvas.panels:
        assert panel.plot.sceneBoundingRect().right() <= inside.right() + 1


def test_a_legend_is_as_long_as_its_room_and_says_what_it_leaves_out(view):
    many = tuple(Series(f"class number {i}", (0, 1), (i, i + 1)) for i in range(60))
    view.resize(700, 230)
    view.show_figure(figure(Panel("", "lines", "x", "y", many)), CLASSES)
    view.grab()
    (legend,) = view.canvas.legends
    words = [label.text for _, label in legend.items]
    assert words[0] == "class number 0" and words[-1] == f"and {60 - len(words) + 1} more"
    inside = view.canvas.scene().sceneRect()
    assert legend.sceneBoundingRect().bottom() <= inside.bottom()
    # Beside the axes, never over them.
    axes = view.canvas.panels[0].plot.vb.sceneBoundingRect()
    assert legend.sceneBoundingRect().left() >= axes.right() - 1


def test_the_pointer_reads_every_kind(view):
    view.show_figure(EVERY, CLASSES)
    assert point_at(view, 0, 1.1, 0.45) == "step t 1 · with penalty 0.48 · without 0.49"
    assert view.canvas.panels[0]._cursor.value() == 1
    assert point_at(view, 1, 0.9, 0) == "dog & co · gain -1"
    assert point_at(view, 2, 5, 5) == "step 1 · climb · (5, 5)"
    assert view.canvas.panels[2]._word.isVisible()
    assert view.canvas.panels[2]._word.toPlainText() == "step 1"
    assert not view.canvas.panels[0]._cursor.isVisible()
    assert point_at(view, 2, 3, 9) == "What is drawn. run cam · split train · 2 images · steps 30, lam 7"
    assert point_at(view, 3, 0.1, 0.8) == "a 0 · b 1 · 5"
    assert point_at(view, 4, 0.6, 0.1) == "ratio 0.5 to 1 · in R_D 0.7"
    assert point_at(view, 5, math.log10(7), 0.45) == "lambda 7 · best threshold 0.499"


def test_zero_has_a_place_on_a_logarithmic_axis():
    scale = XScale(SWEEP)
    places = scale.places(LAM)
    assert places == sorted(places) and all(map(math.isfinite, places))
    assert places[1:] == pytest.approx([0, math.log10(7), math.log10(70)])
    assert [text for _, text in scale.ticks()] == ["0", "1", "7", "70"]
    ranks = tuple(float(r) for r in range(1, 5000))
    long = Panel("", "lines", "rank", "score", (Series("cam", ranks, ranks),), log=True)
    assert [text for _, text in XScale(long).ticks()] == ["1", "10", "100", "1000"]
    # Nothing above zero: no logarithm.
    flat = Panel("", "lines", "x", "y", (Series("s", (0.0, -1.0), (1.0, 2.0)),), log=True)
    assert XScale(flat).ticks() == [(-1.0, "-1"), (0.0, "0")] and XScale(flat).place(-1.0) == -1.0
    assert [text for _, text in XScale(lines()).ticks()] == ["0", "1", "2"]
    assert XScale(POINTS).ticks() is XScale(BARS).ticks() is XScale(HISTOGRAM).ticks() is None


def test_read_outs_at_the_edges():
    scale = XScale(HISTOGRAM)
    columns = Columns(HISTOGRAM, scale)
    assert columns.read(-0.1) is None and columns.read(2.0) is None
    assert columns.read(0.0) == (0.25, "ratio 0 to 0.5 · in R_D 0.2")
    assert Columns(Panel("", "lines", "x", "y"), XScale(SWEEP)).read(0.0) is None
    assert read_cell(GRID, -1.6, 0) == "" and read_cell(GRID, -1.4, 1.4) == "a -1 · b 1 · 4"
    many = Panel("", "lines", "x", "y", tuple(Series(f"s{i}", (0.0,), (i,)) for i in range(20)))
    assert Columns(many, XScale(many)).read(0.0)[1].endswith("s7 7 · and 12 more")
    assert [number(v) for v in (3.0, 0.49912, 1e9, -2.0)] == ["3", "0.4991", "1e+09", "-2"]


def test_panels_stand_beside_each_other_in_a_strip_and_below_in_a_window(view):
    assert columns_for(4, 1400, 180) == 4 and columns_for(4, 900, 700) == 2 and columns_for(1, 300, 900) == 1
    view.show_figure(figure(lines(), lines(), lines(), lines()), CLASSES)
    rows = {round(p.plot.sceneBoundingRect().top()) for p in view.canvas.panels}
    assert len(rows) == 2
    view.resize(1500, 230)
    view.grab()
    rows = {round(p.plot.sceneBoundingRect().top()) for p in view.canvas.panels}
    assert len(rows) == 1


def test_pictures_keep_their_shape_and_use_their_room(view):
    picture = Panel("", "grid", "px", "px", grid=((0.0, 1.0), (1.0, 0.0)), extent=(0.0, 200.0, 0.0, 100.0))
    view.show_figure(figure(picture, picture, picture, picture), CLASSES)
    for size in ((300, 200), (1000, 800), (1400, 240)):
        view.resize(*size)
        view.grab()
        for drawn in view.canvas.panels:
            (item,) = [i for i in drawn.plot.items if isinstance(i, pg.ImageItem)]
            shown = item.sceneBoundingRect()
            assert shown.width() / shown.height() == pytest.approx(2, rel=0.02)
            if size[0] > 300:
                assert shown.width() > 0.6 * drawn.plot.vb.sceneBoundingRect().width()
                assert shown.height() > 0.6 * drawn.plot.vb.sceneBoundingRect().height()
    view.resize(1000, 800)
    view.grab()
    assert sum(p.plot.sceneBoundingRect().height() for p in view.canvas.panels) > 800


def test_the_theme_is_followed(view):
    view.show_figure(EVERY, CLASSES)
    for theme in (LIGHT, DARK):
        view.set_theme(theme)
        image = view.canvas.grab().toImage()
        assert image.pixelColor(1, 1).name() == theme["background"]
        axis = view.canvas.panels[0].plot.getAxis("left")
        assert axis.textPen().color().name() == theme["text"]


def test_the_caption_is_cut_to_a_line_until_it_is_opened(view):
    long = " ".join(f"Sentence number {i} of the caption." for i in range(40))
    view.show_figure(Figure("s", "T", long, (lines(),)), CLASSES)
    assert view.caption.isHidden() and view.line.text() == long
    view.fold.click()
    assert view.caption.isVisible() and view.caption.text() == long and view.line.text() == ""
    assert view.caption.height() > 2 * view.line.height()
    assert view.canvas.height() > 100


def test_the_table_behind_a_figure_is_a_click_away(view):
    view.show_figure(
        figure(lines(), rows={"step": [0, 1], "mIoU": [0.47, None], "note": ["a", "b"]}), CLASSES
    )
    view.table_button.click()
    assert view.stack.currentWidget() is view.table
    cells = [[view.table.item(r, c).text() for c in range(3)] for r in range(2)]
    assert cells == [["0", "0.47", "a"], ["1", "–", "b"]]
    view.show_figure(figure(lines()), CLASSES)
    assert view.table_button.isHidden() and view.stack.currentWidget() is view.canvas
    # A figure of a table alone opens with it.
    view.show_figure(figure(rows={"a": [1]}), CLASSES)
    assert view.stack.currentWidget() is view.table


def test_an_empty_view_says_what_to_do_and_saves_nothing(view, tmp_path):
    view.show_figure(None)
    assert "Run a study" in view.line.text()
    assert not any(b.isEnabled() for b in view.save_buttons.values())
    view.save_png(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "panel",
    [
        Panel("", "lines", "x", "y", (Series("s", (0, 1e300), (-1e300, 1e300)),), marks=((1e300, 0, "m"),)),
        Panel("", "grid", "x", "y", grid=((1.0, 1.0),), extent=(0.0, 0.0, 5.0, 5.0)),
        Panel("", "grid", "x", "y", grid=((7.0,),), extent=(3.0, -3.0, 1.0, -1.0)),
        Panel("", "histogram", "x", "y", (Series("s", (3.0, 1.0, 2.0), (1.0, 2.0)),)),
        Panel("", "bars", "x", "y", (Series("s", (0, 9), (0, 1), cls=200),), categories=("only",)),
        Panel("", "points", "x", "y", (Series("s", (1.0, 1.0), (2.0, 2.0), joined=True),)),
    ],
)
def test_odd_numbers_of_a_file_are_survived(view, panel, tmp_path):
    view.show_figure(figure(panel), CLASSES)
    for x in (0.0, 0.5, 3.0):
        point_at(view, 0, x, 0.5)
    view.save_svg(tmp_path / "odd.svg")


@pytest.mark.parametrize("kind", ["lines", "bars", "points", "grid", "histogram"])
def test_a_panel_without_numbers_is_drawn_empty(view, kind):
    view.show_figure(figure(Panel("Nothing", kind, "x", "y")), CLASSES)
    view.grab()
    assert point_at(view, 0, 0.5, 0.5).startswith("What is drawn.")


def svg_of(view: FigureView, path) -> tuple[ElementTree, list[str]]:
    view.save_svg(path)
    root = ElementTree.parse(path).getroot()
    return root, [t.text for t in root.iter("{http://www.w3.org/2000/svg}text") if t.text]


def test_the_csv_is_the_figures(view, tmp_path):
    view.show_figure(EVERY, CLASSES)
    view.save_csv(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == EVERY.csv()


def test_the_svg_has_all_words_as_text_and_curves_as_paths(view, tmp_path):
    view.show_figure(figure(lines(), BARS), CLASSES)
    root, words = svg_of(view, tmp_path / "out.svg")
    for word in (
        "Quality per step",
        "Seed quality",
        "step t",
        "seed mIoU",
        "without",
        "best 0.500",
        "cat",
        "dog & co",
    ):
        assert word in [w.strip() for w in words], word
    assert "0.47" in " ".join(words)  # numbers of the axis
    assert list(root.iter("{http://www.w3.org/2000/svg}path"))
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))
    description = next(root.iter("{http://www.w3.org/2000/svg}desc")).text
    assert "What is drawn." in description and "run cam" in description


def test_points_of_an_svg_are_drawn_and_not_pasted(view, tmp_path):
    view.show_figure(figure(POINTS), CLASSES)
    root, _ = svg_of(view, tmp_path / "out.svg")
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))
    view.show_figure(figure(GRID), CLASSES)
    root, words = svg_of(view, tmp_path / "grid.svg")
    assert list(root.iter("{http://www.w3.org/2000/svg}image")) and "Loss" in words


def test_the_png_is_white_large_and_tells_what_it_shows(view, tmp_path):
    view.set_theme(DARK)
    view.resize(400, 160)  # the file does not depend on the window
    view.show_figure(figure(lines(), BARS, GRID), CLASSES)
    view.save_png(tmp_path / "out.png")
    with Pillow.open(tmp_path / "out.png") as image:
        assert image.format == "PNG" and image.width > 2500
        assert image.getpixel((2, 2))[:3] == (255, 255, 255)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 20
        assert image.text["Title"] == "Quality per step" and "What is drawn." in image.text["Description"]
        assert round(image.info["dpi"][0]) == 240
        colours = {c for n, c in image.convert("RGB").getcolors(1 << 24) if n > 500}
    assert (230, 159, 0) in colours  # the curve of class 1


def test_all_kinds_are_saved_and_open_again(view, tmp_path):
    view.show_figure(EVERY, CLASSES)
    for kind, write in (("csv", view.save_csv), ("png", view.save_png), ("svg", view.save_svg)):
        write(tmp_path / f"out.{kind}")
    with Pillow.open(io.BytesIO((tmp_path / "out.png").read_bytes())) as image:
        image.load()
    words = [t.text for t in ElementTree.parse(tmp_path / "out.svg").iter() if t.tag.endswith("}text")]
    assert {"lambda", "t-SNE", "Ratios", "Loss"} <= {w.strip() for w in words if w}
    # Atomic: nothing half written lies about.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "out.png", "out.svg"]


def test_the_dialog_offers_a_name_and_an_ending_is_added(view, tmp_path, monkeypatch, qtbot):
    offered = []

    def ask(_parent, _title, name, _filter):
        offered.append(name)
        return str(tmp_path / "my.figure"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    view.show_figure(EVERY, CLASSES)
    with qtbot.waitSignal(view.said) as told:
        view.save_buttons["csv"].click()
    assert offered == ["quality-cam-train.csv"] and told.args[0] == "info"
    assert (tmp_path / "my.figure.csv").read_text() == EVERY.csv()
    view.save_buttons["svg"].click()
    assert offered[1] == str(tmp_path / "quality-cam-train.svg")


def test_a_file_that_cannot_be_written_is_told(view, tmp_path, monkeypatch, qtbot):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "file" / "a.png"), ""))
    view.show_figure(EVERY, CLASSES)
    with qtbot.waitSignal(view.said) as told:
        view.save_buttons["png"].click()
    assert told.args[0] == "error" and "could not be written" in told.args[1]


def test_facts_in_a_line():
    facts = {
        "run": "cam",
        "images": 1,
        "climb": {"lam": 0.5},
        "settings": {"image": "", "values": [1.0, 2.0]},
    }
    assert facts_line(facts) == "run cam · 1 image · lam 0.5, values 1.0,2.0"
    assert facts_line({}) == ""
