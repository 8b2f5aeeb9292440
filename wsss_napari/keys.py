"""One table of keys: it binds them and draws the help.

Letters are those that napari leaves free (N G H J K Q U W), so no tool that people know
changes its meaning. The Correct page has tools of its own: there the letters of a Labels layer
do on ours what they do everywhere (P, E, F, Z, V), and those it leaves free are used too. Keys of a
page work while that page is shown, from the dock and from the canvas alike; a text field keeps
every key that it can use, and a person's own layers keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QGuiApplication, QKeyEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from wsss_napari._compat import bare, canvas_of

__all__ = ["BINDINGS", "Binding", "Keys", "chord_of", "help_rows"]


@dataclass(frozen=True)
class Binding:
    """One row: `keys` as people write them ("Shift+N"), what they do, where, and the action's name."""

    keys: tuple[str, ...]
    text: str
    group: str
    page: str
    action: str
    hold: bool = False


_DIGITS = tuple("123456789")
# Letters that tools of a person's own Labels, Points and Shapes layers have uses for.
_TOOL_LETTERS = frozenset("ACDEFIPRSTVZ")
_ARROWS = {Qt.Key.Key_Left: "Left", Qt.Key.Key_Right: "Right"}

BINDINGS: tuple[Binding, ...] = (
    Binding(("J",), "Next image", "Everywhere", "", "next_image"),
    Binding(("K",), "Previous image", "Everywhere", "", "previous_image"),
    Binding(("N",), "Next class", "Everywhere", "", "next_class"),
    Binding(("Shift+N",), "Previous class", "Everywhere", "", "previous_class"),
    Binding(("H",), "Hold to hide everything but the photograph", "Everywhere", "", "hide", hold=True),
    Binding(("Ctrl+Z",), "Undo", "Everywhere", "", "undo"),
    Binding(("Ctrl+Shift+Z",), "Redo", "Everywhere", "", "redo"),
    Binding(("?",), "Show the keys", "Everywhere", "", "help"),
    Binding(_DIGITS, "Class 1 to 9: present, or unknown again", "Tags", "tags", "toggle"),
    Binding(tuple(f"Shift+{d}" for d in _DIGITS), "Class 1 to 9: absent", "Tags", "tags", "absent"),
    Binding(tuple(f"Ctrl+{d}" for d in _DIGITS), "Class 1 to 9: unknown", "Tags", "tags", "unknown"),
    Binding(("0",), "Name the class by typing", "Tags", "tags", "type"),
    Binding(("Space",), "Next untagged image", "Tags", "tags", "next_untagged"),
    Binding(("G",), "Compare side by side", "Explore", "explore", "compare"),
    Binding(("W",), "Why this pixel", "Explore", "explore", "why"),
    Binding(("Left", "Q"), "One step back", "Climb", "climb", "back"),
    Binding(("Right", "W"), "One step forward", "Climb", "climb", "forward"),
    Binding(("U",), "Play the steps, or pause", "Climb", "climb", "play"),
    Binding(("G",), "Two climbs side by side", "Climb", "climb", "beside"),
    Binding(("Left", "Q"), "Back to the stage before", "Prototypes", "prototypes", "back"),
    Binding(("Right", "W"), "On to the next stage", "Prototypes", "prototypes", "forward"),
    Binding(("U",), "Play from the class map to the mask, or pause", "Prototypes", "prototypes", "play"),
    Binding(("G",), "Hold to see the mask before refining", "Refine", "refine", "before", hold=True),
    Binding(("Shift+G",), "Changed pixels on or off", "Refine", "refine", "changed"),
    Binding(("Left", "Q"), "One stage back", "Refine", "refine", "back"),
    Binding(("Right", "W"), "One stage forward", "Refine", "refine", "forward"),
    Binding(("U",), "Play the stages, or pause", "Refine", "refine", "play"),
    Binding(_DIGITS, "Paint class 1 to 9", "Correct", "correct", "paint_class"),
    Binding(("0",), "Paint background", "Correct", "correct", "paint_background"),
    Binding(("U",), "Paint unsure", "Correct", "correct", "paint_unsure"),
    Binding(("A",), "Approve, and go to the next", "Correct", "correct", "approve"),
    Binding(("R",), "Reject, and go to the next", "Correct", "correct", "reject"),
    Binding(("S",), "Skip, and go to the next", "Correct", "correct", "skip"),
    Binding(("D",), "In doubt: needs review, and go to the next", "Correct", "correct", "review"),
    Binding(("Shift+A",), "Reopen an approved mask", "Correct", "correct", "reopen"),
    Binding(("V",), "Mask on or off", "Correct", "correct", "overlay"),
    Binding(("G",), "Hold to see the engine's proposal", "Correct", "correct", "proposal", hold=True),
    Binding(("Z",), "Move the image", "Correct", "correct", "tool_move"),
    Binding(("P",), "Brush", "Correct", "correct", "tool_brush"),
    Binding(("E",), "Eraser", "Correct", "correct", "tool_eraser"),
    Binding(("F",), "Fill", "Correct", "correct", "tool_fill"),
    Binding(("Shift+P",), "Polygon", "Correct", "correct", "tool_polygon"),
    Binding(("T",), "Threshold brush", "Correct", "correct", "tool_threshold"),
    Binding(("W",), "Region", "Correct", "correct", "tool_region"),
    Binding(("Q",), "Superpixels", "Correct", "correct", "tool_superpixel"),
    Binding(("I",), "Scribble", "Correct", "correct", "tool_scribble"),
    Binding(("C",), "Clicks", "Correct", "correct", "tool_clicks"),
    Binding(("Shift+S",), "Snap to edges", "Correct", "correct", "tool_snap"),
    Binding(("Shift+U",), "Unsure band", "Correct", "correct", "tool_band"),
    Binding(("Shift+F",), "Shape", "Correct", "correct", "tool_shape"),
    Binding(("Shift+C",), "Convert", "Correct", "correct", "tool_convert"),
)

