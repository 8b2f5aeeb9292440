"""What every method promises, tried on every file in the methods folder: a new method costs no line here.

To try a method that lies elsewhere, name its folder in WSSS_TEST_METHODS.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import engine.methods
from engine.atomic import write_json
from engine.cli import main
from engine.errors import UserError
from engine.images import digest
from engine.messages import JOBS, Failed, Finished, Infer, Methods, Metrics, Refine, Stopped, Train
from engine.method import Batch, Clock, Method, Shot
from engine.methods import list_methods, method_class, tables_of
from engine.params import Field, describe, parse, presets
from engine.results import CamStack
from engine.run import run
from engine.store import Image, Project, create, open_project, run_of, source_of
from engine.store.runs import new_run
from engine.tags import Tags
from engine.train.checkpoint import load_weights, save_weights
from engine.train.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
if os.environ.get("WSSS_TEST_METHODS"):
    engine.methods.__path__.append(os.environ["WSSS_TEST_METHODS"])
NAMES = [card.name for card in list_methods()]
TRAINED = [card.name for card in list_methods() if card.trains and not card.refines]
REFINING = [card.name for card in list_methods() if card.refines]
UNTRAINED = [card.name for card in list_methods() if not card.trains]
# Methods whose optional library is not here: their promises are skipped, with the reason.
LACKING = {card.name: card.why_not for card in list_methods() if "is not installed" in card.why_not}
# What makes any method small enough for a test, where it has such a parameter.
SMALL = {"backbone": "tiny_cnn", "pretrained": False, "seeds": "cam"}
CLASSES = ("red", "green", "blue")
PLAN: dict[str, Any] = {"epochs": 2, "batch": 2, "crop": 32, "threads": 1}


def small(cls: type[Method[Any, Any]]) -> dict[str, Any]:
    return {k: v for k, v in SMALL.items() if k in {f.name for f in describe(cls.Params)}}


def picture(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width]


def make_project(folder: Path) -> Project:
    """Four images with tags of all three states, one of them with no tag, one of another size."""
    (folder / "images").mkdir()
    images, stems = [], []
    for n in range(4):
        file = folder / "images" / f"i{n}.png"
        size = (32, 32) if n == 3 else (40, 56)
        Pillow.fromarray(picture(n, *size)).save(file)
        images.append(Image(f"i{n}", file.name, *size, sha256=digest(file)))
        stems.append(f"i{n}")
    states = np.array([[1, 0, 1], [0, 1, -1], [-1, -1, -1], [0, 0, 1]], np.int8)
    return create(
        folder / "project",
        images=images,
        image_folder=folder / "images",
        tags=Tags(CLASSES, tuple(stems), states),
    )


def train(
    project: Project, name: str, cls: type[Method[Any, Any]], stop=lambda: False, **other: Any
) -> list[Any]:
    values = {"settings": small(cls), **PLAN, **other}
    return list(run(Train(project=str(project.root), method=name, **values), stop))


def learns_alike_in_bfloat16(project: Project, name: str, cls: type[Method[Any, Any]], **more: Any) -> None:
    """Train in both precisions: the same steps, losses that differ by rounding, and run.json says which it was."""
    first = {}
    for precision in ("float32", "bfloat16"):
        settings = {**small(cls), **more, "precision": precision}
        events = train(project, name, cls, run=precision, settings=settings)
        assert isinstance(events[-1], Finished), events[-1]
        chosen = run_of(project.root, precision)
        assert chosen.facts["plan"]["precision"] == precision
        told = [e.values for e in chosen.events() if isinstance(e, Metrics)]
        assert all(np.isfinite(v) for values in told for v in values.values())
        first[precision] = told[0]
    assert set(first["float32"]) == set(first["bfloat16"])
    for term, value in first["float32"].items():
        assert first["bfloat16"][term] == pytest.approx(value, rel=0.1, abs=0.05), term


def infer(project: Project, name: str, views: str = "default", stop=lambda: False) -> Any:
    return list(run(Infer(project=str(project.root), run=name, views=views, threads=1), stop))[-1]


def shots(*sizes: tuple[int, int]) -> list[Shot]:
    tags = [(1, 0, 1), (0, 1, -1), (-1, -1, -1), (1, 1, 1)]
    return [Shot(f"s{n}", picture(n, *s), np.array(tags[n % 4], np.int8)) for n, s in enumerate(sizes)]


def draw(method: Method[Any, Any], net: torch.nn.Module, these: list[Shot]) -> dict[str, CamStack]:
    with torch.no_grad():
        return dict(method.infer(net, these, parse(type(method).Views, {})))


def same(a: CamStack, b: CamStack, atol: float = 0.0) -> None:
    assert a.classes == b.classes and a.size == b.size
    np.testing.assert_allclose(a.maps.astype(np.float32), b.maps.astype(np.float32), atol=atol)
    np.testing.assert_allclose(a.scores, b.scores, atol=atol)


def each(names: list[str]) -> pytest.MarkDecorator:
    """Try a class of promises on these methods."""
    return pytest.mark.parametrize("cls", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def cls(request: pytest.FixtureRequest) -> type[Method[Any, Any]]:
    """The class of a method."""
    if request.param in LACKING:
        pytest.skip(LACKING[request.param])
    return method_class(request.param)


@pytest.fixture(scope="module")
def name(cls: type[Method[Any, Any]]) -> str:
    return cls.__module__.rsplit(".", 1)[-1]


@pytest.fixture(scope="module")
def built(cls: type[Method[Any, Any]]) -> tuple[Method[Any, Any], torch.nn.Module]:
    torch.manual_seed(0)
    method = cls(parse(cls.Params, small(cls)))
    return method, method.build(len(CLASSES))


@pytest.fixture(scope="module")
def trained(cls: type[Method[Any, Any]], name: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a run `whole` of this method."""
    project = make_project(tmp_path_factory.mktemp(name))
    if "seeds" in small(cls):
        seeded(project)
    events = train(project, name, cls, run="whole")
    assert isinstance(events[-1], Finished), events[-1]
    return project


