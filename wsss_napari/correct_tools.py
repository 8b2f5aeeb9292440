"""The tool row of the Correct page: every tool with its sign and key, the settings of the one in hand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QHideEvent, QKeyEvent, QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from engine.params import Field
from wsss_napari._compat import bare
from wsss_napari.correct_tool import Tool
from wsss_napari.correct_tool_band import BandTool
from wsss_napari.correct_tool_clicks import ClicksTool
from wsss_napari.correct_tool_icons import ToolButton
from wsss_napari.correct_tool_options import Options
from wsss_napari.correct_tool_reach import Reach
from wsss_napari.correct_tool_region import RegionTool
from wsss_napari.correct_tool_scribble import ScribbleTool
from wsss_napari.correct_tool_shape import ConvertTool, ShapeTool
from wsss_napari.correct_tool_snap import SnapTool
from wsss_napari.correct_tool_superpixel import SuperpixelTool
from wsss_napari.correct_tool_threshold import ThresholdTool
from wsss_napari.desk import Desk
from wsss_napari.keys import BINDINGS
from wsss_napari.style import theme_of

if TYPE_CHECKING:
    from wsss_napari.correction import Correction

__all__ = ["NATIVE", "OURS", "ToolRow", "key_of"]

PAGE = "correct"
_MASK = "correct:mask"

#: napari's own tools: name -> (mode of the layer, title, how it is used).
NATIVE: dict[str, tuple[str, str, str]] = {
    "move": ("pan_zoom", "Move", "Drag to move the image; holding Space does it in every tool."),
    "brush": ("paint", "Brush", "Drag to paint. Drag with the right button around an area to fill it."),
    "eraser": ("erase", "Eraser", "Drag to bring back the engine's proposal, or background."),
    "fill": ("fill", "Fill", "Click: the piece of one value under the pointer is painted."),
    "polygon": (
        "polygon",
        "Polygon",
        "Click the corners; a double click or Enter closes it, Esc gives it up.",
    ),
}
#: Ours, in the order of the row: what follows the maps, what follows the photograph, what mends shapes.
OURS: tuple[type[Tool], ...] = (
    ThresholdTool,
    RegionTool,
    SuperpixelTool,
    ScribbleTool,
    ClicksTool,
    SnapTool,
    BandTool,
    ShapeTool,
    ConvertTool,
)
_BRUSHES = ("brush", "eraser")


def key_of(name: str) -> str:
    """Return the key of a tool in the one table of keys, or an empty string."""
    rows = (b.keys for b in BINDINGS if (b.page, b.action) == (PAGE, f"tool_{name}"))
    return next((keys[0] for keys in rows), "")


class ToolRow(QWidget):  # type: ignore[misc]
    """Buttons of all tools, settings of the chosen one, and what there is to tell.

    While the row is seen the chosen tool has the mouse on the layer of the mask; hidden, as with
    another page in front, it leaves the layer as it was.

    Args:
        desk: The desk of the viewer.
        correction: The image being corrected.
        parent: Qt parent.

    Signals:
        tool_changed: (name) another tool was chosen.
    """

    tool_changed = Signal(str)

    def __init__(self, desk: Desk, correction: Correction, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.correction = correction
        self.reach = Reach(desk, correction, self)
        self.tools: dict[str, Tool] = {kind.NAME: kind(self.reach, self) for kind in OURS}
        self.buttons: dict[str, ToolButton] = {}
        self.name = "brush"
        self._layer: Any = None
        self._setting = False
        self._build()
        self._connect()
        self._show_tool()

    @property
    def tool(self) -> Tool | None:
        """The chosen tool when it is one of ours, else None."""
        return self.tools.get(self.name)

    @property
    def busy(self) -> bool:
        """Whether a tool is computing."""
        return bool(self.reach.work.words)

    @property
    def told_text(self) -> str:
        """The sentence below the settings, or an empty string."""
        return "" if self.told.isHidden() else str(self.told.text())

    def choose(self, name: str) -> None:
        """Take a tool in hand."""
        if name not in self.buttons:
            raise KeyError(name)
        if name != self.name:
            self._put_away()
        self.name = name
        self._show_tool()
        self.settle()
        self.tool_changed.emit(name)

    def settle(self) -> None:
        """Give the chosen tool the layer, or take it away where nothing may be changed or nobody looks."""
        layer = self.correction.layer
        if layer is not self._layer:
            self._put_away()
            self._follow(layer)
        if layer is None or not self.isVisible() or self.reach.forbidden:
            self._put_away()
        elif self.tool is not None:
            self._setting = True
            try:
                self.tool.wake()
            finally:
                self._setting = False
        elif self.name in NATIVE and str(layer.mode) != NATIVE[self.name][0]:
            layer.mode = NATIVE[self.name][0]
        self._enable()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Take Enter and Esc as on the canvas."""
        tool = self.tool
        # In a number Enter ends the typing, and must not start the tool as well.
        typing = isinstance(QApplication.focusWidget(), QAbstractSpinBox)
        if event is not None and tool is not None and not typing:
            if event.key() == Qt.Key.Key_Escape:
                tool.escape()
                return
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                tool.finish()
                return
        super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the tool in hand again."""
        super().showEvent(event)
        if event is None or not event.spontaneous():
            self.settle()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Put the tool away; a minimised window keeps it."""
        super().hideEvent(event)
        if event is None or not event.spontaneous():
            self.reach.work.cancel()
            self._put_away()

    def _build(self) -> None:
        flow = QFlowLayout()
        flow.setContentsMargins(0, 0, 0, 0)
        flow.setHorizontalSpacing(2)
        flow.setVerticalSpacing(2)
        titles = {name: row[1:] for name, row in NATIVE.items()}
        titles |= {kind.NAME: (kind.TITLE, kind.TIP) for kind in OURS}
        for name, (title, tip) in titles.items():
            button = ToolButton(name, title, tip, key_of(name), self)
            button.clicked.connect(partial(self._clicked, name))
            flow.addWidget(button)
            self.buttons[name] = button
        self.title = QLabel(self)
        self.title.setProperty("wsss", "title")
        self.progress = QProgressBar(self)
        self.progress.setProperty("wsss", "thin")
        self.progress.setRange(0, 0)
        self.progress.setTextVisible(False)
        self.progress.setFixedSize(56, 6)
        self.doing = QLabel(self)
        self.doing.setProperty("wsss", "note")
        self.stop = QToolButton(self)
        self.stop.setText("Stop")
        self.stop.setToolTip("Stop; nothing is changed (Esc)")
        self.stop.setProperty("wsss", "quiet")
        self.stop.clicked.connect(self._stop)
        head = QHBoxLayout()
        head.setSpacing(6)
        head.addWidget(self.title, 1)
        self.stop.setFixedHeight(20)  # the row must not be taller than its title
        for widget in (self.doing, self.progress, self.stop):
            # Their room is kept, so that nothing jumps when a tool begins to think.
            policy = widget.sizePolicy()
            policy.setRetainSizeWhenHidden(True)
            widget.setSizePolicy(policy)
            widget.hide()
            head.addWidget(widget)
        self.tip = QLabel(self)
        self.tip.setProperty("wsss", "note")
        self.tip.setWordWrap(True)
        self.brush_options = Options(self)
        self.size = self.brush_options.number(
            "Brush size",
            Field("size", "int", 16, "", low=1, high=500, unit="px"),
            "Diameter of the brush; Alt (or Ctrl) and the wheel on the image change it too, [ and ] by one",
        )
        self.fill_options = Options(self)
        self.contiguous = self.fill_options.check(
            "Only what hangs together", "Off: every pixel of the clicked value is painted", on=True
        )
        self.told = QLabel(self)
        self.told.setProperty("wsss", "warning")
        self.told.setWordWrap(True)
        self.told.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(flow)
        column.addLayout(head)
        column.addWidget(self.told)
        for options in (self.fill_options, *(t.options for t in self.tools.values())):
            column.addWidget(options)
        # Below what is set: the wheel sizes the brush too, the tip is read once, and in a low window the
        # last lines are those that a scroll bar hides.
        column.addWidget(self.brush_options)
        column.addWidget(self.tip)

    def _connect(self) -> None:
        correction, session = self.correction, self.desk.session
        correction.loaded.connect(self._loaded)
        correction.edited.connect(self._edited)
        correction.value_changed.connect(self._value_changed)
        correction.state_changed.connect(self._state_changed)
        session.events.cls.connect(self._value_changed)
        session.runs_changed.connect(self._sources_changed)
        session.labels_changed.connect(self._sources_changed)
        session.classes_changed.connect(self._sources_changed)
        self.desk.layers.deleted.connect(self._deleted)
        self.reach.said.connect(self._tell)
        self.reach.work.changed.connect(self._work_changed)
        self.size.edited.connect(self._resize)
        self.contiguous.toggled.connect(self._choose_contiguous)
        rows = {b.action for b in BINDINGS if b.page == PAGE}
        names = [name for name in self.buttons if f"tool_{name}" in rows]
        self.desk.keys.bind(PAGE, {f"tool_{name}": partial(self._key, name) for name in names})
        viewer = bare(self.desk.viewer)
        viewer.events.theme.connect(self._theme)
        self._theme()

    # What the person does.

    def _clicked(self, name: str, _checked: bool = False) -> None:
        self.choose(name)

    def _key(self, name: str, _chord: str) -> None:
        self.choose(name)

    def _stop(self) -> None:
        if self.tool is not None:
            self.tool.escape()

    def _resize(self) -> None:
        if self._layer is not None:
            self._layer.brush_size = int(self.size.read())

    def _choose_contiguous(self, on: bool) -> None:
        if self._layer is not None:
            self._layer.contiguous = on

    # What happens around the tools.

    def _loaded(self, _stem: str = "") -> None:
        self.reach.work.cancel()
        self._put_away()  # what was begun on the image before ends here
        self._tell("")
        self.settle()

    def _edited(self, _box: Any = None) -> None:
        if self.reach.work.of_mask:
            self.reach.work.cancel()
            self._tell("The mask changed meanwhile, so nothing was written.")
        tool = self.tool
        if tool is not None and tool.awake:
            tool.edited()

    def _value_changed(self, _value: Any = None) -> None:
        if self.tool is not None:
            self.tool.refresh()
        self._explain()

    def _state_changed(self, _stem: str = "") -> None:
        self.settle()
        self._explain()

    def _sources_changed(self) -> None:
        if self.tool is not None and self.tool.awake:
            self.tool.refresh()
        self._explain()

    def _deleted(self, key: str) -> None:
        if key == _MASK:
            QTimer.singleShot(0, self._settle_later)

    def _settle_later(self) -> None:
        if isalive(self):
            self.settle()

    def _work_changed(self, words: str) -> None:
        self.doing.setText(f"{words}…" if words else "")
        for widget in (self.doing, self.progress, self.stop):
            widget.setVisible(bool(words))
        if words:
            self._tell("")
        else:
            self._explain()

    def _theme(self, _event: Any = None) -> None:
        if isalive(self):
            colours: Mapping[str, str] = theme_of(self.desk.viewer)
            for button in self.buttons.values():
                button.set_theme(colours)
            band = self.tools["band"]
            assert isinstance(band, BandTool)
            band.histogram.set_theme(colours)

    # The layer.

    def _follow(self, layer: Any) -> None:
        """Listen to another layer; napari's own buttons and keys change its mode and its brush."""
        old, self._layer = self._layer, layer
        if old is not None:
            old.events.mode.disconnect(self._mode_changed)
            old.events.brush_size.disconnect(self._size_changed)
        if layer is not None:
            layer.events.mode.connect(self._mode_changed)
            layer.events.brush_size.connect(self._size_changed)
            layer.contiguous = self.contiguous.isChecked()
            self._size_changed()

    def _mode_changed(self, _event: Any = None) -> None:
        layer = self._layer
        if not isalive(self) or self._setting or layer is None or not self.isVisible():
            return
        mode = str(layer.mode)
        if mode == "pan_zoom":
            # Space held, or a mask that is protected: the tool comes back, so its settings stay.
            if self.tool is None and not self.reach.forbidden:
                self._mark("move")
            return
        name = next((n for n, row in NATIVE.items() if row[0] == mode), "")
        if name and name != self.name:
            self.choose(name)
        elif self.tool is not None:  # picking or transforming, which have no button here
            self.tool.sleep()
            self._mark("")
        else:
            self._mark(name)

    def _size_changed(self, _event: Any = None) -> None:
        if isalive(self) and self._layer is not None:
            self.size.write(int(self._layer.brush_size))

    def _put_away(self) -> None:
        if self.tool is not None:
            self._setting = True
            try:
                self.tool.sleep()
            finally:
                self._setting = False

    # What is shown.

    def _mark(self, name: str) -> None:
        for key, button in self.buttons.items():
            button.setChecked(key == name)

    def _show_tool(self) -> None:
        tool = self.tool
        self._mark(self.name)
        self.title.setText(NATIVE[self.name][1] if tool is None else tool.TITLE)
        self.tip.setText(NATIVE[self.name][2] if tool is None else tool.TIP)
        self.brush_options.setVisible(self.name in _BRUSHES if tool is None else tool.BRUSH)
        self.fill_options.setVisible(self.name == "fill")
        for name, other in self.tools.items():
            other.options.setVisible(name == self.name)
        self._tell("")
        self._explain()

    def _enable(self) -> None:
        forbidden = bool(self.reach.forbidden)
        for name, button in self.buttons.items():
            button.setEnabled(name == "move" or not forbidden)
        for options in (self.brush_options, self.fill_options, *(t.options for t in self.tools.values())):
            options.setEnabled(not forbidden)
        self._explain()

    def _explain(self) -> None:
        """Say what the chosen tool lacks here, unless there is something newer to say."""
        tool = self.tool
        if tool is not None:
            self.buttons[self.name].explain(tool.missing())
        if self.busy or (self.told_text and self.told_text != self._hint):
            return
        hint = "" if tool is None or self.correction.sheet is None or self.reach.forbidden else tool.missing()
        self._tell(hint)
        self._hint = hint

    _hint = ""

    def _tell(self, text: str) -> None:
        self._hint = ""
        self.told.setText(text)
        self.told.setVisible(bool(text))
