"""What one viewer is looking at: project, image, class, run. No Qt, no arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from psygnal import Signal, SignalGroupDescriptor

from engine.errors import UserError
from engine.store import Project, Run, open_project, run_of, runs_of
from engine.tags import ABSENT, PRESENT, UNKNOWN
from wsss_napari._compat import bare
from wsss_napari.history import History

__all__ = ["STATES", "Session", "newest", "session_of"]

STATES: dict[int, str] = {PRESENT: "present", ABSENT: "absent", UNKNOWN: "unknown"}


@dataclass(eq=False)
class Session:
    """The evented facts that every page reads and writes.

    Connect to one field by `session.events.image.connect(callback)`; the callback gets the
    new value. Fields:

    Attributes:
        project: The open project.
        image: Stem of the image in front.
        cls: 0-based class that the pages talk about.
        run: Id of the chosen run.
        views: Name of the chosen run's views.
        methods: The list of the `Methods` job, or None before it was asked for.
        studies: Its list of studies, likewise.
        refiners: Its list of refiners, likewise.

    Signals beside the fields: `tags_changed(stems)`, `classes_changed()`, `runs_changed()`,
    `labels_changed()`, `said(level, text)` with level info, warning or error.
    """

    project: Project | None = None
    image: str | None = None
    cls: int | None = None
    run: str | None = None
    views: str = "default"
    methods: tuple[dict[str, Any], ...] | None = None
    studies: tuple[dict[str, Any], ...] | None = None
    refiners: tuple[dict[str, Any], ...] | None = None
    history: History = field(default_factory=History, repr=False)

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    tags_changed = Signal(tuple)
    classes_changed = Signal()
    runs_changed = Signal()
    labels_changed = Signal()
    said = Signal(str, str)

    def open(self, path: str | Path) -> Project:
        """Open a project and show its first image and the newest run, one that drew something if there is one.

        Raises:
            UserError: There is none, it is damaged, or a newer version made it.
        """
        project = open_project(path)
        project.tags()  # a damaged tag file is told before the open project is left
        self._leave()
        self.project = project
        self.run = newest(runs_of(project.root))
        first = next(iter(project.usable), None)
        present = project.tags().present(first) if first is not None else ()
        self.cls = next(iter(present), 0) if project.classes else None
        self.image = first
        return project

    def close(self) -> None:
        """Close the project."""
        self._leave()
        self.project = None

    def _leave(self) -> None:
        # Image, class and run first: who hears of a new project finds none of the old one's.
        self.image = None
        self.cls = None
        self.run = None
        self.views = "default"
        self.history.clear()

    def take_methods(self, result: Mapping[str, Any]) -> None:
        """Keep what the `Methods` job found: methods, each with the backbones on offer, studies, and refiners."""
        # The others first: who hears of the methods finds them.
        self.studies = tuple(result.get("studies", ()))
        self.refiners = tuple(result.get("refiners", ()))
        backbones = result["backbones"]
        self.methods = tuple({**m, "backbones": backbones} for m in result["methods"])

    @property
    def stems(self) -> tuple[str, ...]:
        """Images in use, in the project's order."""
        return self.project.usable if self.project is not None else ()

    @property
    def chosen_run(self) -> Run | None:
        """The chosen run, or None when none is chosen or it is gone."""
        if self.project is None or self.run is None:
            return None
        try:
            return run_of(self.project.root, self.run)
        except UserError:
            return None

    def next_image(self) -> None:
        """Go to the next image; stay on the last."""
        self._step(1)

    def previous_image(self) -> None:
        """Go to the previous image; stay on the first."""
        self._step(-1)

    def _step(self, by: int) -> None:
        stems = self.stems
        if not stems:
            return
        at = stems.index(self.image) + by if self.image in stems else 0
        self.image = stems[min(max(at, 0), len(stems) - 1)]

    def jump(self, stem: str) -> None:
        """Go to an image.

        Raises:
            UserError: The project has no such image.
        """
        if self.project is not None:
            self.project.image(stem)
            self.image = stem

    def next_class(self, by: int = 1) -> None:
        """Choose the next class, round and round; a negative `by` goes back."""
        if self.project is None or not self.project.classes:
            return
        merged = self.project.class_list.merged
        count = len(self.project.classes)
        cls = (self.cls if self.cls is not None else -1) + by
        while cls % count in merged:  # no class is merged into one that is merged itself, so this ends
            cls += 1 if by > 0 else -1
        self.cls = cls % count

    def tag(self, stem: str, cls: int) -> int:
        """Return the state of one class in one image: PRESENT, ABSENT or UNKNOWN."""
        assert self.project is not None
        return int(self.project.tags().row(stem)[cls])

    def set_tag(self, stem: str, cls: int, state: int) -> None:
        """Set one tag, undoably and durably."""
        self.set_tags([(stem, cls, state)])

    def set_tags(self, changes: Iterable[tuple[str, int, int]], name: str | None = None) -> None:
        """Set many tags as one undoable deed; those that stand already are left out.

        Args:
            changes: (stem, 0-based class, state) each.
            name: How the deed is named in the history.
        """
        project = self.project
        if project is None:
            return
        tags = project.tags()
        before: list[tuple[str, str, int]] = []
        after: list[tuple[str, str, int]] = []
        for stem, cls, state in changes:
            old = int(tags.row(stem)[cls])
            if old != state:
                before.append((stem, project.classes[cls], old))
                after.append((stem, project.classes[cls], state))
        if not after:
            return
        stems = tuple(dict.fromkeys(stem for stem, _, _ in after))

        def write(changes: list[tuple[str, str, int]]) -> None:
            project.set_tags(changes)
            self.tags_changed.emit(stems)

        if name is None:
            stem, word, state = after[0]
            name = f"{word} {STATES[state]} in {stem}" if len(after) == 1 else f"{len(after)} tags"
        self.history.do(name, lambda: write(after), lambda: write(before))

    def add_class(self, name: str) -> None:
        """Add a class behind the others; nobody has looked for it yet, so it is unknown on every image.

        Raises:
            UserError: The name cannot be used or stands already.
        """
        project = self.project
        if project is None:
            return
        project.add_class(name)
        self.classes_changed.emit()

    def rename_class(self, old: str, new: str) -> None:
        """Give a class another name, undoably.

        Raises:
            UserError: There is no such class, or the name cannot be used or stands already.
        """
        project = self.project
        if project is None or old == new:
            return

        def rename(a: str, b: str) -> None:
            project.rename_class(a, b)
            self.classes_changed.emit()

        self.history.do(f"Class {old} renamed to {new}", lambda: rename(old, new), lambda: rename(new, old))

    def merge_classes(self, old: str, into: str) -> None:
        """Let one class stand for another one too, undoably, also after a restart (`take_back_merge`).

        What could not follow is said.

        Raises:
            UserError: They are the same, or one is not in use.
        """
        if self.project is not None:
            self.history.do(
                f"Class {old} merged into {into}", lambda: self._merge(old, into), self._take_back_merge
            )

    def take_back_merge(self) -> None:
        """Let the two classes of the newest merge, if there is one, be two again, undoably; what stays is said.

        Raises:
            UserError: What it kept is missing or damaged.
        """
        project = self.project
        merge = None if project is None else project.newest_merge()
        if project is None or merge is None:
            return
        old, into = project.classes[merge.old], project.classes[merge.into]
        if self.history.names[-1:] == (f"Class {old} merged into {into}",):
            self.history.undo()
            return
        name = f"Merge of {old} into {into} taken back"
        self.history.do(name, self._take_back_merge, lambda: self._merge(old, into))

    def _merge(self, old: str, into: str) -> None:
        project = self.project
        if project is not None:
            sentences = project.merge_classes(old, into)
            if self.cls is not None:
                self.cls = project.class_list.merged.get(self.cls, self.cls)
            self._told_merge(sentences)

    def _take_back_merge(self) -> None:
        if self.project is not None:
            self._told_merge(self.project.take_back_merge())

    def _told_merge(self, sentences: Iterable[str]) -> None:
        """Let everybody know that classes mean something else now, and the person what could not follow."""
        self.classes_changed.emit()
        self.tags_changed.emit(self.stems)
        self.labels_changed.emit()
        self.runs_changed.emit()
        for sentence in sentences:
            self.said.emit("warning", sentence)


_SESSIONS: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()


def newest(runs: Sequence[Run]) -> str | None:
    """Return the id of the run to look at first: the newest that drew something, or could.

    Affinity networks draw no maps: one of them in front would leave most pages empty.
    """
    seen = [r for r in runs if r.weights.is_file()]
    drawing = [r for r in seen if not r.is_network]
    drawn = [r for r in drawing if r.all_views()]
    return (drawn or drawing or seen)[-1].id if seen else None


def session_of(viewer: Any) -> Session:
    """Return the session of a viewer; the same one for the viewer and for its proxies."""
    key = bare(viewer)
    if key not in _SESSIONS:
        _SESSIONS[key] = Session()
    return _SESSIONS[key]
