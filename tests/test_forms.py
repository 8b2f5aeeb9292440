"""The form: what it shows, what a person types, and what comes out."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QScrollArea, QVBoxLayout, QWidget

from engine.errors import UserError
from engine.params import Spec, describe, parse, presets
from wsss_napari.fields import CheckEntry, ChoiceEntry, FloatEntry, PathEntry, TextEntry, WholeEntry
from wsss_napari.forms import Form


@dataclass(frozen=True)
class Params:
    epochs: Annotated[
        int | None, Spec("Passes over the images.", low=1, high=1000, unit="epochs", main=True)
    ] = None
    rate: Annotated[float, Spec("Learning rate.", low=0, high=10, main=True)] = 0.01
    kind: Annotated[Literal["cam", "gradcam"], Spec("Which map is drawn.", main=True)] = "cam"
    flip: Annotated[bool, Spec("Mirror every other image.")] = True
    scales: Annotated[tuple[float, ...], Spec("Image scales.", low=0.1, high=4)] = (1.0, 0.5)
    sizes: Annotated[tuple[int, ...], Spec("Sides.", low=1, unit="px")] = (3,)
    seeds: Annotated[str, Spec("Run it starts from.", picks="run")] = ""
    weights: Annotated[str, Spec("A file of weights.", picks="path")] = ""

    PRESETS: ClassVar[dict[str, dict[str, object]]] = {
        "engine": {},
        "paper": {"scales": (1.0,), "rate": 0.1},
    }


@pytest.fixture
def form(qtbot) -> Form:
    runs = [("cam", "cam · resnet50"), ("cam-2", "cam-2 · mobilenet_v2")]
    made = Form(describe(Params), presets(Params), picks={"run": lambda: runs})
    qtbot.addWidget(made)
    made.show()
    return made


def type_into(qtbot, entry: QWidget, text: str) -> None:
    target = entry.focusProxy() or entry
    target.setFocus()
    target.selectAll()
    qtbot.keyClicks(target, text)
    qtbot.keyClick(target, Qt.Key.Key_Return)


def test_each_kind_has_its_widget_and_nothing_is_changed_at_first(form):
    kinds = {f.name: type(form.entry(f.name)) for f in form.fields}
    assert kinds == {
        "epochs": WholeEntry,
        "rate": FloatEntry,
        "kind": ChoiceEntry,
        "flip": CheckEntry,
        "scales": TextEntry,
        "sizes": TextEntry,
        "seeds": ChoiceEntry,
        "weights": PathEntry,
    }
    assert form.values() == {}
    assert form.preset.currentText() == "engine"


def test_main_fields_are_shown_and_the_rest_is_folded(form):
    assert form.entry("rate").isVisible() and not form.entry("scales").isVisible()
    assert form._fold.head.text() == "All parameters (8)"
    form._fold.head.click()
    assert form.entry("scales").isVisible()


def test_typed_values_come_out_as_parse_takes_them(form, qtbot):
    type_into(qtbot, form.entry("epochs"), "12")
    type_into(qtbot, form.entry("rate"), "2e-5")
    form.open_all()
    type_into(qtbot, form.entry("scales"), "1, 1.5,2")
    form.entry("flip").click()
    values = form.values()
    assert values == {"epochs": 12, "rate": 2e-5, "scales": [1.0, 1.5, 2.0], "flip": False}
    assert json.loads(json.dumps(values)) == values
    assert parse(Params, values) == Params(epochs=12, rate=2e-5, scales=(1.0, 1.5, 2.0), flip=False)


@pytest.mark.parametrize("rate", [1e-7, 2e-5, 0.1, 0.05, 1.0, 3.25, 10.0])
def test_rates_survive_the_box_to_the_last_digit(form, rate):
    form.set_values({"rate": rate})
    assert form.value("rate") == rate


def test_changed_values_are_marked_counted_and_reset_one_by_one(form, qtbot):
    form.open_all()
    type_into(qtbot, form.entry("rate"), "0.5")
    type_into(qtbot, form.entry("sizes"), "3,5")
    rows = form._rows
    assert [n for n, r in rows.items() if r.label.font().bold()] == ["rate", "sizes"]
    assert form._fold.head.text() == "All parameters (8) · 1 changed"
    rows["sizes"].reset.click()
    assert form.values() == {"rate": 0.5}
    assert not rows["sizes"].reset.isVisible() and rows["rate"].reset.isVisible()


def test_a_wrong_list_is_told_in_a_sentence_under_its_field(form, qtbot):
    form.open_all()
    type_into(qtbot, form.entry("scales"), "1,nine")
    sentence = form._rows["scales"].sentence
    assert sentence.isVisible() and "from 0.1 to 4" in sentence.text()
    assert form.problem() == sentence.text()
    with pytest.raises(UserError, match="scales"):
        form.values()
    type_into(qtbot, form.entry("scales"), "1,2")
    assert not sentence.isVisible() and form.problem() == ""
    assert form.values() == {"scales": [1.0, 2.0]}


def test_limits_hold_while_typing(form, qtbot):
    type_into(qtbot, form.entry("rate"), "99")
    assert form.value("rate") <= 10
    type_into(qtbot, form.entry("epochs"), "0")
    assert form.value("epochs") is None or form.value("epochs") >= 1


def test_an_optional_number_steps_from_automatic_to_its_lowest_and_back(form):
    box = form.entry("epochs")
    assert box.read() is None and box.text() == "automatic"
    box.stepUp()
    assert box.read() == 1 and box.text() == "1 epochs"
    box.stepDown()
    assert box.read() is None


def test_an_optional_decimal_never_rests_between_automatic_and_its_lowest(qtbot):
    @dataclass(frozen=True)
    class Some:
        decay: Annotated[float | None, Spec("Decay.", low=0, high=1)] = None

    made = Form(describe_local(Some))
    qtbot.addWidget(made)
    box = made.entry("decay")
    box.stepUp()
    assert box.read() == 0
    box.stepUp()
    assert box.read() > 0
    for _ in range(5):
        box.stepDown()
    assert box.read() is None


def describe_local(cls: type[Any]):
    # Classes inside a test function have string annotations that only this module can resolve.
    namespace = {"Annotated": Annotated, "Spec": Spec}
    cls.__annotations__ = {k: eval(v, namespace) for k, v in cls.__annotations__.items()}
    return describe(cls)


def test_presets_set_all_fields_and_a_change_makes_them_your_own(form, qtbot):
    form.preset.setCurrentText("paper")
    form.preset.activated.emit(form.preset.currentIndex())
    assert form.values() == {"rate": 0.1, "scales": [1.0]}
    type_into(qtbot, form.entry("rate"), "0.2")
    assert form.preset.currentText() == "your own"
    type_into(qtbot, form.entry("rate"), "0.1")
    assert form.preset.currentText() == "paper"


def test_a_form_from_json_rows_is_the_same_form(form, qtbot):
    rows = json.loads(json.dumps([dataclasses.asdict(f) for f in describe(Params)]))
    other = Form(rows, presets(Params))
    qtbot.addWidget(other)
    assert other.fields == form.fields
    assert other.values() == {}


def test_a_picker_shows_what_there_is_and_keeps_what_is_gone(qtbot):
    runs = [("a", "first")]
    made = Form(describe(Params), picks={"run": lambda: runs})
    qtbot.addWidget(made)
    made.set_values({"seeds": "a"})
    runs[:] = [("b", "second")]
    made.refill()
    entry = made.entry("seeds")
    assert entry.read() == "a"
    assert [entry.itemText(i) for i in range(entry.count())] == ["a", "second"]


def test_changed_is_emitted_once_for_an_edit_and_for_set_values(form, qtbot):
    seen = []
    form.changed.connect(lambda: seen.append(1))
    form.entry("flip").click()
    assert seen == [1]
    seen.clear()
    form.set_values({"rate": 0.3, "kind": "gradcam"})
    assert seen == [1]


def test_the_wheel_scrolls_the_form_and_changes_only_what_has_the_focus(qtbot):
    holder = QWidget()
    QVBoxLayout(holder).addWidget(made := Form(describe(Params)))
    made.open_all()
    area = QScrollArea()
    area.setWidget(holder)
    area.resize(300, 120)
    qtbot.addWidget(area)
    area.show()
    qtbot.waitExposed(area)
    area.activateWindow()

    def wheel(entry: QWidget) -> None:
        event = QWheelEvent(
            QPointF(4, 4),
            QPointF(entry.mapToGlobal(QPoint(4, 4))),
            QPoint(0, 0),
            QPoint(0, 120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(entry, event)

    for name in ("epochs", "rate", "kind"):
        entry = made.entry(name)
        made.entry("scales").setFocus()
        before = entry.read()
        wheel(entry)
        assert entry.read() == before, name
    entry = made.entry("rate")
    entry.setFocus()
    qtbot.waitUntil(entry.hasFocus)
    wheel(entry)
    assert entry.read() > 0.01


def test_every_control_has_a_tooltip_and_an_accessible_name(form):
    for name, row in form._rows.items():
        assert row.field.doc in row.entry.toolTip() and f"--set {name}=" in row.entry.toolTip()
        assert row.entry.accessibleName()
        assert row.label.buddy() is row.entry


def test_a_cross_field_sentence_opens_the_fold(form):
    form.show_problem("sizes", "sizes must be odd.")
    assert form._rows["sizes"].sentence.isVisible()
    assert form.problem() == "sizes must be odd."