@each(NAMES)
class TestConformance:
    """What every method promises, one test a promise."""

    def test_the_card_tells_people_what_it_is(self, cls, name) -> None:
        (card,) = (c for c in list_methods() if c.name == name)
        assert card.available, card.why_not
        assert card.title and card.title != name and card.version >= 1
        assert card.sentence.endswith(".") and card.sentence.count(". ") == 0, "one sentence"
        assert re.search(r"\b(19|20)\d\d\b", card.citation), "a citation has its year"
        assert card.look and card.needs and card.shows
        assert all(text[0].isupper() and text.endswith(".") for text in (*card.departs, *card.look))

    def test_its_parameters_can_be_shown_and_said(self, cls) -> None:
        assert json.loads(json.dumps(tables_of(cls), allow_nan=False))
        for table in (cls.Params, cls.Views):
            assert dataclasses.is_dataclass(table) and table.__dataclass_params__.frozen
            fields = describe(table)
            assert all(f.doc.endswith(".") for f in fields), "each says what it does"
            assert parse(table, {}) == table()
            assert "preset" not in {f.name for f in fields}, "--set preset chooses among the presets"
        # The same flag sets the parameters of a training and its plan.
        assert not {f.name for f in describe(cls.Params)} & {f.name for f in describe(Plan)}

    def test_its_presets_can_be_chosen(self, cls) -> None:
        for table in (cls.Params, cls.Views):
            for preset in presets(table):
                assert isinstance(parse(table, {"preset": preset}), table)

    def test_it_stands_in_the_list_the_command_line_and_the_form(self, cls, name, capsys, qtbot) -> None:
        assert_offered(cls, name, capsys, qtbot)


