"""The box in front on the Refine page: what it made of this image, before and after, stage by stage."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QObject

from engine.errors import UserError
from engine.metrics import image_report
from engine.results import CamStack, InstanceSet, RefineTrace
from engine.store import Project
from engine.store.truth import has_truth, read_truth
from wsss_napari.canvas_mouse import Clicks
from wsss_napari.map_files import read_maps
from wsss_napari.mask_view import scores_at, shares
from wsss_napari.readouts import rows_of
from wsss_napari.refine_chain import MadeBox, chain_words, rule_of
from wsss_napari.refine_curves import StagePlots, stage_curves
from wsss_napari.refine_looks import LOOKS
from wsss_napari.refine_view import TraceView, change_between, changed_words, fits, mask_of
from wsss_napari.why_pixel import WhyPixel

if TYPE_CHECKING:
    from wsss_napari.pages.refine import RefinePage

__all__ = ["RefineFront"]

Mask = NDArray[np.uint8]


class RefineFront(QObject):
    """Reads the box in front for the image in front, and shows it in layers, words and plots.

    Args:
        page: The Refine page.
    """

    def __init__(self, page: RefinePage) -> None:
        super().__init__(page)
        self.page = page
        self.box: MadeBox | None = None
        self.before_stack: CamStack | None = None
        self.after_stack: CamStack | None = None
        self.view: TraceView | None = None
        self.before: Mask | None = None
        self.after: Mask | None = None
        self.stage = 0
        self.iteration = 0
        self.held = False
        self.plots = StagePlots()
        self.why = WhyPixel(page.desk.layers, self._why)
        self._truth: Mask | None = None
        self._drawn = False
        self._clicks = Clicks(page, self.touch)
        self._previewed = False
        sight = page.panel.sight
        sight.held.connect(self.hold)
        sight.player.moved.connect(self.go)
        sight.iteration.valueChanged.connect(self._iterate)
        sight.mask.activated.connect(lambda _index: self._restyle())
        sight.truth.toggled.connect(lambda _on: self._show_truth())
        sight.why.toggled.connect(self.why.turn)
        for key, switch in sight.switches.items():
            switch.toggled.connect(lambda _on, key=key: self._switched(key))
        page.layers.eye.connect(sight.set_wanted)
        page.layers.eye.connect(lambda _key, _on: self._listen())
        self.plots.moved.connect(self.go)
        page.desk.plots.follow_theme(sight.player)

    @property
    def summary(self) -> str:
        """What the box did to the image, in a sentence or two; empty without a result."""
        sight = self.page.panel.sight
        if self.after is None:
            return ""
        return f"{sight.changed.text()} {sight.quality.text() if sight.quality.isVisibleTo(sight) else ''}".strip()

    def read(self, box: MadeBox | None) -> None:
        """Read a box, and the source it was made from, for the image in front; None shows nothing.

        Raises:
            UserError: A file is damaged.
        """
        page, project, image = self.page, self.page.session.project, self.page.session.image
        self.close()
        self.box = box
        if project is None or image is None or page.source is None:
            return
        self.before_stack, _ = read_maps(project, page.source, image)
        self._truth = read_truth(project, image) if has_truth(project, image) else None
        page.layers.begin(image, page.desk.colours)
        rule = rule_of(box.first) if box is not None else page.rule()
        if self.before_stack is not None:
            self.before = mask_of(self.before_stack, rule)
        if box is None:
            return
        self.after_stack, _ = read_maps(project, box.views, image)
        if self.after_stack is None:
            return
        self.after = mask_of(self.after_stack, rule)
        self.view = self._trace(project, box, image)
        instances = _instances(box, image, self.after.shape, len(project.classes))
        colours, colormap = page.desk.colours, page.desk.settings.colormap
        page.layers.open(image, self.view, instances, project.classes, colours, colormap)
        change = None if self.before is None else change_between(self.before, self.after)
        page.layers.show_change(change)
        self._describe(box, image, change)

    def use_rule(self) -> None:
        """Make the mask before anew by the first card's rule, as long as no box has one of its own."""
        if self.before_stack is not None and self.after is None:
            self.before = mask_of(self.before_stack, self.page.rule())

    def show(self) -> None:
        """Show what was read."""
        sight, there = self.page.panel.sight, self.after is not None
        sight.setVisible(there)
        if not there:
            self.page.layers.clear()
            self.hide_plots()
            return
        for look in LOOKS:
            sight.allow(look.key, self.page.layers.there(look.key))
        self.stage = self.iteration = 0
        sight.show_stages(None if self.view is None else self.view.last)
        self.show_mask()
        self.show_looks()
        self._show_truth()
        self._show_plots()

    def show_looks(self) -> None:
        """Draw the looks that are switched on, at the stage of the slider."""
        sight, view = self.page.panel.sight, self.view
        sight.show_legend()
        if self.after is None or self.held or self.page.layers.previewing:
            return
        wanted = sight.wanted()
        # Found when they are first wanted: that takes longer than all the rest.
        found = view.iterations if view is not None and "centroids" in wanted else ()
        sight.show_iterations(found, self.iteration)
        self.page.layers.show(self.stage, self.iteration, self._class(), wanted)
        if view is not None:
            sight.line.setText(view.stage_words(self.stage))
        self._listen()

    def show_mask(self) -> None:
        """Draw the mask of the result, or of the source while the key is held."""
        style = self.page.panel.sight.mask.currentData()
        mask = self.before if self.held else self.after
        if mask is not None:
            words = "mask before" if self.held else "mask refined"
            # Held to compare, a hidden mask would show nothing at all.
            self.page.layers.show_mask(words, mask, "filled" if self.held and style == "none" else style)

    def hold(self, on: bool) -> None:
        """Show the source's mask while a key or the button is held."""
        layers = self.page.layers
        if on == self.held or (on and self.before is None):
            return
        self.held = on
        if on:
            self._previewed = layers.previewing
            layers.hide_all()
            self.show_mask()
        elif self._previewed:
            layers.show_preview_again()
        elif self.after is not None:
            self.show_mask()
            self.show_looks()
            self._show_truth()
        else:
            layers.clear()

    def go(self, stage: int) -> None:
        """Go to a stage, the nearest that there is."""
        if self.view is None:
            return
        stage = min(max(stage, 0), self.view.last)
        if stage != self.stage:
            self.page.end_preview()
            self.stage = stage
            self.page.panel.sight.player.set_step(stage)
            if self._drawn and isalive(self.plots):
                self.plots.set_cursor(stage)
            self.show_looks()

    def close(self) -> None:
        """Forget what was read."""
        self.box = self.before_stack = self.after_stack = self.view = None
        self.before = self.after = self._truth = None
        self.held = False
        self.page.panel.sight.show_patch_words("")
        self._listen()

    def leave(self) -> None:
        """Stop playing, listening and plotting, as when another page comes to the front."""
        sight = self.page.panel.sight
        sight.player.stop()
        sight.why.setChecked(False)
        self._listen(False)
        self.hide_plots()

    def hide_plots(self) -> None:
        """Take the curves away."""
        # Asking for the strip would make one; without curves there never was any.
        if self._drawn:
            self.page.desk.plots.hide(self.plots)
            self._drawn = False

    def _trace(self, project: Project, box: MadeBox, image: str) -> TraceView | None:
        path = box.views.path(image, RefineTrace.KIND)
        if not path.is_file():
            return None
        trace, facts = RefineTrace.load(path), project.image(image)
        size = (facts.height, facts.width)
        if trace.size != size or max(trace.classes, default=-1) >= len(project.classes) or not fits(trace):
            raise UserError(
                f"{path} was made for another image or other classes, or is damaged.",
                "Stages of this image's own size and classes are shown.",
                "Delete the box and refine the image again.",
            )
        return TraceView(trace, box.settings)

    def _describe(self, box: MadeBox, image: str, change: Any) -> None:
        sight, project = self.page.panel.sight, self.page.session.project
        assert project is not None and self.after is not None
        sight.title.setText(f"{image} · {chain_words(box.chain)}")
        sight.title.setToolTip(f"{box.title}, made from {box.source}")
        said = "The source has no maps of this image, so nothing can be compared."
        sight.changed.setText(said if change is None else changed_words(change))
        sight.before.setEnabled(change is not None)
        truth = self._truth
        reports = [
            image_report(truth, mask, project.classes) if truth is not None and mask is not None else None
            for mask in (self.before, self.after)
        ]
        rows = rows_of(shares(self.after), project.classes, self.page.desk.colours, reports[1])
        miou = None if reports[1] is None else reports[1]["miou"]
        sight.figures.show_rows(rows, miou, truth=truth is not None)
        sight.truth.setEnabled(truth is not None)
        values = [None if r is None else r["miou"] for r in reports]
        sight.quality.setVisible(None not in values)
        if values[0] is not None and values[1] is not None:
            sight.quality.setText(
                f"mIoU of this image: {values[0]:.3f} before, {values[1]:.3f} after ({values[1] - values[0]:+.3f})."
            )

    def _class(self) -> int | None:
        """Return the class whose score is looked at: the chosen chip's, or the first there is."""
        classes = () if self.view is None else self.view.trace.classes
        cls = self.page.session.cls
        return cls if cls in classes else next(iter(classes), None)

    def _restyle(self) -> None:
        self.page.end_preview()
        self.show_mask()

    def _iterate(self, iteration: int) -> None:
        self.iteration = iteration
        self.show_looks()

    def _switched(self, key: str) -> None:
        self.page.end_preview()
        self.show_looks()
        if key == "patch":
            self.page.panel.sight.show_patch_words(
                "Click on the image to see how alike the cells around it are."
                if "patch" in self.page.panel.sight.wanted()
                else ""
            )

    def _show_truth(self) -> None:
        if self.after is not None:
            on = self.page.panel.sight.truth.isChecked()
            self.page.layers.show_truth(self._truth if on else None)

    def _show_plots(self) -> None:
        page, project = self.page, self.page.session.project
        if self.view is None or self.box is None or project is None or not isalive(self.plots):
            self.hide_plots()
            return
        self.plots.show_curves(stage_curves(self.view, self._truth, len(project.classes)))
        self.plots.set_cursor(self.stage)
        self._drawn = True
        page.desk.plots.show(self.plots, f"Stages of {self.box.refiner.upper()} in {page.session.image}")

    def _listen(self, on: bool | None = None) -> None:
        """Listen to clicks on the canvas while affinities of a cell are wanted."""
        if on is None:
            on = self.page.shown and self.view is not None and "patch" in self.page.panel.sight.wanted()
        if self._clicks.turn(on) and not on:
            self.page.layers.show_patch(None)

    def touch(self, row: float, column: float) -> None:
        """Show the affinities of the cell at a pixel."""
        if self.view is None or not self.view.has("patch"):
            return
        patch = self.view.patch(row, column)
        self.page.layers.show_patch(patch)
        self.page.panel.sight.show_patch_words(
            patch.words if patch is not None else "That is outside of the image."
        )
        self.show_looks()

    def _why(self, row: int, column: int) -> str | None:
        """Return the scores at a pixel, before and after, as rich text."""
        project, before, after = self.page.session.project, self.before_stack, self.after_stack
        if project is None or after is None or self.after is None:
            return None
        if not (0 <= row < after.size[0] and 0 <= column < after.size[1]):
            return None
        names, colours = project.classes, self.page.desk.colours
        scores = [_scores(stack, row, column) for stack in (before, after)]
        rows = []
        for cls in (-1, *after.classes):
            dot = f"<span style='color:{colours[cls]}'>●</span>&nbsp;" if cls >= 0 else ""
            cells = "".join(
                f"<td align='right'>{found[cls]:.2f}&nbsp;&nbsp;</td>"
                if cls in found
                else "<td align='right'>–</td>"
                for found in scores
            )
            rows.append(f"<tr><td>{dot}{_name(cls + 1, names)}&nbsp;&nbsp;</td>{cells}</tr>")
        now = _name(int(self.after[row, column]), names)
        was = _name(int(self.before[row, column]), names) if self.before is not None else ""
        head = f"<b>{now}</b>" + (f", before {was}" if was and was != now else "")
        return (
            f"{head} at row {row}, column {column}<table><tr><td></td><td>before&nbsp;&nbsp;</td><td>after</td></tr>"
            f"{''.join(rows)}</table>"
        )


def _instances(box: MadeBox, image: str, shape: tuple[int, ...], classes: int) -> InstanceSet | None:
    path = box.views.path(image, InstanceSet.KIND)
    if not path.is_file():
        return None
    found = InstanceSet.load(path)
    if found.ids.shape != shape or (len(found.classes) and int(found.classes.max()) >= classes):
        raise UserError(
            f"{path} was made for another image or other classes.",
            "Instances of this image's own size and classes are shown.",
            "Delete the box and refine the image again.",
        )
    return found


def _scores(stack: CamStack | None, row: int, column: int) -> dict[int, float]:
    """Return class -> score at a pixel, -1 for the background's."""
    if stack is None:
        return {}
    found = dict(zip(stack.classes, map(float, scores_at(stack, row, column)), strict=True))
    if stack.background is not None:
        full = stack.full_background()
        assert full is not None
        found[-1] = float(full[row, column])
    return found


def _name(value: int, names: tuple[str, ...]) -> str:
    return {0: "background", 255: "unsure"}.get(value) or html.escape(names[value - 1])
