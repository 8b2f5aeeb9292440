"""What the pages of one viewer share: session, engine, layers, keys, plots."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, ref

from napari.utils.notifications import show_error, show_info, show_warning
from psygnal import EmitLoopError

from engine.errors import UserError
from engine.messages import (
    Event,
    Failed,
    Finished,
    Import,
    Job,
    Label,
    Refine,
    Relink,
    Rerun,
    Said,
    Started,
    Stopped,
    Train,
)
from wsss_napari import palette
from wsss_napari._compat import bare, canvas_of, drop_dead_slots, is_dead, when_gone
from wsss_napari.fitted_view import FittedView
from wsss_napari.history import History
from wsss_napari.keys import Keys
from wsss_napari.layers import Layers
from wsss_napari.session import Session, session_of
from wsss_napari.settings import Settings, settings

if TYPE_CHECKING:
    from wsss_napari.corrections import Corrections
    from wsss_napari.plots import Plots
    from wsss_napari.worker import Engine

__all__ = ["PHOTOGRAPH", "Desk", "desk_of"]

PHOTOGRAPH = "photograph"

J = TypeVar("J", bound=Job)


class Desk:
    """One per viewer, shared by all docks of that viewer; get it by `desk_of(viewer)`.

    Making it adds no layer and starts no process: the engine's child starts with the first
    job, the plot strip appears with the first plot.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = ref(bare(viewer))
        self.session: Session = session_of(viewer)
        self.layers = Layers(viewer)
        self.keys = Keys(viewer)
        # Name of a page that draws layers -> the one of that name that was in front last.
        self.fronts: dict[str, object] = {}
        self._engine: Engine | None = None
        self._plots: Plots | None = None
        self._corrections: Corrections | None = None
        self._hidden: list[Any] = []
        self._quiet: set[str] = set()
        self._waiting: list[Callable[[Any], None]] = []
        self.keys.bind(
            "",
            {
                "next_image": lambda _: self.session.next_image(),
                "previous_image": lambda _: self.session.previous_image(),
                "next_class": lambda _: self.session.next_class(),
                "previous_class": lambda _: self.session.next_class(-1),
                "hide": self._hide_ours,
                "undo": lambda _: self._undo(),
                "redo": lambda _: self._redo(),
            },
        )
        self.session.events.image.connect(self._show_photograph)
        self.session.said.connect(self.said)
        canvas = canvas_of(viewer)
        if canvas is not None:
            FittedView(viewer, canvas)
        when_gone(viewer, self.close)

    @property
    def viewer(self) -> Any:
        """The viewer, or None when it is gone."""
        return self._viewer()

    @property
    def history(self) -> History:
        """The one undo of this viewer."""
        return self.session.history

    @property
    def settings(self) -> Settings:
        """What the person set in napari's preferences."""
        return settings()

    @property
    def engine(self) -> Engine:
        """The child process that does the work; made at first need."""
        if self._engine is None:
            from wsss_napari.worker import Engine

            if self.settings.weights:
                # The child inherits our environment, and the engine looks there first.
                os.environ["WSSS_WEIGHTS"] = self.settings.weights
            self._engine = Engine()
            self._engine.event.connect(self._on_event)
            waiting, self._waiting = self._waiting, []
            for callback in waiting:
                callback(self._engine)
        return self._engine

    @property
    def working(self) -> bool:
        """Whether the engine has a job; asking does not start it."""
        return self._engine is not None and self._engine.busy

    def when_engine(self, callback: Callable[[Any], None]) -> None:
        """Call back with the engine once there is one; asking for it here would start it."""
        if self._engine is not None:
            callback(self._engine)
        else:
            self._waiting.append(callback)

    @property
    def plots(self) -> Plots:
        """The strip for plots at the bottom of the window; made at first need."""
        if self._plots is None:
            from wsss_napari.plots import Plots

            self._plots = Plots(self.viewer)
        return self._plots

    @property
    def corrections(self) -> Corrections:
        """The masks under correction; made at first need, and it opens nothing by itself."""
        if self._corrections is None:
            from wsss_napari.corrections import Corrections

            self._corrections = Corrections(self)
        return self._corrections

    @property
    def colours(self) -> tuple[str, ...]:
        """`#RRGGBB` of each class of the open project, in the palette that the person chose."""
        project = self.session.project
        return () if project is None else palette.class_shades(project.colours, self.settings.palette)

    def job(self, kind: type[J], **fields: Any) -> J:
        """Return a job on the open project with the device and threads of the settings."""
        project = self.session.project
        if project is not None:
            fields.setdefault("project", str(project.root))
        if kind.WORKS:
            chosen = self.settings
            fields.setdefault("device", chosen.device)
            fields.setdefault("threads", chosen.threads or None)
        return kind(**fields)

    def submit(self, job: Job, then: Callable[[Event], None] | None = None, *, quiet: bool = False) -> str:
        """Give a job to the engine.

        Args:
            job: What to do.
            then: Gets its ending.
            quiet: The caller tells a failure itself, so there is no notice of it.

        Returns:
            Its id, empty when it was refused.
        """
        given = str(self.guard(lambda: self.engine.submit(job, then=then)) or "")
        if quiet:
            self._quiet.add(given)
        return given

    def said(self, level: str, text: str) -> None:
        """Show a sentence as napari's notice; level is info, warning or error."""
        {"info": show_info, "warning": show_warning, "error": show_error}[level](text)

    def guard(self, action: Callable[..., Any], *args: Any) -> Any:
        """Call `action`; a mistake of the person becomes a notice, and None is returned."""
        try:
            return action(*args)
        except UserError as mistake:
            self.said("error", str(mistake))
        except EmitLoopError as error:
            # The mistake came up in a page that listens to the session.
            if not isinstance(error.__cause__, UserError):
                raise
            self.said("error", str(error.__cause__))
        return None

    def forget_gone(self) -> None:
        """Let go of widgets that Qt deleted, as when a dock is closed: their Python halves may live on."""
        session = self.session
        signals = [getattr(session.events, f.name) for f in fields(session) if f.name in session.events]
        signals += [session.tags_changed, session.classes_changed, session.runs_changed]
        signals += [session.labels_changed, session.said, session.history.changed, self.layers.deleted]
        if self._corrections is not None:
            signals += self._corrections.signals()
        drop_dead_slots(signals)
        self._waiting = [c for c in self._waiting if not is_dead(c)]

    def close(self) -> None:
        """Write what was corrected and end the child process; called when the window goes."""
        if self._corrections is not None:
            self._corrections.end()
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self.session.events.image.disconnect(self._show_photograph)
        self.session.said.disconnect(self.said)

    def _show_photograph(self, stem: str | None) -> None:
        project = self.session.project
        if self.viewer is None:
            return
        if stem is None or project is None:
            self.layers.remove_all()
            return
        picture = self.guard(project.read, stem)
        if picture is not None:
            self.layers.show_image(PHOTOGRAPH, picture.pixels, stem)

    def _hide_ours(self, chord: str) -> None:
        if chord:
            ours = [self.layers.get(k) for k in self.layers.keys if k != PHOTOGRAPH]
            self._hidden = [layer for layer in ours if layer is not None and layer.visible]
        for layer in self._hidden:
            layer.visible = not chord
        if not chord:
            self._hidden = []

    def _undo(self) -> None:
        # On the Correct page the steps of the image in front are what a person means.
        if self.keys.page == "correct":
            self.corrections.correction.undo()
        else:
            self._travel(self.session.history.undo, "Undone")

    def _redo(self) -> None:
        if self.keys.page == "correct":
            self.corrections.correction.redo()
        else:
            self._travel(self.session.history.redo, "Done again")

    def _travel(self, step: Callable[[], str | None], word: str) -> None:
        name = self.guard(step)
        if name is not None and self.viewer is not None:
            self.viewer.status = f"{word}: {name}"

    def _on_event(self, event: Event) -> None:
        session = self.session
        match event:
            case Said(level="warning"):
                self.said("warning", event.text)
            case Said() if self.viewer is not None:
                # Good news does not interrupt; it stands in the job's log too.
                self.viewer.status = event.text
            case Started(run=run) if run is not None:
                session.runs_changed.emit()
            case Failed() if event.job not in self._quiet:
                self.said("error", "\n".join(p for p in (event.message, event.hint) if p))
        if isinstance(event, (Finished, Failed, Stopped)):
            line = self.engine.line(event.job)
            kind = None if line is None else type(line.job)
            if kind in (Train, Rerun, Refine):
                session.runs_changed.emit()
            elif kind in (Label, Import):
                session.labels_changed.emit()
            elif kind is Relink and isinstance(event, Finished) and session.project is not None:
                self.guard(session.open, session.project.root)


_DESKS: WeakKeyDictionary[Any, Desk] = WeakKeyDictionary()


def desk_of(viewer: Any) -> Desk:
    """Return the desk of a viewer; the same one for the viewer and for its proxies."""
    key = bare(viewer)
    if key not in _DESKS:
        _DESKS[key] = Desk(key)
    return _DESKS[key]