@each(UNTRAINED)
class TestUntrained:
    """What a method promises that works on the network of another run."""

    def test_it_learns_nothing(self, cls, name) -> None:
        (card,) = (c for c in list_methods() if c.name == name)
        assert not card.trains and "tags" not in card.needs and any("run" in need for need in card.needs)
        assert describe(cls.Params) == () and describe(cls.Views), "all it has to set is how it looks"

    def test_it_refuses_to_be_trained_and_names_the_job_that_does_its_work(
        self, cls, name, tmp_path: Path, capsys
    ) -> None:
        project = make_project(tmp_path)
        before = sorted(p for p in project.root.rglob("*"))
        for job in (Train(project=str(project.root), method=name), Train(project="nowhere", method=name)):
            ending = list(run(job))[-1]
            assert isinstance(ending, Failed) and ending.mistake, ending
        ending = list(run(Train(project=str(project.root), method=name, run="mine", resume=True)))[-1]
        assert isinstance(ending, Failed) and ending.mistake and cls.TITLE in ending.message
        assert main(["train", name, "-p", str(project.root)]) != 0
        told = capsys.readouterr().err
        assert f"{cls.TITLE} is not trained" in told and "Traceback" not in told
        (verb,) = re.findall(r"`wsss (\w+) RUN`", told)
        assert verb in JOBS and JOBS[verb].BARE == ("run",)
        assert sorted(p for p in project.root.rglob("*")) == before, "nothing half-written"