Action = Callable[[str], None]


@dataclass(frozen=True)
class _Bound:
    """What an action does, and the dock that it ends with (None: the viewer)."""

    owner: QObject | None
    page: str
    name: str
    action: Action


class Keys(QObject):
    """Gives key presses in our docks and on the canvas to whoever bound the action.

    An action gets the key's text ("3", "Shift+3"), and hold actions get "" when the key is let go.
    """

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.page = ""
        self._bound: list[_Bound] = []
        self._owner: QObject | None = None
        self._viewer = bare(viewer)
        self._held: tuple[int, Action] | None = None
        canvas = canvas_of(viewer)
        if canvas is not None:
            canvas.installEventFilter(self)

    def watch(self, dock: QWidget) -> None:
        """Listen to a dock: key presses that none of its fields used arrive at it last."""
        dock.installEventFilter(self)

    @contextmanager
    def owned_by(self, dock: QObject) -> Iterator[None]:
        """Let what is bound in this block belong to a dock: it ends with it, and its keys go to it first."""
        before, self._owner = self._owner, dock
        try:
            yield
        finally:
            self._owner = before

    def bind(self, page: str, actions: Mapping[str, Action]) -> None:
        """Say what the actions of a page ("" for everywhere) do; unknown names are refused.

        Raises:
            KeyError: The table has no such action on that page.
        """
        known = {(b.page, b.action) for b in BINDINGS}
        for name, action in actions.items():
            if (page, name) not in known:
                raise KeyError(f"{page}: {name}")
            self._bound.append(_Bound(self._owner, page, name, action))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Use a key press, or let it pass."""
        if not isinstance(event, QKeyEvent):
            return False
        if event.type() == QEvent.Type.KeyRelease:
            return self._let_go(event)
        if event.type() != QEvent.Type.KeyPress or self._typing(watched):
            return False
        chord = chord_of(event)
        found = self._find(chord, watched)
        if found is None or self._is_naparis(watched, chord):
            return False
        binding, action = found
        if event.isAutoRepeat() and binding.hold:
            return True
        if binding.hold:
            self._held = (event.key(), action)
        action(chord)
        return True

    def _let_go(self, event: QKeyEvent) -> bool:
        if self._held is None or event.isAutoRepeat() or event.key() != self._held[0]:
            return False
        action = self._held[1]
        self._held = None
        action("")
        return True

    def _find(self, chord: str, watched: QObject | None) -> tuple[Binding, Action] | None:
        self._bound = [b for b in self._bound if b.owner is None or isalive(b.owner)]
        for binding in BINDINGS:
            if chord in binding.keys and binding.page in ("", self.page):
                bound = [b for b in self._bound if (b.page, b.name) == (binding.page, binding.action)]
                # The same page may be open in two docks: the one that was pressed in, else the newest.
                for b in [b for b in bound if b.owner is watched] or bound[-1:]:
                    return binding, b.action
        return None

    def _is_naparis(self, watched: QObject | None, chord: str) -> bool:
        """Return whether napari's active layer, not one of ours, has its own use for the key.

        On the canvas a person's own layer keeps the keys its tools have always had.
        """
        if watched is not canvas_of(self._viewer):
            return False
        if chord in _ARROWS.values() and self._viewer.dims.ndim > 2:
            return True  # a person's own stack is stepped through as ever
        layer = self._viewer.layers.selection.active
        if layer is None or "wsss" in layer.metadata:
            return False
        # 1-7, Space and Ctrl+Z belong to the tools of Labels, Points and Shapes.
        tools = type(layer).__name__ in ("Labels", "Points", "Shapes")
        return tools and (
            chord in {*_DIGITS, *_TOOL_LETTERS, "Space", "Ctrl+Z", "Ctrl+Shift+Z"}
            or chord.startswith("Shift+")
        )

    @staticmethod
    def _typing(watched: QObject | None) -> bool:
        widget = QApplication.focusWidget()
        if widget is None and isinstance(watched, QWidget) and watched.window() is not None:
            widget = watched.window().focusWidget()  # of a window that is not in front
        if isinstance(widget, QComboBox):
            return widget.isEditable()
        return isinstance(widget, (QLineEdit, QTextEdit, QPlainTextEdit, QAbstractSpinBox))


def chord_of(event: QKeyEvent) -> str:
    """Return a key press as the table writes it; "Shift+1" on every keyboard layout."""
    modifiers = event.modifiers()
    key = event.key()
    shift = bool(modifiers & Qt.KeyboardModifier.ShiftModifier)
    control = bool(modifiers & Qt.KeyboardModifier.ControlModifier)
    if modifiers & (Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier):
        return ""
    if event.text() == "?":
        return "?"
    digit = _digit_of(event)
    if digit:
        name = digit
    elif key == Qt.Key.Key_Space:
        name = "Space"
    elif key in _ARROWS:
        name = _ARROWS[key]
    elif Qt.Key.Key_A <= key <= Qt.Key.Key_Z:
        name = chr(key)
    elif key == Qt.Key.Key_Question:
        return "?"
    else:
        return ""
    return ("Ctrl+" if control else "") + ("Shift+" if shift else "") + name


def _digit_of(event: QKeyEvent) -> str:
    key = event.key()
    if Qt.Key.Key_0 <= key <= Qt.Key.Key_9:
        return chr(key)
    # With Shift the layout gives another character; the place of the key is what people mean.
    code = event.nativeScanCode()
    platform = QGuiApplication.platformName()
    if platform in ("xcb", "wayland") and 10 <= code <= 19:
        return "1234567890"[code - 10]
    if platform == "windows" and 2 <= code <= 11:
        return "1234567890"[code - 2]
    if platform == "cocoa" and event.text() in "!@#$%^&*()" and event.text():
        return "1234567890"["!@#$%^&*()".index(event.text())]
    return ""


def help_rows(page: str = "") -> list[tuple[str, str, str, bool]]:
    """Return (group, keys, text, works now) of each binding, in the order of the table."""
    rows = []
    for b in BINDINGS:
        # Two keys are a choice, more are a range.
        keys = " or ".join(b.keys) if len(b.keys) < 3 else f"{b.keys[0]} … {b.keys[-1].rpartition('+')[2]}"
        rows.append((b.group, keys, b.text, b.page in ("", page)))
    return rows
