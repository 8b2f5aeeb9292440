"""The Prototypes page: how a run of CPAL comes from a seed to its map, by prototypes that other images left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from engine.errors import UserError
from engine.messages import command
from engine.results import PrototypeBank, PrototypeView
from engine.store import Run, runs_of
from engine.tags import PRESENT
from wsss_napari.canvas_mouse import Clicks
from wsss_napari.desk import Desk
from wsss_napari.one_thread import one_thread
from wsss_napari.pages.layer_page import LayerPage
from wsss_napari.pages.prototypes_body import PrototypesBody
from wsss_napari.pages.prototypes_rounds import PrototypesRounds
from wsss_napari.pages.prototypes_rows import PrototypesRows
from wsss_napari.pages.prototypes_sight import PrototypesSight
from wsss_napari.pages.prototypes_work import PrototypesWork
from wsss_napari.prototype_bank import Hand, Shelf, choice_of
from wsss_napari.prototype_jobs import METHOD
from wsss_napari.prototype_layers import PrototypeLayers
from wsss_napari.prototype_plots import PrototypePlots
from wsss_napari.prototype_stages import MASKS, STAGES
from wsss_napari.prototype_view import PrototypeScene
from wsss_napari.session import STATES
from wsss_napari.thumbnails import Thumbnails

__all__ = ["PrototypesPage"]

_SETTLE_MS = 100


class PrototypesPage(LayerPage):
    """One class of one image on its way through the stages; nothing on a slider asks the network."""

    NAME = "prototypes"
    TITLE = "Prototypes"
    TIP = "See which prototypes of other images draw a class here, and change them"

    def __init__(self, desk: Desk, parent: Any = None) -> None:
        super().__init__(desk, parent)
        self.thumbnails = Thumbnails(desk.settings.cache, self)
        self.panel = PrototypesBody(self.thumbnails, self)
        self.body.addWidget(self.panel)
        self.layers = PrototypeLayers(desk.layers)
        self.shelf = Shelf()
        self.plots = PrototypePlots()
        self.clicks = Clicks(self, self.probe)
        self.scene: PrototypeScene | None = None
        self._plots_shown = False
        self._view: PrototypeView | None = None
        self._bank: PrototypeBank | None = None
        # What a person did to the classes of the bank, and painted in its images; gone with the bank.
        self.hands: dict[int, Hand] = {}
        self.painted: dict[tuple[str, int], NDArray[np.bool_]] = {}
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_SETTLE_MS)
        self._later.timeout.connect(self.show_figures)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SETTLE_MS)
        self._soon.timeout.connect(self._follow)
        self.rows = PrototypesRows(self)
        self.rounds = PrototypesRounds(self)
        self.sight = PrototypesSight(self)
        self.work = PrototypesWork(self)
        self._connect()
        self._use_project()
        self.load()

    def enter(self) -> None:
        """Show the class in the image in front."""
        super().enter()
        self.layers.wake()
        self.clicks.turn(True)
        self.sight.tips.turn(True)
        self.load()

    def leave(self) -> None:
        """Stop playing and painting, and put layers and plots away."""
        super().leave()
        self.panel.player.stop()
        self._end_painting()
        self.clicks.turn(False)
        self.sight.tips.turn(False)
        self.sight.preview.forget()
        self._later.stop()
        self._soon.stop()
        self._hide_plots()
        self.layers.sleep()

    @property
    def busy(self) -> bool:
        """Whether crops or a CRF are still to come."""
        return self.scene is not None and (self.thumbnails.pending > 0 or self.sight.busy)

    def command(self) -> str | None:
        """Return the line that looks at the image in front."""
        image = self.session.image
        job = None if self.hint or image is None else self.work.jobs.look((image,))
        return None if job is None else command(job)

    @property
    def class_name(self) -> str:
        """Name of the class that is looked at, or an empty string."""
        project, cls = self.session.project, self.session.cls
        return "" if project is None or cls is None else project.classes[cls]

    @property
    def stage(self) -> str:
        """Key of the stage that is in front."""
        return STAGES[self.panel.player.step].key

    def load(self) -> None:
        """Read the pass over the image in front and show the class in it, or say what is missing."""
        self._close()
        session = self.session
        run = session.chosen_run
        if session.project is None:
            self.show_hint("No project is open. Open one above, or make one on the Tags page.")
        elif run is None or run.method != METHOD:
            self._hint_at_runs(run)
        elif not run.weights.is_file():
            self.show_hint(
                f"The run {run.title} has no weights yet, so there are no prototypes. Train it on, or choose another "
                "run above.",
                "Go to Train",
                lambda: self.go_to("train"),
            )
        elif session.image is None:
            self.show_hint("The project has no image that can be read.")
        elif session.cls is None:
            self.show_hint("The project has no class yet. Add one on the Tags page.")
        else:
            self.hide_hint()
            if self.shown:  # another page in front: reading every image it steps through would slow it
                self._read(run, session.image, session.cls)
        if self.scene is None and self.owns_layers:
            self.layers.clear()
            self._hide_plots()
        self.work.show()
        self.command_changed.emit()

    def redraw(self) -> None:
        """Reckon the stages anew, draw the one in front and the neighbours; plots follow when the hand rests."""
        self.turn()
        if self.scene is not None:
            self.rows.show()

    def turn(self) -> None:
        """Follow a slider: draw the stage in front at once; neighbours and plots lag a tenth of a second behind."""
        scene = self.scene
        if scene is None:
            return
        scene.choice, scene.alpha = self.panel.sliders.choice, self.panel.sliders.alpha
        self.sight.outdated()
        with one_thread():
            scene.refresh()
            # Masks need all classes and wait for a moment of rest.
            if not self.panel.paint.isChecked() and self.stage not in MASKS:
                self.layers.show(self.stage)
        self.say_stage()
        if not self._soon.isActive():  # laying out the neighbours and painting the bank take a frame each
            self._soon.start()
        self._later.start()

    def say_stage(self) -> None:
        """Write down which stage is in front and what it found."""
        scene = self.scene
        if scene is None:
            return
        line = self.sight.line() if self.stage in MASKS else scene.line(self.stage)
        if scene.known and scene.passage is None and self.stage not in ("cam", *MASKS):
            line = f"No cell of {self.class_name} is over τ here: lower it, or paint a seed."
        self.panel.show_stage(self.panel.player.step, line)

    def light(self, prototype: int | None) -> None:
        """Show the map of one neighbour while it is pointed at; None goes back to the stage."""
        scene = self.scene
        if scene is None or self.panel.paint.isChecked():
            return
        if prototype is not None:
            scene.lit = prototype
        self.layers.show("neighbours" if prototype is not None else self.stage)
        self.say_stage()
        self.sight.follow()
        self._later.start()

    def probe(self, y: float, x: float) -> None:
        """Show which prototypes a pixel of the image is nearest to."""
        scene, project = self.scene, self.session.project
        if scene is None or project is None or self.panel.paint.isChecked():
            return
        near = scene.nearest(y, x)
        if scene.cell_at(y, x) is None:
            where = "Click on the image to see which prototypes a pixel is nearest to."
        else:
            where = f"Nearest at row {round(y)}, column {round(x)}:"
        self.panel.show_near(where, near, project.classes)

    def show_figures(self) -> None:
        """Draw what need not follow every move: the plots, and the small pictures in the layer list."""
        scene, project = self.scene, self.session.project
        if scene is None or project is None or not self.shown or not isalive(self.plots):
            return
        self.layers.settle()
        colours = self.desk.colours
        self.plots.show_bank(
            scene.map(),
            colour=colours[scene.cls],
            evicted=sorted(scene.hand.evicted),
            off=sorted(scene.hand.off),
            lit=scene.lit if scene.lit is not None else self.rows.chosen,
            ringed=self.rows.held,
            words=self._bank_words(scene),
        )
        self.plots.show_scores(scene.scores(), scene.alpha, self._gate_words(scene))
        ages = scene.ages()
        length = scene.bank.rows.shape[1]
        self.rows.show_clusters()
        self.plots.show_ages(ages, f"{len(ages)} of {length} ({len(ages) / length:.0%})")
        self._show_others(scene)
        self._plots_shown = True
        self.desk.plots.show(self.plots, f"Prototypes of {self.class_name} · {scene.view.image}")

    def paint(self, on: bool) -> None:
        """Begin to paint a seed, or leave it without using it."""
        scene = self.scene
        if scene is None:
            return
        if on:
            self.panel.player.stop()
            self.layers.show("")
        self.layers.paint(on)
        if not on:
            self.layers.show(self.stage)
        self.panel.show_painting(on, scene.painted is not None)

    def use_painted(self) -> None:
        """Take the painted cells as the seed of the class in this image."""
        scene = self.scene
        found = None if scene is None else self.layers.paint(False)
        if scene is None or found is None:
            return
        self.panel.paint.blockSignals(True)
        self.panel.paint.setChecked(False)
        self.panel.paint.blockSignals(False)
        if found.any():
            self.painted[scene.view.image, scene.cls] = scene.painted = found > 0
        else:
            self.desk.said("info", "Nothing is painted, so the seed stays as it was.")
        self.panel.show_painting(False, scene.painted is not None)
        self.redraw()

    def forget_painted(self) -> None:
        """Go back to the seed of the class map."""
        scene = self.scene
        if scene is not None:
            self.painted.pop((scene.view.image, scene.cls), None)
            scene.painted = None
            self.panel.show_painting(False, False)
            self.redraw()

    def _connect(self) -> None:
        panel, events, plots = self.panel, self.session.events, self.plots
        panel.sliders.moved.connect(self.turn)
        panel.player.moved.connect(lambda _step: self._stage_moved())
        panel.paint.toggled.connect(self.paint)
        panel.use.clicked.connect(self.use_painted)
        panel.forget.clicked.connect(self.forget_painted)
        plots.alpha_dragged.connect(panel.sliders.set_alpha)
        plots.row_clicked.connect(self.rows.show_image)
        plots.lassoed.connect(self.rows.hold)
        plots.row_hovered.connect(self._hover_row)
        plots.prototype_clicked.connect(self.rows.choose)
        for signal in (events.image, events.run, events.cls):
            signal.connect(self._changed)
        events.project.connect(self._project_changed)
        self.session.tags_changed.connect(self._tags_changed)
        galleries = panel.galleries
        for widget in (
            galleries.neighbours,
            galleries.rows,
            galleries.sizes,
            galleries.shifts,
            galleries.grid,
            panel.player,
        ):
            self.desk.plots.follow_theme(widget)
        # The page lies in a scroll area, which would keep the arrow keys for itself.
        self.desk.keys.watch(self)
        player = panel.player
        self.desk.keys.bind(
            "prototypes",
            {
                "back": lambda _: player.back(),
                "forward": lambda _: player.forward(),
                "play": lambda _: player.toggle(),
            },
        )

    def _hint_at_runs(self, run: Run | None) -> None:
        project = self.session.project
        assert project is not None
        having = [r for r in runs_of(project.root) if r.method == METHOD and r.weights.is_file()]
        what = "No run yet." if run is None else f"{run.title} ({run.method}) keeps no prototypes."
        if having:
            newest = having[-1]
            self.show_hint(
                f"{what} {newest.title} is a run of CPAL, which does.",
                f"Show {newest.title}",
                lambda: setattr(self.session, "run", newest.id),
            )
        else:
            self.show_hint(
                f"{what} Prototypes come with the method CPAL (context prototypes); train a run of it.",
                "Go to Train",
                lambda: self.go_to("train"),
            )

    def _read(self, run: Run, image: str, cls: int) -> None:
        project = self.session.project
        assert project is not None
        try:
            bank = self.shelf.bank(run)
            if bank is not self._bank:
                self._bank = bank
                self.rounds.use(run)
                self.hands, self.painted = {}, {}
                params = dict(run.facts.get("params") or {})
                most = int(bank.prototypes.shape[1])
                self.panel.sliders.show_run(choice_of(params), float(params.get("alpha", 0.0)), most)
            self._view = self.shelf.view(project, run, image)
        except UserError as error:
            self.panel.show_warning(str(error))
            return
        except FileNotFoundError:
            self.panel.show_missing(
                f"{run.title} has not looked at {image} yet, or its weights or the image changed since. One pass of the "
                "network is kept; everything here then goes on from it."
            )
            return
        sliders = self.panel.sliders
        self.scene = PrototypeScene(
            self._view,
            bank,
            cls,
            sliders.choice,
            self.hands.setdefault(cls, Hand()),
            alpha=sliders.alpha,
            painted=self.painted.get((image, cls)),
        )
        self.layers.open(self.scene, self.class_name, self.desk.colours, self.desk.settings.colormap)
        self.panel.show_tools(True)
        self.panel.show_about(self._about(self.scene, run))
        self.panel.show_painting(False, self.scene.painted is not None)
        self.probe(-1, -1)
        self.rows.open(self.scene)
        self.sight.open()
        self.redraw()
        self.sight.follow()
        self.show_figures()

    def _about(self, scene: PrototypeScene, run: Run) -> str:
        """Return what a person should know of the class here, or an empty string."""
        name, parts = self.class_name, []
        state = self.session.tag(scene.view.image, scene.cls)
        params = dict(run.facts.get("params") or {})
        if state != PRESENT:
            parts.append(f"{name} is tagged {STATES[state]} in this image.")
        if not scene.known:
            parts.append(f"{run.title} was trained before {name} was a class, so it knows nothing of it.")
        elif scene.choice.without:
            parts.append("This run was trained without the bank: the image's own prototype draws the map.")
        elif not scene.has_prototypes:
            parts.append(
                f"No confident image left a prototype of {name} behind, so the image's own prototype draws the map."
            )
        if params.get("select") == "positiveness":
            parts.append("The run chose its neighbours by weight; here they are chosen by likeness.")
        return " ".join(parts)

    def _close(self) -> None:
        self._end_painting()
        self.scene = self._view = None
        self.sight.close()
        self._later.stop()
        self.panel.player.stop()
        self.panel.show_warning("")
        self.panel.show_missing("")
        self.panel.show_tools(False)

    def _end_painting(self) -> None:
        if self.panel.paint.isChecked():
            self.panel.paint.setChecked(False)

    def _stage_moved(self) -> None:
        if self.scene is not None:
            self._end_painting()
            self.layers.show(self.stage)
            self.say_stage()
            self.sight.follow()
            self._later.start()

    def _follow(self) -> None:
        self.sight.follow()
        self.rows.show()
        if self.scene is not None and self._plots_shown and isalive(self.plots):
            self.plots.show_instance(self.scene.map())

    def _hover_row(self, row: int) -> None:
        self.plots.point(self.rows.row_text(row) if row >= 0 and self.scene is not None else "")

    def _bank_words(self, scene: PrototypeScene) -> str:
        rows, total = len(scene.scores()), int(scene.bank.count[scene.cls]) if scene.known else 0
        gone = len(scene.hand.evicted)
        return f"{rows} rows, {total} prototypes" + (f", {gone} evicted" if gone else "")

    def _gate_words(self, scene: PrototypeScene) -> str:
        over, count = scene.passed()
        rate = scene.gate_rate()
        if rate is None:
            return "No row of this class"
        return f"{over} of {count} pass · {rate:.2g}/step"

    def _show_others(self, scene: PrototypeScene) -> None:
        project = self.session.project
        assert project is not None
        found = scene.others()
        order = [
            int(c)
            for c in np.argsort(-np.nan_to_num(found, nan=-2.0), kind="stable")
            if np.isfinite(found[c])
        ]
        bars = [(project.classes[c], self.desk.colours[c], float(found[c])) for c in order]
        rivals = [c for c in order if c != scene.cls]
        words = "Nothing to compare with"
        if rivals and scene.cls in order:
            gap = float(found[scene.cls] - found[rivals[0]])
            words = f"{gap:+.2f} to {project.classes[rivals[0]]}"
        self.plots.show_others(bars, words)

    def _hide_plots(self) -> None:
        # Asking for the strip would make one; without plots there never was any.
        if self._plots_shown:
            self._plots_shown = False
            if isalive(self.plots):
                self.desk.plots.hide(self.plots)

    def _changed(self, _value: Any = None) -> None:
        self.load()

    def _tags_changed(self, stems: tuple[str, ...]) -> None:
        run = self.session.chosen_run
        if self.scene is not None and run is not None and self.scene.view.image in stems:
            self.panel.show_about(self._about(self.scene, run))

    def _project_changed(self, _value: Any = None) -> None:
        self._use_project()
        self.load()

    def _use_project(self) -> None:
        project = self.session.project
        self.thumbnails.open(project)
        self.rows.use(project)
        self._bank = None