@each(TRAINED)
class TestTrained:
    """What a method promises that trains a network."""

    def test_a_step_gives_finite_losses_that_teach(self, built) -> None:
        method, net = built
        net.train()
        torch.manual_seed(0)
        images = torch.randn(3, 3, 32, 32)
        targets = torch.tensor([[1, 0, 1], [0, 1, -1], [0, 0, 1]], dtype=torch.int8)
        masks = torch.zeros(3, 32, 32, dtype=torch.uint8)
        masks[:, 8:24, 8:24] = torch.tensor([1, 2, 3], dtype=torch.uint8)[:, None, None]
        for known, tags in ((8, targets), (0, torch.full_like(targets, -1))):
            batch = Batch(
                images, tags, ("a", "b", "c"), known, min(known, 3), 1, torch.tensor([[1.0, 1, 2], [2, 2, 0]]),
                masks if known else torch.full_like(masks, 255),
            )  # fmt: skip
            net.zero_grad()
            losses = method.training_step(net, batch, Clock(0, 10, 0))
            assert losses and all(v.shape == () and torch.isfinite(v) for v in losses.values()), (
                "named scalars"
            )
            total = torch.stack(list(losses.values())).sum()
            assert total.requires_grad
            total.backward()
            grads = [p.grad for p in net.parameters() if p.grad is not None]
            assert grads and all(torch.isfinite(g).all() for g in grads)
            if known:
                assert any(g.abs().sum() > 0 for g in grads)
            method.after_step(net, Clock(0, 10, 0))

    def test_a_training_finishes_and_its_losses_add_up(self, trained, name) -> None:
        chosen = run_of(trained.root, "whole")
        assert chosen.status == "finished" and chosen.method == name and chosen.weights.stat().st_size > 0
        told = {e.step: e.values for e in chosen.events() if isinstance(e, Metrics)}
        assert max(told) == 4, "two epochs of two batches"
        for values in told.values():
            parts = {k: v for k, v in values.items() if k not in ("loss", "map", "map_seen")}
            assert values["loss"] == pytest.approx(sum(parts.values()), rel=1e-6)

    @pytest.mark.parametrize("after", [1, 3])
    def test_resumed_is_uninterrupted(self, trained, cls, name, after: int) -> None:
        other = f"parts-{after}"
        asked = itertools.count()
        # The loop asks once a step; the count does not fall on the border of an epoch alone.
        events = train(trained, name, cls, lambda: next(asked) >= 2 * after + 1, run=other)
        assert isinstance(events[-1], Stopped) and events[-1].resumable, events[-1]
        assert isinstance(train(trained, name, cls, run=other, resume=True)[-1], Finished)
        assert (
            run_of(trained.root, other).weights.read_bytes()
            == run_of(trained.root, "whole").weights.read_bytes()
        )

    def test_it_learns_alike_in_bfloat16(self, trained, cls, name) -> None:
        learns_alike_in_bfloat16(trained, name, cls)

    def test_it_draws_tagged_and_untagged_images(self, trained, cls) -> None:
        ending = infer(trained, "whole")
        assert isinstance(ending, Finished), ending
        views = source_of(trained.root, "whole")
        assert views.stems() == trained.usable and ending.result["images"] == 4
        assert views.facts["kinds"] == list(cls.SHOWS) and "cams" in cls.SHOWS
        for stem in trained.usable:
            stack = CamStack.load(views.path(stem))
            assert stack.image == stem and stack.size == (
                trained.images[stem].height,
                trained.images[stem].width,
            )
            assert stack.classes == trained.tags().present(stem), "the tags that are present, by default"
            assert stack.maps.dtype == np.float16 and np.isfinite(stack.maps).all()
            assert stack.maps.min(initial=0) >= 0 and stack.maps.max(initial=0) <= 1
            assert stack.full().shape == (len(stack.classes), *stack.size)
            assert stack.scores.shape == (3,) and stack.scores.min() >= 0 and stack.scores.max() <= 1
            assert stack.peaks.shape == (len(stack.classes),) and (stack.peaks >= 0).all()

    def test_drawn_twice_is_drawn_alike(self, trained) -> None:
        assert isinstance(infer(trained, "whole", "again"), Finished)
        assert isinstance(infer(trained, "whole"), Finished)
        chosen = run_of(trained.root, "whole")
        for stem in trained.usable:
            a, b = (chosen.views(v).path(stem).read_bytes() for v in ("default", "again"))
            assert a == b

    def test_a_stopped_drawing_goes_on(self, trained) -> None:
        assert isinstance(infer(trained, "whole"), Finished)
        asked = itertools.count()
        ending = infer(trained, "whole", "stopped", lambda: next(asked) >= 3)
        assert isinstance(ending, Stopped) and ending.resumable
        part = run_of(trained.root, "whole").views("stopped")
        for stem in part.stems():  # what was told or not, what is there is whole
            CamStack.load(part.path(stem))
        for stem in trained.usable[::2]:
            part.path(stem).unlink(missing_ok=True)
        assert isinstance(infer(trained, "whole", "stopped"), Finished)
        for stem in trained.usable:
            same(
                CamStack.load(part.path(stem)),
                CamStack.load(source_of(trained.root, "whole").path(stem)),
                2e-3,
            )

    def test_a_batch_is_its_images_one_by_one(self, built) -> None:
        method, net = built
        net.eval()
        these = shots(*[(40, 56)] * 4)
        together = draw(method, net, these)
        assert list(together) == [s.stem for s in these]
        for shot in these:
            same(together[shot.stem], draw(method, net, [shot])[shot.stem], 2e-3)

    @pytest.mark.parametrize("size", [(1, 1), (7, 90), (33, 47)])
    def test_any_size_can_be_drawn(self, built, size: tuple[int, int]) -> None:
        method, net = built
        (stack,) = draw(method, net.eval(), shots(size)).values()
        assert stack.size == size and stack.full().shape == (2, *size) and np.isfinite(stack.maps).all()

    def test_drawing_changes_nothing(self, built) -> None:
        method, net = built
        net.eval()
        before = {k: v.clone() for k, v in net.state_dict().items()}
        draw(method, net, shots((40, 56)))
        assert not net.training and all(torch.equal(v, before[k]) for k, v in net.state_dict().items())

    def test_weights_come_back_as_they_went(self, built, tmp_path: Path) -> None:
        method, net = built
        save_weights(net, tmp_path / "w.safetensors", {"step": "3"})
        torch.manual_seed(9)
        other = method.build(len(CLASSES))
        load_weights(other, tmp_path / "w.safetensors")
        these = shots((40, 56))
        same(draw(method, net.eval(), these)["s0"], draw(method, other.eval(), these)["s0"])
        with pytest.raises(UserError):
            load_weights(method.build(len(CLASSES) + 1), tmp_path / "w.safetensors")

    def test_a_wrong_setting_is_a_sentence(self, trained, cls, name) -> None:
        before = sorted(p.name for p in (trained.root / "runs").iterdir())
        for settings in ({"backbonee": "x"}, {"preset": "no such"}, {"zoom_low": "9"}):
            ending = train(trained, name, cls, settings={**small(cls), **settings})[-1]
            assert isinstance(ending, Failed) and ending.mistake, ending
        ending = list(
            run(Infer(project=str(trained.root), run="whole", settings={"scalse": "1"}, threads=1))
        )[-1]
        assert isinstance(ending, Failed) and ending.mistake and "scalse" in ending.message
        assert sorted(p.name for p in (trained.root / "runs").iterdir()) == before


