"""The Refine page: a chain of refiners, a quick preview of it, its boxes, and what each did to the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QTimer

from engine.errors import UserError
from engine.labels import LabelRule
from engine.store import Views
from wsss_napari.desk import Desk
from wsss_napari.map_files import views_title
from wsss_napari.pages.layer_page import LayerPage
from wsss_napari.pages.refine_body import RefineBody
from wsss_napari.pages.refine_boxes import BoxRow
from wsss_napari.pages.refine_ends import RefineEnds
from wsss_napari.pages.refine_front import RefineFront
from wsss_napari.pages.refine_tries import RefineTries
from wsss_napari.pages.refine_work import RefineWork
from wsss_napari.refine_chain import (
    Link,
    MadeBox,
    Station,
    boxes_from,
    chain_words,
    networks_of,
    rule_of,
    sources_of,
)
from wsss_napari.refine_jobs import RefineJobs
from wsss_napari.refine_layers import RefineLayers

__all__ = ["RefinePage"]

_SETTLE_MS = 120


class RefinePage(LayerPage):
    """Where the chain begins, its cards, the boxes it made, and the one in front."""

    NAME = "refine"
    TITLE = "Refine"
    TIP = "Pull the masks to the borders of the objects, and see what each refiner changed"

    def __init__(self, desk: Desk, parent: Any = None) -> None:
        super().__init__(desk, parent)
        self.panel = RefineBody(self)
        self.body.addWidget(self.panel)
        self.jobs = RefineJobs(desk)
        self.layers = RefineLayers(desk.layers)
        self.source: Views | None = None
        self.boxes: list[MadeBox] = []
        # Per source: the box that the person chose to look at.
        self._chosen: dict[str, str] = {}
        self._source_key: str | None = None
        self._covered: dict[str | None, frozenset[str]] = {}
        self._held: dict[str, frozenset[str]] = {}
        # What is reckoned from the disk, kept until it may have changed.
        self._stations: tuple[list[Link], list[Station]] | None = None
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_SETTLE_MS)
        self.front = RefineFront(self)
        self.tries = RefineTries(self)
        self.work = RefineWork(self)
        self.ends = RefineEnds(self)
        self.panel.chain.set_tables(self.jobs.tables)
        self.panel.chain.set_networks(self._networks)
        self.panel.chain.add("crf")
        self._connect()
        self.load()

    def enter(self) -> None:
        """Show the boxes of the image in front, and let the engine list the settings."""
        super().enter()
        self.forget_counts()
        self.layers.wake()
        self.load()
        if self.source is not None:
            self.work.prepare()

    def leave(self) -> None:
        """Stop playing and put the layers and the plots away."""
        super().leave()
        self.tries.pause()
        self.front.leave()
        self.layers.sleep()

    def command(self) -> str | None:
        """Return the line that makes labels while their panel is open, else those of the chain on the split."""
        label = self.ends.label_job() if self.panel.boxes.label.isVisibleTo(self.panel) else None
        jobs: list[Any] = [label] if label is not None else self.work.many()
        return self.jobs.commands(jobs) or None

    @property
    def busy(self) -> bool:
        """Whether a preview is being computed."""
        return self.tries.busy

    def load(self) -> None:
        """Read the sources and boxes of the project and show the one in front, or say what is missing."""
        session = self.session
        project = session.project
        self.tries.end()
        self.front.close()
        self.source = self._stations = None
        self._later.stop()
        sources = [] if project is None else sources_of(project)
        if project is None:
            self.show_hint("No project is open. Open one above, or make one on the Tags page.")
        elif not sources and session.chosen_run is None:
            self.show_hint(
                "No run yet. Train one on the Train page.", "Go to Train", lambda: self.go_to("train")
            )
        elif not sources:
            why = "There are no maps to refine yet. Draw the maps of a run on the Explore page."
            self.show_hint(why, "Go to Explore", lambda: self.go_to("explore"))
        elif session.image is None:
            self.show_hint("The project has no image that can be read.")
        else:
            self.hide_hint()
            self._choose_source(sources)
            if self.shown:  # another page in front: reading every image it steps through would slow it
                self.reread()
        if self.front.after is None and self.owns_layers:
            self.layers.clear()
            self.front.hide_plots()
        self.command_changed.emit()

    def reread(self) -> None:
        """Read the boxes anew, and the one in front for the image in front."""
        project, image = self.session.project, self.session.image
        if project is None or self.source is None or image is None:
            return
        self.boxes = boxes_from(project, str(self.source))
        self._stations = None
        self._show_splits()
        self.panel.chain.refill()
        box = self._in_front(image)
        self._show_boxes(box)
        try:
            self.front.read(box)
        except UserError as error:
            self.front.close()
            self.panel.show_warning(str(error))
        self.front.show()
        self._show_source()
        self.work.show()

    def bring(self, key: str | None) -> None:
        """Bring a box to the front."""
        if self.source is not None and key is not None:
            self._chosen[str(self.source)] = key
        self.panel.boxes.show_label_panel(None)
        self.forget_counts()
        self.reread()

    def stems(self, views: Views) -> frozenset[str]:
        """Return the images that views hold; looked up again when something was made or removed."""
        key = str(views)
        if key not in self._held:
            self._held[key] = frozenset(views.stems())
        return self._held[key]

    def forget_counts(self) -> None:
        """Count anew what views hold, when it is asked for next."""
        self._covered, self._held = {}, {}

    def stations(self) -> list[Station]:
        """Return where each card leads, or nothing while the chain cannot be used."""
        links = self.panel.chain.links()
        if links is None or self.source is None:
            return []
        if self._stations is None or self._stations[0] != links:
            self._stations = (links, self.jobs.route(self.source, links, self.boxes))
        return self._stations[1]

    def _first_settings(self) -> Mapping[str, Any]:
        """Return the settings of the first card, which makes masks of the source's maps."""
        links = self.panel.chain.links()
        if not links:
            return {}
        return {**self.jobs.defaults(links[0].refiner), **links[0].settings}

    def rule(self) -> LabelRule:
        """Return the first card's rule; one that cannot be read is told under its field."""
        try:
            return rule_of(self._first_settings())
        except UserError as error:
            form = self.panel.chain.cards[0].form
            if form is not None:
                form.show_problem("background", f"{error.found} {error.accepted}")
            return LabelRule()

    def covered(self, split: str | None) -> frozenset[str]:
        """Return the images of a split, or of all, that the source has maps of."""
        project = self.session.project
        if project is None or self.source is None:
            return frozenset()
        if None not in self._covered:
            self._covered[None] = self.stems(self.source) & set(project.usable)
        if split not in self._covered:
            self._covered[split] = self._covered[None] & set(project.stems(split))
        return self._covered[split]

    def box(self, key: str) -> MadeBox | None:
        """Return a box of the source by RUN/VIEWS."""
        return next((b for b in self.boxes if b.key == key), None)

    def leave_box(self) -> None:
        """Let the newest box come to the front again, as when the chosen one is gone."""
        self._chosen.pop(str(self.source), None)

    def end_preview(self) -> None:
        """Take the preview away, and show the result again."""
        if self.tries.end():
            self.front.show_mask()
            self.front.show_looks()

    def _connect(self) -> None:
        panel, events = self.panel, self.session.events
        panel.source.activated.connect(lambda _index: self._source_chosen())
        panel.chain.changed.connect(self.work.show)
        # A slider that moves is followed by the preview alone; words and names when it rests.
        panel.chain.slid.connect(lambda _at: self._later.start())
        self._later.timeout.connect(self._settled)
        panel.chain.slid.connect(self.tries.ask)
        panel.end_preview.clicked.connect(self.end_preview)
        panel.chain.train_asked.connect(lambda _refiner: self.go_to("train"))
        panel.boxes.chosen.connect(self.bring)
        events.project.connect(self._project_changed)
        events.image.connect(self._changed)
        events.cls.connect(lambda _cls: self.front.show_looks() if self.shown else None)
        self.session.runs_changed.connect(self._runs_changed)
        # The page lies in a scroll area, which would keep the arrow keys for itself.
        self.desk.keys.watch(self)
        player = panel.sight.player
        self.desk.keys.bind(
            "refine",
            {
                "before": lambda chord: self.front.hold(bool(chord)),
                "changed": lambda _: panel.sight.switches["changed"].click(),
                "back": lambda _: player.back(),
                "forward": lambda _: player.forward(),
                "play": lambda _: player.toggle(),
            },
        )

    def _settled(self) -> None:
        """Follow a setting that was changed, now that the hand rests."""
        self.front.use_rule()
        self._show_source()
        self.work.show()

    def _project_changed(self, _: Any = None) -> None:
        self.forget_counts()
        self._source_key = None
        self._chosen.clear()
        self.panel.show_told("")
        self.panel.show_warning("")
        self.load()

    def _changed(self, _value: Any = None) -> None:
        self.load()

    def _runs_changed(self) -> None:
        self.forget_counts()
        if self.shown and not self.jobs.working:
            self.load()

    def _choose_source(self, sources: list[Views]) -> None:
        """Offer the sources; the one that was chosen stays so, at first it is the newest seed."""
        keys = [str(views) for views in sources]
        if self._source_key not in keys:
            seeds = [v for v in sources if not v.run.is_refinement and not v.run.is_network]
            self._source_key = str((seeds or sources)[0])
        self.source = sources[keys.index(self._source_key)]
        self.panel.offer_sources(
            [(str(v), views_title(v) + (" · refined" if v.facts.get("source") else "")) for v in sources],
            self._source_key,
        )

    def _source_chosen(self) -> None:
        self._source_key = self.panel.source.currentData()
        self._covered = {}
        self.load()

    def _in_front(self, image: str) -> MadeBox | None:
        """Return the box to show: the one that was chosen, else the newest that has this image."""
        chosen = self._chosen.get(str(self.source))
        boxes = [b for b in self.boxes if b.key == chosen]
        return next(iter(boxes), None) or next((b for b in self.boxes if b.views.path(image).is_file()), None)

    def _show_splits(self) -> None:
        project = self.session.project
        assert project is not None
        splits = [("all images", None), *((name, name) for name in project.splits)]
        self.panel.offer_splits([(words, split, len(self.covered(split))) for words, split in splits])

    def _show_source(self) -> None:
        stack, image = self.front.before_stack, self.session.image
        count = len(self.covered(None))
        said = f"{count} image{'s' if count != 1 else ''} with maps."
        if stack is None:
            said = f"{said} None of {image} yet: draw it on the Explore page."
        elif stack.background is None:
            rule = self.rule().text()
            said = f"{said} Their masks are made by the first card's background, {rule} (in All parameters)."
        self.panel.source_note.setText(said)

    def _show_boxes(self, front: MadeBox | None) -> None:
        rows = []
        for box in self.boxes:
            count = len(self.stems(box.views))
            words = f"{chain_words(box.chain)} · {count} image{'s' if count != 1 else ''} · {box.title}"
            changed = self.jobs.differing(box)
            tip = f"{box.title}, made from {box.source}\n" + (
                ", ".join(changed) or "all settings as they come"
            )
            rows.append(BoxRow(box.key, words, tip))
        self.panel.boxes.show_rows(rows, front.key if front is not None else None)
        image = self.session.image or ""
        lacks = front is not None and not front.views.path(image).is_file()
        self.panel.boxes.show_lack(f"{front.title} has none of {image} yet." if front and lacks else "")

    def _networks(self, refiner: str) -> list[tuple[str, str]]:
        project = self.session.project
        return [] if project is None else [(r.id, r.title) for r in networks_of(project, refiner)]
