"""The Explore page: maps over the photograph, a rule on the histogram, the mask that follows at once."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer

from engine.errors import UserError
from engine.labels import LabelRule, clean
from engine.messages import Event, Label, Viewed, command
from engine.metrics import image_report
from engine.results import CamStack
from engine.store import Views, label_sets
from engine.store.truth import has_truth, read_truth
from engine.tags import PRESENT
from wsss_napari.class_toggles import Switch
from wsss_napari.desk import Desk
from wsss_napari.explore_jobs import ExploreJobs
from wsss_napari.explore_layers import ExploreLayers
from wsss_napari.map_files import OTHERS, read_maps
from wsss_napari.mask_view import MaskView, merged, shares
from wsss_napari.pages.explore_body import ExploreBody
from wsss_napari.pages.explore_boxes import boxes_of, offered
from wsss_napari.pages.layer_page import LayerPage
from wsss_napari.readouts import rows_of
from wsss_napari.side_by_side import SideBySide
from wsss_napari.why_pixel import WhyPixel, why_text

__all__ = ["ExplorePage"]

_SETTLE_MS = 120


class ExplorePage(LayerPage):
    """What a run sees in the image in front, and what a rule makes of it."""

    NAME = "explore"
    TITLE = "Explore"
    TIP = "Look at the maps of a run and turn them into masks"

    def __init__(self, desk: Desk, parent: Any = None) -> None:
        super().__init__(desk, parent)
        self.panel = ExploreBody(self)
        self.body.addWidget(self.panel)
        self.view: MaskView | None = None
        self._drawn: CamStack | None = None
        self._truth: Any = None
        self._off: set[int] = set()
        self._extra: set[int] = set()
        self._settled = self.panel.rule.rule
        self.jobs = ExploreJobs(desk)
        self.layers = ExploreLayers(desk.layers)
        self.compare = SideBySide(desk.layers)
        self.why = WhyPixel(desk.layers, self._why)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_SETTLE_MS)
        self._later.timeout.connect(self._figures)
        self._reload = QTimer(self)
        self._reload.setSingleShot(True)
        self._reload.setInterval(_SETTLE_MS)
        self._reload.timeout.connect(self.load)
        self._connect()
        self.load()

    def _connect(self) -> None:
        panel, events = self.panel, self.session.events
        panel.rule.moved.connect(self._rule_moved)
        panel.rule.settled.connect(self._rule_settled)
        panel.toggles.toggled.connect(self._toggle)
        panel.toggles.others_asked.connect(self._draw_others)
        panel.draw_one.clicked.connect(lambda: self._draw((self.session.image or "",)))
        panel.draw_all.clicked.connect(lambda: self._draw(()))
        panel.views.activated.connect(self._choose_views)
        panel.maps.activated.connect(lambda _index: self._show_visible())
        panel.colours.activated.connect(lambda _index: self._recolour())
        panel.mask.activated.connect(lambda _index: self.layers.style_mask(panel.mask.currentData()))
        panel.truth.toggled.connect(lambda _on: self._show_truth())
        panel.why.toggled.connect(self.why.turn)
        panel.compare.toggled.connect(self._compare)
        panel.boxes.itemChanged.connect(lambda _item: self._compare(panel.compare.isChecked()))
        panel.use.clicked.connect(self._offer_labels)
        panel.redraw.clicked.connect(lambda: self._draw((self.session.image or "",)))
        panel.labels.asked.connect(self._make_labels)
        panel.labels.rest_asked.connect(lambda: self._draw(()))
        panel.labels.closed.connect(lambda: panel.show_labels_panel(False))
        panel.labels.changed.connect(self.command_changed)
        for signal in (events.image, events.run, events.views, events.project):
            signal.connect(self._changed)
        events.cls.connect(self._show_visible)
        self.session.labels_changed.connect(self._labels_changed)
        self.session.tags_changed.connect(self._tags_changed)
        self.desk.plots.follow_theme(panel.rule)
        self.desk.keys.bind(
            "explore",
            {"compare": lambda _: panel.compare.toggle(), "why": lambda _: panel.why.toggle()},
        )
        self.desk.when_engine(lambda engine: engine.event.connect(self._on_event))

    def enter(self) -> None:
        """Show the maps of the image in front."""
        super().enter()
        self.load()

    def leave(self) -> None:
        """End what belongs to this page alone; maps and mask stay to be looked at."""
        super().leave()
        self.panel.compare.setChecked(False)
        self.panel.why.setChecked(False)

    def command(self) -> str | None:
        """Return the line that makes the labels, or the one that draws the maps first."""
        label = self._label_job()
        if self.view is not None and label is not None:
            return command(label)
        job = self.jobs.draw((self.session.image,)) if self.session.image is not None else None
        return None if job is None else command(job)

    def load(self) -> None:
        """Read the maps of the image in front and show them, or say what is missing."""
        self.view = self._drawn = self._truth = None
        project, image, source = self.session.project, self.session.image, self.jobs.source
        if project is None:
            self.show_hint("No project is open. Open one above, or make one on the Tags page.")
        elif source is None:
            self.show_hint(
                "No run yet. Train one on the Train page.", "Go to Train", lambda: self.go_to("train")
            )
        elif image is None:
            self.show_hint("The project has no image that can be read.")
        elif source.run.is_network and not source.run.all_views():
            self.show_hint(
                f"{source.run.title} is an affinity network: it draws no maps, it refines those of another run.",
                "Go to Refine",
                lambda: self.go_to("refine"),
            )
        else:
            self.hide_hint()
            if self.shown:  # another page in front: reading every image it steps through would slow it
                self._read(source, image)
        if self.view is None and self.owns_layers:
            self.panel.compare.setChecked(False)
            self.layers.clear()
        self.command_changed.emit()

    def _read(self, source: Views, image: str) -> None:
        project = self.session.project
        assert project is not None
        if source.name != "default" and not (source.folder / "views.json").is_file():
            self.session.views = "default"  # another run was chosen, and it has none of that name
            return
        self.panel.show_views(
            [v.name for v in source.run.all_views() if v.name != OTHERS and v.has_maps], source.name
        )
        self._drawn, why = read_maps(project, source, image)
        if self._drawn is None:
            count = len(project.usable) - len(source.stems())
            self.panel.show_missing(why, count, self.jobs.estimate(count), self.jobs.drawing(image))
            return
        stack = self._drawn
        extra = source.run.views(OTHERS)
        if extra.facts.get("weights") == source.facts.get("weights"):
            others, _ = read_maps(project, extra, image)
            stack = stack if others is None else merged(stack, others)
        try:
            self._truth = read_truth(project, image) if has_truth(project, image) else None
        except UserError as error:
            self.desk.said("warning", str(error))
        self.view = MaskView(stack, self._on(stack))
        self.panel.show_tools(has_rule=self.view.has_rule, has_truth=self._truth is not None)
        self._show_classes()
        self._show_maps()
        self._show_mask()
        self._show_truth()
        self._figures()
        self._labels_changed()

    def _on(self, stack: CamStack) -> list[int]:
        tagged = () if self._drawn is None else self._drawn.classes
        return [c for c in stack.classes if (c in tagged and c not in self._off) or c in self._extra]

    def _show_classes(self) -> None:
        view, project = self.view, self.session.project
        if view is None or project is None:
            return
        stack, flat, names = view.stack, view.flat(), project.classes
        switches = []
        for cls, peak in zip(stack.classes, stack.peaks, strict=True):
            sure = f", classifier's score {stack.scores[cls]:.2f}" if cls < len(stack.scores) else ""
            tip = f"{names[cls]}: peak {peak:.3g}{sure}. Click: on or off."
            switches.append(Switch(cls, names[cls], self.desk.colours[cls], cls in view.classes, tip))
        self.panel.toggles.show_classes(
            switches,
            others=len(stack.classes) < len(names) and self.jobs.source is not None and self._has_weights(),
        )
        told = [names[c] for c in flat if c in view.classes]
        if self._outdated():
            self.panel.show_notice("The tags of this image changed since its maps were drawn.", redraw=True)
        elif told:
            noise = "no evidence. The map's peak is next to nothing, so its colours are noise."
            self.panel.show_notice(f"{', '.join(told)}: {noise}")
        elif not stack.classes:
            self.panel.show_notice("No class is tagged in this image, so all of it is background.")
        else:
            self.panel.show_notice("")
        self.panel.rule.show_scores(view.histogram(), [self.desk.colours[c] for c in view.classes])

    def _outdated(self) -> bool:
        """Return whether the maps are those of tags that the image no longer has."""
        project, drawn = self.session.project, self._drawn
        if project is None or drawn is None or drawn.facts.get("classes") != "present":
            return False
        row = project.tags().row(drawn.image)
        return {c for c, state in enumerate(row) if state == PRESENT} != set(drawn.classes)

    def _tags_changed(self, stems: tuple[str, ...]) -> None:
        if self.session.image in stems and self.view is not None:
            self._show_classes()

    def _has_weights(self) -> bool:
        run = self.session.chosen_run
        return run is not None and run.weights.is_file()

    def _show_maps(self) -> None:
        view, project = self.view, self.session.project
        if view is None or project is None:
            return
        if self.layers.show_maps(view, project.classes, self.panel.colours.currentText()):
            self._show_visible()

    def _show_visible(self, _: Any = None) -> None:
        """Show the maps that the person chose to see."""
        view, project = self.view, self.session.project
        if view is None or project is None:
            return
        chosen = self._chosen()
        which = self.panel.maps.currentData()
        seen = [c for c in view.classes if which == "all" or (which == "chosen" and c == chosen)]
        self.layers.show_only([project.classes[c] for c in seen])

    def _chosen(self) -> int | None:
        """Return the class whose map is looked at: the chosen chip's, or the first that has one here."""
        view, cls = self.view, self.session.cls
        if view is None or cls in view.classes:
            return cls
        return next(iter(view.classes), None)

    def _recolour(self) -> None:
        self.layers.recolour(self.panel.colours.currentText())
        self._compare(self.panel.compare.isChecked())

    def _show_mask(self, mask: Any = None) -> None:
        if self.view is not None:
            shown = self.view.mask(self.panel.rule.rule) if mask is None else mask
            if self.layers.show_mask(self.view.stack.image, shown, self.desk.colours):
                self.layers.style_mask(self.panel.mask.currentData())

    def _show_truth(self) -> None:
        if self.view is not None:
            shown = self._truth if self.panel.truth.isChecked() else None
            self.layers.show_truth(self.view.stack.image, shown, self.desk.colours)

    def _rule_moved(self) -> None:
        """Repaint the mask at once; figures and small regions follow when the hand rests."""
        self._show_mask()
        self._later.start()

    def _rule_settled(self) -> None:
        rule, before = self.panel.rule.rule, self._settled
        if rule != before:
            self._settled = rule
            self.session.history.do(
                f"rule {rule.text()}", lambda: self._use_rule(rule), lambda: self._use_rule(before)
            )
        self.command_changed.emit()

    def _use_rule(self, rule: LabelRule) -> None:
        self._settled = rule
        self.panel.rule.set_rule(rule)

    def _figures(self) -> None:
        view, project = self.view, self.session.project
        if view is None or project is None:
            return
        mask = view.mask(self.panel.rule.rule)
        if self.panel.rule.rule.min_region > 1:
            mask = clean(mask, self.panel.rule.rule.min_region)
            self._show_mask(mask)
        report = image_report(self._truth, mask, project.classes) if self._truth is not None else None
        rows = rows_of(shares(mask), project.classes, self.desk.colours, report)
        miou = report["miou"] if report is not None else None
        self.panel.figures.show_rows(rows, miou, truth=report is not None)
        if self.compare.on:
            self._compare(True)
        self.command_changed.emit()

    def _toggle(self, cls: int, on: bool) -> None:
        if self._drawn is not None and cls in self._drawn.classes:
            (self._off.discard if on else self._off.add)(cls)
        else:
            (self._extra.add if on else self._extra.discard)(cls)
        if self.view is not None:
            self.view.choose(self._on(self.view.stack))
            self._show_classes()
            self._show_maps()
            self._rule_moved()
            self._offer_again()

    def _why(self, row: int, column: int) -> str | None:
        view, project = self.view, self.session.project
        if view is None or project is None:
            return None
        height, width = view.stack.size
        if not (0 <= row < height and 0 <= column < width):
            return None
        return why_text(view, self.panel.rule.rule, (row, column), project.classes, self.desk.colours)

    def _compare(self, on: bool) -> None:
        self.panel.boxes.setVisible(self.panel.compare.isChecked())
        if not on or self.session.project is None or self.session.image is None:
            if self.compare.on:
                self.compare.end()
                self._show_visible()
                self.layers.style_mask(self.panel.mask.currentData())
            return
        boxes = self.desk.guard(
            boxes_of,
            self.session.project,
            self.session.image,
            self.panel.chosen_boxes(),
            self.panel.rule.rule,
            self._chosen(),
            self.desk.colours,
            self.panel.colours.currentText(),
        )
        self.compare.show(boxes or ())

    def _labels_changed(self) -> None:
        project, image, source = self.session.project, self.session.image, self.jobs.source
        if project is not None and image is not None:
            self.panel.offer_boxes(offered(project, image), first=str(source) if source is not None else "")
        self._offer_again()

    def _draw(self, images: tuple[str, ...]) -> None:
        job = self.jobs.draw(images)
        if job is not None:
            self.desk.submit(job, then=self._drew)
            self.load()

    def _draw_others(self) -> None:
        job = self.jobs.draw_others(self.session.image) if self.session.image is not None else None
        if job is not None:
            self.panel.toggles.others.setEnabled(not self.desk.submit(job, then=self._drew))

    def _drew(self, _ending: Event) -> None:
        self.panel.toggles.others.setEnabled(True)
        self.load()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Viewed) and event.kind == CamStack.KIND and event.image == self.session.image:
            self._reload.start()

    def _label_job(self) -> Label | None:
        panel = self.panel.labels
        return self.jobs.label(self.panel.rule.rule, panel.name.text(), panel.crf.currentText())

    def _offer_labels(self) -> None:
        self.panel.show_labels_panel(True)
        self._offer_again()

    def _offer_again(self) -> None:
        project, source, view = self.session.project, self.jobs.source, self.view
        if project is None or source is None or view is None or self.panel.labels.isHidden():
            return
        taken = frozenset(s.name for s in label_sets(project.root, project.colours))
        tagged = () if self._drawn is None else self._drawn.classes
        off = len([c for c in tagged if c not in view.classes])
        drawn = len(source.stems())
        missing = len(project.usable) - drawn
        self.panel.labels.show_for(drawn, missing, self.jobs.estimate(missing), taken, off)

    def _make_labels(self) -> None:
        job = self._label_job()
        if job is not None:
            self.desk.submit(job)
        self.panel.show_labels_panel(False)

    def _choose_views(self, index: int) -> None:
        self.session.views = self.panel.views.itemText(index)

    def _changed(self, _value: Any = None) -> None:
        self.load()