def seeded(project: Project) -> None:
    """Give a project a run `cam` with maps of its present tags, bright where the pictures are."""
    views = new_run(project.root, "cam", "cam", {"method": "cam", "status": "finished"}).views()
    for stem in project.usable:
        image = project.images[stem]
        grey = project.read(stem).pixels.mean(2)[::4, ::4] / 255
        classes = project.tags().present(stem)
        heat = np.repeat((grey / grey.max())[None], len(classes), 0).astype(np.float16)
        peaks = np.ones(len(classes), np.float32)
        scores = np.zeros(len(CLASSES), np.float32)
        size = (image.height, image.width)
        CamStack(stem, size, classes, heat, peaks, 4.0, 0.0, scores).save(views.path(stem))
    write_json(views.folder / "views.json", {"method": "cam", "kinds": ["cams"]})


def refine(project: Project, name: str, stop=lambda: False, **other: Any) -> Any:
    values = {"source": "cam", "run": "whole", "threads": 1, **other}
    return list(run(Refine(project=str(project.root), refiner=name, **values), stop))[-1]


@pytest.fixture(scope="module")
def taught(cls: type[Method[Any, Any]], name: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with maps to learn from and a run `whole` that did."""
    project = make_project(tmp_path_factory.mktemp(name))
    seeded(project)
    events = train(project, name, cls, run="whole", settings={**small(cls), "seeds": "cam"})
    assert isinstance(events[-1], Finished), events[-1]
    return project


@each(REFINING)
class TestRefining:
    """What a method promises that learns from maps and refines them."""

    def test_a_training_finishes_and_its_losses_add_up(self, taught, name) -> None:
        chosen = run_of(taught.root, "whole")
        assert chosen.status == "finished" and chosen.method == name and chosen.weights.stat().st_size > 0
        assert not chosen.is_refinement and chosen.facts["held"] == []
        told = {e.step: e.values for e in chosen.events() if isinstance(e, Metrics)}
        for values in told.values():
            assert "map" not in values, "it gives no score for a tag"
            parts = {k: v for k, v in values.items() if k != "loss"}
            assert values["loss"] == pytest.approx(sum(parts.values()), rel=1e-6, abs=1e-9)

    def test_it_learns_alike_in_bfloat16(self, taught, cls, name) -> None:
        learns_alike_in_bfloat16(taught, name, cls, seeds="cam")

    def test_labels_teach(self, cls, built) -> None:
        method, net = built
        net.train()
        torch.manual_seed(0)
        masks = torch.zeros(2, 32, 32, dtype=torch.uint8)
        masks[:, 8:24, 8:24], masks[1, :4] = 2, 255
        for labels in (masks, torch.full_like(masks, 255)):
            batch = Batch(
                torch.randn(2, 3, 32, 32), torch.zeros(2, 3, dtype=torch.int8), ("a", "b"), 6, 0, 1,
                torch.zeros(2, 3), labels,
            )  # fmt: skip
            net.zero_grad()
            losses = method.training_step(net, batch, Clock(0, 10, 0))
            assert all(v.shape == () and torch.isfinite(v) for v in losses.values())
            torch.stack(list(losses.values())).sum().backward()
            found = sum(float(p.grad.abs().sum()) for p in net.parameters() if p.grad is not None)
            assert np.isfinite(found) and (found > 0) == bool((labels != 255).any())

    def test_without_maps_to_learn_from_it_says_so(self, taught, cls, name) -> None:
        for seeds in ("", "nothing", "cam/none"):
            ending = train(taught, name, cls, settings={**small(cls), "seeds": seeds})[-1]
            assert isinstance(ending, Failed) and ending.mistake, ending

    def test_it_refines_any_image_twice_alike(self, taught, cls, name) -> None:
        ending = refine(taught, name)
        assert isinstance(ending, Finished) and ending.result["images"] == 4, ending
        assert isinstance(refine(taught, name, run="again", settings={"network": "whole"}), Finished)
        for stem in taught.usable:
            a, b = (CamStack.load(source_of(taught.root, v).path(stem)) for v in ("whole", "again"))
            same(a, b)
            assert a.background is not None and np.array_equal(a.background, b.background)
            assert a.classes == taught.tags().present(stem) and np.isfinite(a.maps).all()
            assert a.maps.min(initial=0) >= 0 and a.maps.max(initial=0) <= 1

    def test_a_stopped_refinement_goes_on(self, taught, name) -> None:
        asked = itertools.count()
        ending = refine(taught, name, lambda: next(asked) >= 3, views="parts")
        assert isinstance(ending, Stopped)
        assert isinstance(refine(taught, name, views="parts"), Finished)
        assert source_of(taught.root, "whole/parts").stems() == taught.usable

    @pytest.mark.parametrize("size", [(1, 1), (7, 90), (33, 47)])
    def test_any_size_can_be_refined(self, built, size: tuple[int, int]) -> None:
        method, net = built
        (shot,) = shots(size)
        grid = (-(-size[0] // 4), -(-size[1] // 4))
        stack = CamStack(
            shot.stem, size, (0, 2), np.full((2, *grid), 0.5, np.float16), np.ones(2, np.float32), 4.0, 0.0,
            np.zeros(3, np.float32),
        )  # fmt: skip
        views = method.settled(parse(type(method).Views, {}), {"foreground": 0.5, "background": 0.3})
        with torch.no_grad():
            (found,) = method.refine(net.eval(), [shot], [stack], views, keep=True)
        assert found.stack.full().shape == (2, *size) and np.isfinite(found.stack.maps).all()
        assert found.trace.stages.shape[1] == 3 and np.isfinite(found.trace.stages).all()


def assert_offered(
    cls: type[Method[Any, Any]], name: str, capsys: pytest.CaptureFixture[str], qtbot: Any
) -> None:
    """Look for a method wherever people choose one."""
    from wsss_napari.forms import Form

    result = list(run(Methods()))[-1].result
    (row,) = (m for m in result["methods"] if m["name"] == name)
    assert row["available"] and row["plan"] and row["title"] == cls.TITLE and row["trains"] == cls.TRAINS
    assert main(["methods"]) == 0
    assert name in capsys.readouterr().out
    assert main(["train", name, "--help"]) == 0
    told = capsys.readouterr().out
    row = json.loads(json.dumps(row))  # as it crosses the process border
    for table, settings in (("train", cls.Params), ("infer", cls.Views)):
        form = Form(row[table], row["presets"][table])
        qtbot.addWidget(form)
        assert form.values() == {}
        for field in describe(settings):
            assert isinstance(field, Field) and form.entry(field.name).read() == field.default
            assert table == "infer" or field.name in told
        for preset, values in presets(settings).items():
            form.set_values(row["presets"][table][preset])
            assert parse(settings, form.values()) == parse(settings, values)


# --- a file that is dropped in ---------------------------------------------------------------------

DUMMY = '''"""Light up what is brighter than the picture's mean, to show that one file is a method.

Citation:

Nobody. A method that is none. Nowhere, 2026.

Departs from the paper:

- There is no paper (gain).

Look at:

- The brightest pixel.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from engine.method import ClassifierMethod, ClassifierParams
from engine.params import Spec
from engine.results import CamStack


@dataclass(frozen=True)
class Params(ClassifierParams):
    gain: Annotated[float, Spec("How much the loss counts.", low=0, high=10, main=True)] = 1.0

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"loud": {"gain": 2.0}}


