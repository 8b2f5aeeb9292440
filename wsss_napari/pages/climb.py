"""The Climb page: climb on a class of the image in front, look at every step, go on, take one as the label."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, QTimer

from engine.errors import UserError
from engine.labels import LabelRule, clean
from engine.messages import command
from engine.metrics import image_report
from engine.store.truth import has_truth, read_truth
from wsss_napari.climb_jobs import ClimbJobs
from wsss_napari.climb_layers import ClimbLayers
from wsss_napari.climb_view import (
    OWN,
    Found,
    StepView,
    climbs_of,
    path_of,
    restricted_truth,
    rows_text,
    title_of,
)
from wsss_napari.desk import Desk
from wsss_napari.mask_view import MaskView, shares
from wsss_napari.pages.climb_beside import ClimbBeside
from wsss_napari.pages.climb_body import ClimbBody
from wsss_napari.pages.climb_ends import ClimbEnds
from wsss_napari.pages.climb_strip import ClimbStrip
from wsss_napari.pages.climb_work import ClimbWork
from wsss_napari.pages.layer_page import LayerPage
from wsss_napari.readouts import rows_of

__all__ = ["ClimbPage"]

_SETTLE_MS = 120


class ClimbPage(LayerPage):
    """One climb at one step, and the ways on from it."""

    NAME = "climb"
    TITLE = "Climb"
    TIP = "Let the evidence for a class grow step by step, and take a step as the label"

    def __init__(self, desk: Desk, parent: Any = None) -> None:
        super().__init__(desk, parent)
        self.panel = ClimbBody(self)
        self.body.addWidget(self.panel)
        self.jobs = ClimbJobs(desk)
        self.layers = ClimbLayers(desk.layers)
        self.climbs: dict[str, Found] = {}
        self.key: str | None = None
        self.view: StepView | None = None
        self.step = 0
        self.photograph: Any = None
        self._truth: Any = None
        self._masks: MaskView | None = None
        # Where a person left each class of each image: the climb and its step.
        self._places: dict[tuple[str | None, str | None, int | None], tuple[str, int]] = {}
        self._settled = self.panel.rule.rule
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_SETTLE_MS)
        self._later.timeout.connect(self.show_figures)
        self.beside = ClimbBeside(self)
        self.strip = ClimbStrip(self)
        self.work = ClimbWork(self)
        self.ends = ClimbEnds(self)
        self._connect()
        self.load()

    def enter(self) -> None:
        """Show the climbs of the image in front, and let the engine get ready."""
        super().enter()
        self.layers.wake()
        self.work.prepare()
        self.strip.enter()
        self.load()

    def leave(self) -> None:
        """Stop playing and put the layers, the plots and the grid away."""
        super().leave()
        self.panel.player.stop()
        self.beside.end()
        self.strip.leave()
        self.layers.sleep()

    def command(self) -> str | None:
        """Return the line of what is open: the label's panel, a study, or else the climb."""
        if self.hint:
            return None
        job: Any = self.ends.label_job() if self.panel.label.isVisibleTo(self.panel) else None
        study = None if job is not None else self.strip.command()
        job = job or self.work.job()
        return study or (None if job is None else command(job))

    def load(self) -> None:
        """Read the climbs of the class in the image in front and show one, or say what is missing."""
        self._close()
        session = self.session
        run = session.chosen_run
        if session.project is None:
            self.show_hint("No project is open. Open one above, or make one on the Tags page.")
        elif run is None:
            self.show_hint(
                "No run yet. Train one on the Train page.", "Go to Train", lambda: self.go_to("train")
            )
        elif run.is_refinement or run.is_network:
            what = "the maps of another run refined" if run.is_refinement else "an affinity network"
            self.show_hint(
                f"{run.title} is {what}, so there is no classifier to climb on. Choose another run above.",
                "Go to Refine",
                lambda: self.go_to("refine"),
            )
        elif not run.weights.is_file():
            why = f"The run {run.title} has no weights yet, so there is no network to climb on."
            self.show_hint(
                f"{why} Train it on, or choose another run above.", "Go to Train", lambda: self.go_to("train")
            )
        elif session.image is None:
            self.show_hint("The project has no image that can be read.")
        elif session.cls is None:
            self.show_hint("The project has no class yet. Add one on the Tags page.")
        else:
            self.hide_hint()
            if self.shown:  # another page in front: reading every image it steps through would slow it
                self._read()
        if self.view is None and self.owns_layers:
            self.beside.end()
            self.layers.clear()
            self.strip.hide()
        self.work.show()
        self.command_changed.emit()

    def choose(self, key: str, step: int = 0, *, follow: bool = False) -> None:
        """Bring a climb to the front.

        Args:
            key: Of `climbs`.
            step: The step to open at, the nearest that there is.
            follow: It is being climbed, and the person goes along with the newest step.
        """
        project = self.session.project
        if project is None or key not in self.climbs:
            return
        try:
            path = path_of(self.climbs, key)
        except UserError as error:
            self.panel.show_warning(str(error))
            return
        self.key = key
        if path.last < 0:
            return  # its first step is being climbed
        self.view = StepView(path, self.photograph)
        self.beside.forget()
        name = project.classes[self.view.leaf.cls]
        self.layers.open(self.view, name, self.desk.settings.colormap)
        player = self.panel.player
        player.stop()
        with QSignalBlocker(player):
            player.follow = follow
            player.set_last(min(step, path.last) if follow else path.last)
            player.set_step(step)
            player.set_last(path.last)
        self.step = player.step
        self.panel.show_tools(True)
        self.panel.show_pictures(self.view.has_pictures)
        self._remember()
        self.show_climbs()
        self.show_step()
        self.show_truth()
        if not follow:  # the first picture of a climb that was just begun does not wait for its figures
            self.show_figures()
        self.work.show()

    def lengthen(self) -> None:
        """Let the climb in front have the steps that came; who stands at its end goes along."""
        if self.view is not None and self.key in self.climbs:
            self.view.grow(path_of(self.climbs, self.key))
            self.beside.forget()
            self.panel.player.set_last(self.view.last)
            self.show_climbs()
            self._later.start()

    def go(self, step: int) -> None:
        """Go to a step of the climb in front, the nearest that there is."""
        if self.view is not None:
            step = min(max(step, 0), self.view.last)
            self.panel.player.set_step(step)
            self._moved(step)

    def show_step(self) -> None:
        """Draw the step in all that is visible; figures follow when the hand rests."""
        view, name = self.view, self.class_name
        if view is None:
            return
        try:
            self._masks = None
            if not self.beside.on:  # the grid hides all layers; they follow when it ends
                self.layers.show(self.step, self.panel.wanted())
            self._show_mask()
            self.panel.line.setText(rows_text(view, self.step, name))
            self.beside.show()
        except UserError as error:
            self.fail(str(error))
            return
        self.panel.tree.set_step(self.step)
        self.strip.move(self.step)
        self._later.start()

    def show_climbs(self) -> None:
        """Draw the tree of climbs, and offer the others to be shown beside."""
        busy, defaults = self.work.climbing_folder(), self.jobs.defaults
        titles = {
            key: title_of(found, self.climbs, defaults, found.trace.folder == busy)
            for key, found in self.climbs.items()
        }
        traces = {key: found.trace for key, found in self.climbs.items()}
        self.panel.tree.show_traces(traces, self.key, self.beside.key, self.step, titles)
        self.beside.offer(titles)

    def fail(self, why: str) -> None:
        """Say why a climb cannot be shown, and show nothing of it."""
        self._close()
        self.layers.clear()
        self.strip.hide()
        self.panel.show_warning(why)
        self.work.show()

    @property
    def class_name(self) -> str:
        """Name of the class that is climbed, or an empty string."""
        project, cls = self.session.project, self.session.cls
        return "" if project is None or cls is None else project.classes[cls]

    def _connect(self) -> None:
        panel, events = self.panel, self.session.events
        panel.player.moved.connect(self._moved)
        panel.tree.chosen.connect(self._pick)
        for key, switch in panel.switches.items():
            switch.toggled.connect(lambda on, key=key: self._switch(key, on))
        panel.mask.activated.connect(lambda _index: self._show_mask())
        panel.truth.toggled.connect(lambda _on: self.show_truth())
        panel.rule.moved.connect(self._rule_moved)
        panel.rule.settled.connect(self._rule_settled)
        self.layers.eye.connect(panel.set_wanted)
        for signal in (events.image, events.run, events.project, events.cls):
            signal.connect(self._changed)
        self.desk.plots.follow_theme(panel.rule)
        for widget in (panel.tree, panel.player):
            self.desk.plots.follow_theme(widget)
        # The page lies in a scroll area, which would keep the arrow keys for itself.
        self.desk.keys.watch(self)
        self.desk.keys.bind(
            "climb",
            {
                "back": lambda _: panel.player.back(),
                "forward": lambda _: panel.player.forward(),
                "play": lambda _: panel.player.toggle(),
                "beside": lambda _: panel.compare.click(),
            },
        )

    def _close(self) -> None:
        self.view = self.key = self._masks = self._truth = None
        self.climbs = {}
        self.beside.forget()
        self._later.stop()
        self.panel.player.stop()
        self.panel.close_all()

    def _read(self) -> None:
        session, run = self.session, self.session.chosen_run
        project, image, cls = session.project, session.image, session.cls
        assert project is not None and run is not None and image is not None and cls is not None
        try:
            self.photograph = project.read(image).pixels
            truth = read_truth(project, image) if has_truth(project, image) else None
        except UserError as error:
            self.panel.show_warning(str(error))
            return
        self._truth = None if truth is None else restricted_truth(truth, cls)
        self.strip.begin(self.panel.rule.rule, truth)
        self.panel.truth.setEnabled(truth is not None)
        self.climbs = climbs_of(project, run, image, cls)
        own = [key for key, found in self.climbs.items() if found.views == OWN]
        newest = next(reversed(own or list(self.climbs)), None)
        key, step = self._places.get((run.id, image, cls), (newest, 0))
        if key not in self.climbs:
            key, step = newest, 0
        if key is not None:
            self.choose(key, step)

    def _remember(self) -> None:
        session = self.session
        if self.key is not None:
            self._places[session.run, session.image, session.cls] = (self.key, self.step)

    def _moved(self, step: int) -> None:
        if self.view is None or step == self.step or not 0 <= step <= self.view.last:
            return
        self.step = step
        self._remember()
        self.ends.pick()
        self.show_step()
        self.work.show_going_on()

    def _pick(self, key: str, step: int) -> None:
        if key == self.key:
            self.go(step)
        else:
            self.choose(key, step)
            self.ends.pick()

    def _switch(self, key: str, on: bool) -> None:
        self.panel.show_legend()
        if not self.beside.on:
            self.desk.guard(self.layers.show, self.step, self.panel.wanted())

    def _show_mask(self, mask: Any = None) -> None:
        view, style = self.view, self.panel.mask.currentData()
        if view is None or self.beside.on:
            return
        if mask is None and style != "none":
            mask = self._mask_view().mask(self.panel.rule.rule)
        if mask is not None or style == "none":
            self.layers.show_mask(view.leaf.image, mask, self.desk.colours, style)

    def _mask_view(self) -> MaskView:
        assert self.view is not None
        if self._masks is None:
            self._masks = self.view.mask_view(self.step)
        return self._masks

    def show_truth(self) -> None:
        """Outline the truth of the class, or take it away."""
        if self.view is not None and not self.beside.on:
            shown = None
            if self.panel.truth.isChecked() and self._truth is not None:
                # Its void rim would be outlined too, and that of every other object.
                shown = np.where(self._truth == 255, np.uint8(0), self._truth)
            self.layers.show_truth(self.view.leaf.image, shown, self.desk.colours)

    def _rule_moved(self) -> None:
        """Repaint the mask at once; figures and small regions follow when the hand rests."""
        self._show_mask()
        self.desk.guard(self.beside.show)
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

    def show_figures(self) -> None:
        """Reckon what need not follow every frame: histogram, figures, curves, the tree."""
        view, project = self.view, self.session.project
        if view is None or project is None or not self.shown:
            return
        colours, cls, rule = self.desk.colours, view.leaf.cls, self.panel.rule.rule
        try:
            masks = self._mask_view()
            title = f"Climb of {self.class_name} in {view.leaf.image}"
            self.strip.show(view, self.beside.view, rule, title)
        except UserError as error:
            self.fail(str(error))
            return
        mask = masks.mask(rule)
        if rule.min_region > 1:
            mask = clean(mask, rule.min_region)
            self._show_mask(mask)
        self.panel.rule.show_scores(masks.histogram(), [colours[cls]])
        report = image_report(self._truth, mask, project.classes) if self._truth is not None else None
        rows = rows_of(shares(mask), project.classes, colours, report)
        self.panel.figures.show_rows(rows, report and report["miou"], truth=report is not None)
        self.layers.settle()
        self.ends.refresh()
        self.command_changed.emit()

    def _changed(self, _value: Any = None) -> None:
        self.load()