@dataclass(frozen=True)
class Views:
    above: Annotated[float, Spec("From which brightness on.", low=0, high=1)] = 0.5


class Dummy(ClassifierMethod[Params, Views]):
    TITLE = "Brightness"
    Params = Params
    Views = Views

    def training_step(self, net, batch, clock):
        return {name: loss * self.params.gain for name, loss in super().training_step(net, batch, clock).items()}

    def infer(self, net, shots, views):
        for shot in shots:
            grey = shot.pixels.mean(2) / 255
            classes = tuple(int(c) for c in np.flatnonzero(shot.tags == 1))
            heat = np.repeat((grey * (grey > views.above))[None], len(classes), 0).astype(np.float16)
            peaks = np.ones(len(classes), np.float32)
            scores = np.full(len(shot.tags), 0.5, np.float32)
            yield shot.stem, CamStack(shot.stem, shot.pixels.shape[:2], classes, heat, peaks, 1.0, 0.0, scores)


METHOD = Dummy
'''

BROKEN = {
    "broken_import": ("import a_library_that_nobody_has\n", "ModuleNotFoundError"),
    "broken_syntax": ("def (\n", "SyntaxError"),
    "broken_exit": ("raise SystemExit(3)\n", "SystemExit"),
    "broken_bare": ('"""Nothing."""\n', "METHOD"),
    "broken_other": ("METHOD = 3\n", "names no method"),
    "broken_table": (DUMMY.replace("    gain: Annotated[float,", "    gain: Annotated[list,"), "no form field"),
    "broken_views": (DUMMY.replace("    Views = Views\n", "    Views = None\n"), "cannot be shown"),
}  # fmt: skip


@pytest.fixture
def dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that counts as part of the methods folder."""
    folder = tmp_path / "dropped"
    folder.mkdir()
    monkeypatch.setattr(engine.methods, "__path__", [*engine.methods.__path__, str(folder)])
    yield folder
    for file in folder.glob("*.py"):
        sys.modules.pop(f"engine.methods.{file.stem}", None)
        vars(engine.methods).pop(file.stem, None)


def test_a_file_dropped_in_is_offered_everywhere(dropped: Path, capsys, qtbot) -> None:
    (dropped / "dummy.py").write_text(DUMMY)
    assert "dummy" in [c.name for c in list_methods()]
    found = method_class("dummy")
    assert_offered(found, "dummy", capsys, qtbot)
    assert main(["methods", "--json"]) == 0
    rows = {m["name"]: m for m in json.loads(capsys.readouterr().out)["methods"]}
    assert rows["dummy"]["sentence"].startswith("Light up") and rows["dummy"]["presets"]["train"] == {
        "loud": {"gain": 2.0}
    }
    assert rows["dummy"]["departs"] == ["There is no paper (gain)."] and "2026" in rows["dummy"]["citation"]
    assert main(["train", "dummyy", "--help"]) == 2 and "Did you mean 'dummy'?" in capsys.readouterr().err


def test_a_file_dropped_in_keeps_every_promise(dropped: Path, tmp_path: Path) -> None:
    (dropped / "dummy.py").write_text(DUMMY)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(Path(__file__)), "-q", "-k", "(TestConformance or TestTrained) and dummy",
         "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}", f"--rootdir={ROOT}"],
        capture_output=True, text=True, timeout=280, cwd=ROOT, env={**os.environ, "WSSS_TEST_METHODS": str(dropped)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    promises = [n for n in (*vars(TestConformance), *vars(TestTrained)) if n.startswith("test_")]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= len(promises) and "skipped" not in done.stdout


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_listed_with_the_reason_and_the_others_stay(
    dropped: Path, capsys, name: str
) -> None:
    text, reason = BROKEN[name]
    (dropped / f"{name}.py").write_text(text)
    cards = {c.name: c for c in list_methods()}
    assert not cards[name].available and reason in cards[name].why_not
    assert all(cards[n].available for n in NAMES if n not in LACKING)
    assert (
        set(TRAINED) | set(UNTRAINED) | set(REFINING) == set(NAMES)
        and "advcam" in UNTRAINED
        and {"cam", "cutmix"} <= set(TRAINED)
        and {"irn", "psa"} <= set(REFINING)
    )
    rows = {m["name"]: m for m in list(run(Methods()))[-1].result["methods"]}
    assert reason in rows[name]["why_not"] and "train" not in rows[name] and rows["cam"]["available"]
    assert main(["methods"]) == 0
    assert name in capsys.readouterr().out
    ending = list(run(Train(project="nowhere", method=name)))[-1]
    assert isinstance(ending, Failed) and ending.mistake


def test_an_unknown_method_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'cam'"):
        method_class("camm")
    assert "cam" in NAMES


def test_the_folder_of_a_project_needs_no_method(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    assert open_project(project.root).usable == ("i0", "i1", "i2", "i3")
