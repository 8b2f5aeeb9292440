"""Studies: their registry, analytic cases of each, and every one of them on a small trained run."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from engine import labels, losses, maps
from engine.class_maps import Shot
from engine.cli import main
from engine.climb_settings import ClimbSettings
from engine.errors import UserError
from engine.messages import Failed, Finished, New, Progress, Said, Stopped, Study, Train
from engine.methods.advcam import climb_maps
from engine.metrics import THRESHOLDS, Confusion, report
from engine.nets.classifier import Classifier
from engine.nets.prep import Prep
from engine.results import Figure
from engine.run import run
from engine.steps.infer import load_network
from engine.steps.study import evenly
from engine.steps.study import run as step
from engine.store import Project, open_project, run_of
from engine.store.truth import read_truth
from engine.studies import Subject, list_studies, study_named
from engine.studies._climbs import grown, reckoned, unregularised
from engine.studies._seeds import Seeds, seed_of
from engine.studies.amplification import growth
from engine.studies.landscape import directions, losses_of, plane
from engine.studies.manifold import principal
from engine.studies.per_class import _by_class
from engine.studies.saliency import concentration
from engine.studies.sorted import decreasing
from engine.work import Work, never

NAMES = [study["name"] for study in list_studies()]
CLASSES = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220)}
# Short climbs, so that all studies together take seconds.
SHORT: dict[str, dict[str, str]] = {name: {"steps": "2"} for name in NAMES}
SHORT["landscape"] = {"points": "5"}
SHORT["saliency"] = {"steps": "2", "at": "0,2", "side": "32"}
SHORT["sweep_lambda"] |= {"values": "0,7"}
SHORT["sweep_tau"] |= {"values": "0.3,0.6"}
SHORT["sweep_step"] |= {"values": "1,4"}
SHORT["manifold"] |= {"first": "red", "second": "blue", "recognised": "false", "perplexity": "2"}


# --- a small project with a trained run ------------------------------------------------------------


def draw(folder: Path) -> dict[str, list[str]]:
    """Draw eleven images of 64 x 48 px, each with one large or two small squares, and their masks."""
    rng = np.random.default_rng(0)
    names = list(CLASSES)
    tags: dict[str, list[str]] = {}
    for part in ("images", "truth"):
        (folder / part).mkdir()
    for n in range(11):
        pixels = rng.integers(90, 160, (48, 64, 3)).astype(np.uint8)
        mask = np.zeros((48, 64), np.uint8)
        shown = [names[n % 3]] if n < 9 else [names[0], names[n - 8]]
        side = 10 + 8 * (n % 3)  # red is small, blue is large
        for k, name in enumerate(shown):
            y, x = 1 + n, 1 + n // 2 + 32 * k
            box = (slice(y, y + side), slice(x, x + side))
            pixels[box] = np.clip(
                np.array(CLASSES[name]) + rng.integers(-20, 20, (*pixels[box].shape,)), 0, 255
            )
            mask[box] = names.index(name) + 1
        Pillow.fromarray(pixels).save(folder / "images" / f"im_{n}.png")
        Pillow.fromarray(mask).save(folder / "truth" / f"im_{n}.png")
        tags[f"im_{n}"] = shown
    return tags


def finished(events: Any) -> Finished:
    ending = list(events)[-1]
    assert isinstance(ending, Finished), ending
    return ending


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with truth and a run `cam` of a tiny network."""
    folder = tmp_path_factory.mktemp("studies")
    tags = draw(folder)
    (folder / "tags.csv").write_text(
        "\n".join(["image,tags", *(f"{s},{';'.join(t)}" for s, t in tags.items())])
    )
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    job = New(
        project=str(folder / "project"),
        images=str(folder / "images"),
        tags=str(folder / "tags.csv"),
        classes=str(folder / "classes.txt"),
        truth=str(folder / "truth"),
    )
    finished(run(job))
    small = {"backbone": "tiny_cnn", "pretrained": False}
    plan: dict[str, Any] = {"epochs": 24, "batch": 4, "crop": 48, "threads": 1}
    finished(run(Train(project=str(folder / "project"), method="cam", run="cam", settings=small, **plan)))
    return open_project(folder / "project")


def study_job(project: Project, name: str, **other: Any) -> Study:
    values = {"settings": SHORT[name], "threads": 1, **other}
    return Study(project=str(project.root), study=name, run="cam", **values)


def subject_of(project: Project, name: str, net: Any = None, **climb: Any) -> Subject:
    """Return what a study is given, with a network of the test's own or that of the run."""
    study = study_named(name)
    own, climbing = study.parse({**SHORT[name], **climb})
    chosen = run_of(project.root, "cam")
    method, trained = load_network(project, chosen, Work(never), torch.device("cpu"))
    trained.requires_grad_(False)
    return Subject(
        study=name,
        title=study.title,
        source=study.source,
        project=project,
        run=chosen,
        split="all",
        stems=tuple(study.choose(project, project.usable, own)),
        method=method,  # type: ignore[arg-type]
        net=trained if net is None else net,  # type: ignore[arg-type]
        climbing=climbing,
        own=own,
    )


def drawn(subject: Subject) -> Figure:
    generator = study_named(subject.study).run(subject)
    while True:
        try:
            next(generator)
        except StopIteration as done:
            figure = done.value
            assert isinstance(figure, Figure)
            return figure


def shot_of(project: Project, stem: str) -> Shot:
    return Shot(stem, project.read(stem).pixels, project.tags().row(stem))


# --- a network whose growth is known ---------------------------------------------------------------


class Colours(torch.nn.Module):
    """Features that are the picture's own colours: everything a climb does has a closed form."""

    stride = 1
    dim = 3
    cell_centre = 0.0
    prep = Prep(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


WEIGHTS = ((0.5, 0.25, 2.0), (1.0, 0.5, 0.25), (0.1, 0.2, 0.4))


@pytest.fixture
def linear() -> Classifier:
    """A linear model whose class maps are above 0 on every picture."""
    net = Classifier(Colours(), 3)  # type: ignore[arg-type]
    net.head.weight.data = torch.tensor(WEIGHTS)[:, :, None, None]
    return net.eval().requires_grad_(False)


# The map of class c rises by step * |w|^2 / max |w| a step, everywhere alike.
FREE = {"lam": "0", "others": "0", "clip": "none", "cell": "1", "step": "5.1"}
RISE = [5.1 / 255 * sum(v * v for v in w) / max(w) for w in WEIGHTS]


class TestRegistry:
    """A file in the folder is a study."""

    def test_the_twelve_of_the_paper_are_there(self) -> None:
        assert {
            "amplification", "landscape", "saliency", "quality", "sweep_lambda", "sweep_tau", "sweep_step", "final_map",
            "sorted", "per_class", "manifold", "scores",
        } <= set(NAMES)  # fmt: skip

    def test_each_is_told_as_plain_data(self) -> None:
        told = json.loads(json.dumps(list_studies(), allow_nan=False))
        for study in told:
            assert study["title"] and study["sentence"].endswith(".") and study["sentence"].count(". ") == 0
            assert study["source"].split()[0] in ("figure", "figures", "table")
            assert study["count"] >= 1 and study["seconds"] > 0
            names = [f["name"] for f in study["parameters"]]
            assert len(names) == len(set(names)), "an own setting must not hide one of the climb"
            assert {"steps", "lam", "scales"} <= set(names) and all(
                f["doc"].endswith(".") for f in study["parameters"]
            )

    @pytest.mark.parametrize("name", NAMES)
    def test_its_defaults_can_be_parsed_and_are_those_of_the_table(self, name: str) -> None:
        study = study_named(name)
        own, climbing = study.parse({})
        for field in study.fields():
            holder = own if hasattr(own, field.name) else climbing
            assert getattr(holder, field.name) == field.default
        assert climbing.scales == (1.0,), "one scale unless the settings say otherwise"

    def test_a_preset_goes_before_the_defaults_and_settings_before_the_preset(self) -> None:
        quality = study_named("quality")
        assert quality.parse({})[1].steps == 30
        assert quality.parse({"preset": "code"})[1].steps == 27
        assert quality.parse({"preset": "code"})[1].scales == (0.5, 1.0, 1.5, 2.0)
        assert quality.parse({"preset": "code", "steps": "3"})[1].steps == 3

    def test_wrong_names_suggest_the_nearest(self) -> None:
        with pytest.raises(UserError, match=r"(?s)no study 'qualty'.*quality.*Did you mean 'quality'"):
            study_named("qualty")
        with pytest.raises(UserError, match=r"(?s)no parameter 'stepps'.*Did you mean 'steps'"):
            study_named("quality").parse({"stepps": "3"})
        with pytest.raises(UserError, match=r"(?s)no parameter 'evry'.*Did you mean 'every'"):
            study_named("quality").parse({"evry": "3"})
        for name in ("plateau", "keep"):
            with pytest.raises(UserError, match=f"no parameter '{name}'"):
                study_named("scores").parse({name: "0"})
        with pytest.raises(UserError, match="no preset 'papper'"):
            study_named("scores").parse({"preset": "papper"})


class TestGrown:
    """What the maps hold after each step."""

    def test_a_linear_model_rises_by_a_known_step(self, project, linear) -> None:
        subject = subject_of(project, "scores", linear, steps="4", **FREE)
        shot = shot_of(project, "im_10")
        sums, lasts = grown(subject, shot, [0, 2], subject.climbing, ("sum", "last"))
        colours = shot.pixels.astype(np.float64) / 255
        for k, c in enumerate((0, 2)):
            start = colours @ np.array(WEIGHTS[c])  # [H, W]
            expected = np.stack([start + t * RISE[c] for t in range(5)])
            # Picture and mirror image weigh one half each and are sampled where they lie.
            np.testing.assert_allclose(lasts[:, k], expected, rtol=2e-5)
            np.testing.assert_allclose(sums[:, k], expected.cumsum(0), rtol=2e-5)

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"scales": "1,0.5,1.5", "alignment": "official"},
            {"count_last": "false", "flip": "false"},
            {"steps": "7", "scales": "0.5,1", "scale_steps": "official"},
            {"aggregate": "last", "steps": "3"},
        ],
    )
    def test_its_last_entry_is_the_map_of_the_method(self, project, settings: dict[str, str]) -> None:
        subject = subject_of(project, "scores", **settings)
        shot = shot_of(project, "im_9")
        ((_, stack, _),) = climb_maps(subject.net, [shot], subject.climbing)
        (heat,) = grown(subject, shot, list(stack.classes), subject.climbing)
        mine = heat[reckoned(subject.climbing)]
        mine = maps.normalise(torch.from_numpy(mine))[0].numpy()
        assert mine.max() > 0.9, "the network sees something"
        np.testing.assert_allclose(mine, stack.maps.astype(np.float32), atol=2e-3)

    def test_no_class_gives_no_map(self, project) -> None:
        subject = subject_of(project, "scores")
        (heat,) = grown(subject, shot_of(project, "im_0"), [], subject.climbing)
        assert heat.shape == (3, 0, 12, 16)
        best, _ = seed_of(heat[0], (48, 64), subject.climbing)
        assert best.shape == (48, 64) and not best.any()

    def test_unregularised_is_equation_3(self) -> None:
        free = unregularised(ClimbSettings(lam=7, others=1, saliency="x", steps=4))
        assert (free.lam, free.others, free.saliency, free.steps) == (0, 0, "", 4)


class TestAmplification:
    """Figure 2."""

    def test_ratios_of_hand_made_maps(self) -> None:
        start = np.array([[4.0, 2.0, 1.0], [0.4, 0.2, 0.0]], np.float32)  # shares 1, .5, .25, .1, .05, 0
        now = np.array([[6.0, 2.0, 3.0], [4.0, 4.0, 4.0]], np.float32)
        strong, weak = growth(now, start, 0.1, 0.5)
        assert strong.tolist() == [1.5, 1.0], "0.5 belongs to the discriminative region"
        # In single precision 0.4 / 4 lies above 0.1, which it is not in the paper's sense: the start decides.
        assert weak[0] == 3.0 and 2.0 not in weak[0:1]
        exact = np.array([[8.0, 1.0, 0.75]], np.float32)
        assert growth(exact * 2, exact, 0.125, 0.5)[1].tolist() == [], "the bounds are open"

    def test_growth_of_a_linear_model_is_known(self, project, linear) -> None:
        subject = subject_of(project, "amplification", linear, steps="3", **FREE)
        subject = replace(subject, stems=("im_0", "im_10"))
        figure = drawn(subject)
        strong, weak = [], []
        for stem in subject.stems:
            shot = shot_of(project, stem)
            for c in np.flatnonzero(shot.tags == 1):
                start = shot.pixels.astype(np.float64) / 255 @ np.array(WEIGHTS[c])
                share, ratio = start / start.max(), (start + 3 * RISE[c]) / start
                strong.append(ratio[share >= 0.5])
                weak.append(ratio[(share > 0.1) & (share < 0.5)])
        for region, values in (("discriminative", strong), ("non-discriminative", weak)):
            expected = np.quantile(np.concatenate(values), (0.25, 0.5, 0.75))
            found = [figure.rows[f"{q} {region} not regularised"][-1] for q in ("q25", "median", "q75")]
            np.testing.assert_allclose(found, expected, rtol=1e-3)
        head = figure.facts["headline"]
        assert head["nd_over_d_not_regularised"] > 1, "what is weak grows more when all rise alike"
        assert figure.rows["median discriminative regularised"][0] == 1.0

    def test_histograms_add_up(self, project) -> None:
        figure = drawn(subject_of(project, "amplification"))
        panels = [p for p in figure.panels if p.kind == "histogram"]
        assert len(panels) == 2
        for panel in panels:
            for series in panel.series:
                assert len(series.x) == len(series.y) + 1 and sum(series.y) == pytest.approx(1)

    def test_it_is_about_the_papers_mask_where_nobody_asks_for_another(self) -> None:
        study = study_named("amplification")
        climbing = study.parse({})[1]
        assert (climbing.lam, climbing.tau, climbing.background_below) == (5, 0.5, 0)
        assert study.parse({"preset": "code"})[1].lam == 7
        assert study.parse({"background_below": "0.3"})[1].background_below == 0.3

    def test_limits_that_cross_are_refused(self) -> None:
        with pytest.raises(UserError, match="is not below high"):
            study_named("amplification").parse({"low": "0.6"})


class TestLandscape:
    """Figure 3."""

    def test_the_directions_are_orthonormal_and_n_is_the_gradient(self) -> None:
        rng = torch.Generator().manual_seed(0)
        gradient, noise = torch.randn(2, 3, 20, 30, generator=rng)
        n, r = directions(gradient * 1e-6, noise)
        assert float(n.norm()) == pytest.approx(1, abs=1e-5) and float(r.norm()) == pytest.approx(1, abs=1e-5)
        assert abs(float((n.double() * r.double()).sum())) < 1e-7
        np.testing.assert_allclose(n, gradient / gradient.norm(), rtol=1e-4, atol=1e-8)

    @pytest.mark.parametrize("together", [1, 4, 100])
    def test_the_plane_of_a_quadratic_is_exact(self, together: int) -> None:
        rng = torch.Generator().manual_seed(1)
        start, centre = torch.randn(2, 3, 4, 5, generator=rng)
        d = start - centre
        n, r = directions(d, torch.randn(3, 4, 5, generator=rng))
        along, across = [0.0, 0.5, 2.0], [-1.0, 0.0, 1.0, 3.0]
        found = plane(lambda x: ((x - centre) ** 2).sum((1, 2, 3)), start, n, r, along, across, together)
        length = float(d.norm())  # d lies along n, so r adds nothing but its own length
        expected = [[(length + a) ** 2 + b**2 for a in along] for b in across]
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    @pytest.mark.parametrize("softmax", [True, False])
    def test_the_loss_is_that_of_the_training(self, softmax: bool) -> None:
        scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
        tags = torch.tensor([1, 0, -1, 1])
        of_training = losses.single if softmax else losses.plain
        expected = [float(of_training(s[None], tags[None].to(torch.int8))) for s in scores]
        np.testing.assert_allclose(losses_of(scores, tags, softmax=softmax), expected, rtol=1e-5)

    def test_a_climb_goes_down_and_an_attack_up(self, project) -> None:
        figure = drawn(replace(subject_of(project, "landscape", reach="2"), stems=("im_3",)))
        climb, attack, ahead = figure.panels
        assert len(climb.grid) == len(climb.grid[0]) == 5 and climb.extent == (0.0, 2.0, -1.0, 1.0)
        assert climb.grid[2][0] == pytest.approx(attack.grid[2][0]), "both start at the image"
        assert [row[0] for row in climb.grid] == pytest.approx([row[0] for row in attack.grid]), "r is shared"
        assert climb.grid[2][1] < climb.grid[2][0] < attack.grid[2][1]
        assert {s.name for s in ahead.series} == {"climb", "attack"}
        assert len(figure.rows["loss"]) == 50 and figure.rows["loss"][10] == climb.grid[2][0]


class TestSaliency:
    """Figure 4."""

    def test_concentration_of_even_and_of_single_pixels(self) -> None:
        assert concentration(np.ones((20, 20), np.float32)) == pytest.approx(0.1)
        one = np.zeros((20, 20), np.float32)
        one[3, 4] = 1
        assert concentration(one) == 1.0 and concentration(one * 0) == 0.0

    def test_a_linear_model_hangs_on_every_pixel_alike(self, project, linear) -> None:
        subject = subject_of(project, "saliency", linear, at="0,1,2,9", image="im_2", cls="blue", **FREE)
        figure = drawn(replace(subject, stems=("im_2",)))
        assert [p.title for p in figure.panels] == ["im_2, grey", "t = 0", "t = 1", "t = 2"], (
            "9 lies beyond the climb"
        )
        for panel in figure.panels[1:]:
            assert len(panel.grid) == 24 and len(panel.grid[0]) == 32, "at most `side` cells"
            assert np.ptp(panel.grid) == 0 and panel.grid[0][0] == 1
        assert figure.facts["headline"]["class"] == "blue"
        assert np.diff(figure.rows["score"]) == pytest.approx([RISE[2]] * 2, rel=1e-4)

    def test_the_grey_picture_is_drawn_bottom_row_first(self, project) -> None:
        figure = drawn(replace(subject_of(project, "saliency", side="64", at="0"), stems=("im_1",)))
        grey = project.read("im_1").pixels.astype(np.float32).mean(2) / 255
        np.testing.assert_allclose(figure.panels[0].grid, grey[::-1], atol=1e-4)

    def test_steps_beyond_the_climb_are_refused(self, project) -> None:
        with pytest.raises(UserError, match="lies beyond the 2 steps"):
            drawn(subject_of(project, "saliency", at="5"))


class TestSeeds:
    """What is measured against the truth."""

    def test_the_best_threshold_is_that_of_the_loop(self, project) -> None:
        subject = subject_of(project, "scores")
        seeds = Seeds(project, subject.climbing, ["x"])
        confusions = {t: Confusion(3) for t in THRESHOLDS}
        rng = np.random.default_rng(0)
        for stem in project.usable:
            shot = shot_of(project, stem)
            heat = rng.random((2, 12, 16), np.float32)
            seeds.add("x", shot, [0, 2], heat)
            best, which = seed_of(heat, (48, 64), subject.climbing)
            for t, confusion in confusions.items():
                mask = labels.apply(labels.LabelRule("constant", t), best, which, [0, 2])
                confusion.add(read_truth(project, stem), mask)
        naive = {t: report(c, project.classes) for t, c in confusions.items()}
        best_t = max(THRESHOLDS, key=lambda t: (naive[t]["miou"], -t))
        found = seeds.report("x")
        assert found["threshold"] == best_t
        assert all(found[key] == value for key, value in naive[best_t].items())
        np.testing.assert_array_equal(seeds.best("x").counts, confusions[best_t].counts)

    def test_quality_is_the_loop_over_truncated_climbs(self, project) -> None:
        subject = replace(subject_of(project, "quality"), stems=("im_2", "im_3", "im_10"))
        figure = drawn(subject)
        assert figure.rows["step"] == [0, 1, 2]
        arms = {"regularised": subject.climbing, "not regularised": unregularised(subject.climbing)}
        for name, settings in arms.items():
            for t in (0, 2):
                confusions = {v: Confusion(3) for v in THRESHOLDS}
                for stem in subject.stems:
                    shot = shot_of(project, stem)
                    ((_, stack, _),) = climb_maps(subject.net, [shot], replace(settings, steps=t))
                    best, which = labels.best_class(stack.full())
                    for v, confusion in confusions.items():
                        mask = labels.apply(labels.LabelRule("constant", v), best, which, stack.classes)
                        confusion.add(read_truth(project, stem), mask)
                expected = max(c.miou() for c in confusions.values())
                # The stored maps were divided before they were added up: a few pixels may tip over.
                assert figure.rows[f"miou {name}"][t] == pytest.approx(expected, abs=1e-3)

    def test_step_0_is_the_cam_with_and_without(self, project) -> None:
        figure = drawn(subject_of(project, "quality", every="2"))
        assert figure.rows["step"] == [0, 2]
        assert figure.rows["miou regularised"][0] == figure.rows["miou not regularised"][0]
        quality, noise = figure.panels
        assert (
            [s.name for s in quality.series]
            == [s.name for s in noise.series]
            == ["regularised", "not regularised"]
        )
        assert quality.series[0].y[0] == pytest.approx(100 * figure.rows["miou regularised"][0])

    def test_without_a_step_all_final_maps_are_the_cam(self, project) -> None:
        figure = drawn(subject_of(project, "final_map", steps="0"))
        assert figure.rows["design"] == ["CAM(x^0)", "CAM(x^T)", "sum of CAM(x^t)"]
        for name, values in figure.rows.items():
            assert name == "design" or len(set(values)) == 1

    def test_final_map_tells_the_last_from_the_sum(self, project) -> None:
        subject = subject_of(project, "final_map", step="20", lam="0", others="0", steps="4")
        figure = drawn(subject)
        seeds = Seeds(project, subject.climbing, ["last"])
        for stem in project.usable:
            shot = shot_of(project, stem)
            ((_, stack, _),) = climb_maps(subject.net, [shot], replace(subject.climbing, aggregate="last"))
            seeds.sweeps["last"].add(
                *labels.best_class(stack.full()), stack.classes, read_truth(project, stem)
            )
        assert figure.rows["miou"][1] == pytest.approx(seeds.report("last")["miou"], abs=1e-3)
        assert figure.rows["miou"][1] != figure.rows["miou"][2]

    def test_scores_hold_both_conventions(self, project) -> None:
        figure = drawn(subject_of(project, "scores"))
        p, r = (figure.rows[m][1] for m in ("precision", "recall"))
        assert figure.rows["f1_of_means"][1] == pytest.approx(2 * p * r / (p + r))
        assert figure.panels[0].categories[2:4] == ("F1 of the means", "mean of F1")
        assert figure.panels[0].series[1].y[0] == pytest.approx(100 * p)

    @pytest.mark.parametrize("parameter", ["lam", "tau", "step"])
    def test_a_sweep_at_the_setting_itself_is_the_score(self, project, parameter: str) -> None:
        name = "sweep_lambda" if parameter == "lam" else f"sweep_{parameter}"
        scores = drawn(subject_of(project, "scores"))
        own = getattr(subject_of(project, "scores").climbing, parameter)
        figure = drawn(subject_of(project, name, values=f"{own},0.25"))
        k = figure.rows[parameter].index(own)
        assert figure.rows[parameter] == sorted({own, 0.25})
        assert figure.rows["miou"][k] == scores.rows["miou"][1]
        assert figure.facts["headline"]["cam_miou"] == scores.rows["miou"][0]

    def test_a_value_beyond_the_parameters_limits_is_refused_first(self, project) -> None:
        with pytest.raises(UserError, match="1e\\+09|1000000000"):
            next(study_named("sweep_lambda").run(subject_of(project, "sweep_lambda", values="1e9")))


class TestPerClass:
    """Figure 14 and table 13."""

    def test_measures_of_a_hand_made_confusion(self) -> None:
        confusion = Confusion(3)
        confusion.counts[:] = [[5, 1, 0, 0], [2, 6, 0, 0], [0, 1, 3, 0], [0, 0, 0, 0]]
        found = _by_class(confusion)
        np.testing.assert_allclose(found["IoU"], [6 / 10, 3 / 4, 0])
        np.testing.assert_allclose(found["precision"], [6 / 8, 1, 0])
        np.testing.assert_allclose(found["recall"], [6 / 8, 3 / 4, 0])
        np.testing.assert_allclose(found["F1"], [12 / 16, 6 / 7, 0])

    def test_classes_are_ordered_by_the_size_of_their_objects(self, project) -> None:
        figure = drawn(subject_of(project, "per_class"))
        assert figure.rows["class"] == ["red", "green", "blue"] and figure.panels[0].categories == (
            "red",
            "green",
            "blue",
        )
        sizes: dict[int, list[float]] = {1: [], 2: [], 3: []}
        for stem in project.usable:
            truth = read_truth(project, stem)
            for value in np.unique(truth[truth > 0]):
                sizes[int(value)].append(float((truth == value).mean()))
        np.testing.assert_allclose(figure.rows["mean_size"], [np.mean(sizes[v]) for v in (1, 2, 3)])
        assert figure.rows["images"] == [len(sizes[v]) for v in (1, 2, 3)]
        gain = np.array(figure.rows["IoU AdvCAM"]) - np.array(figure.rows["IoU CAM"])
        np.testing.assert_allclose(figure.rows["gain_iou_points"], 100 * gain)
        bars = {s.name: s.y for s in figure.panels[1].series}
        assert bars["smallest 1 CAM"][0] == pytest.approx(100 * figure.rows["precision CAM"][0])
        assert bars["largest 1 AdvCAM"][2] == pytest.approx(100 * figure.rows["F1 AdvCAM"][2])
        assert bars["all CAM"][1] == pytest.approx(100 * np.mean(figure.rows["recall CAM"]))


class TestSorted:
    """Figure 15."""

    def test_scores_of_known_maps(self) -> None:
        ramp = np.linspace(0, 1, 1001).reshape(7, 143)
        np.testing.assert_allclose(decreasing(ramp[:, ::-1]), 1 - np.linspace(0, 1, 201), atol=1e-9)
        assert set(decreasing(np.full((3, 3), 0.25))) == {0.25}

    def test_curves_fall_from_the_peak(self, project) -> None:
        figure = drawn(subject_of(project, "sorted"))
        for panel in figure.panels:
            assert [s.name for s in panel.series] == ["CAM", "AdvCAM"]
            for series in panel.series:
                assert series.y[0] == pytest.approx(1, abs=1e-3) and np.all(np.diff(series.y) <= 0)
        assert figure.facts["headline"]["maps"] == 13, "eleven images, two of them with two classes"

    def test_a_map_that_rises_alike_loses_its_gap(self, project, linear) -> None:
        head = drawn(subject_of(project, "sorted", linear, **FREE)).facts["headline"]
        assert 0 < head["gap_advcam"] < head["gap_cam"]


class TestManifold:
    """Figure 16."""

    def test_principal_axes_of_known_data(self) -> None:
        rng = np.random.default_rng(0)
        data = rng.standard_normal((200, 5)) * [1, 9, 0.1, 4, 0.1] + 3
        found = principal(data, data)
        variances, vectors = np.linalg.eigh(np.cov(data.T, bias=True))
        np.testing.assert_allclose(found.var(0), variances[::-1][:2])
        centred = data - data.mean(0)
        for k in (0, 1):
            expected = centred @ vectors[:, -1 - k]
            assert abs(np.corrcoef(found[:, k], expected)[0, 1]) == pytest.approx(1)
        np.testing.assert_allclose(principal(data, data.mean(0)[None]), [[0, 0]], atol=1e-9)
        assert principal(np.ones((4, 1)) * [[1], [2], [3], [4]], np.ones((2, 1))).shape == (2, 2)

    def test_a_climb_starts_at_its_own_image(self, project) -> None:
        figure = drawn(subject_of(project, "manifold"))
        rows = [
            dict(zip(figure.rows, values, strict=True)) for values in zip(*figure.rows.values(), strict=True)
        ]
        for name in ("red", "blue"):
            start = next(r for r in rows if r["kind"] == "climb" and r["class"] == name and r["step"] == 0)
            image = next(r for r in rows if r["kind"] == "image" and r["image"] == start["image"])
            assert (start["PCA x"], start["PCA y"]) == pytest.approx(
                (image["PCA x"], image["PCA y"]), abs=1e-4
            )
            assert image["class"] == name
            assert (
                figure.facts["headline"][f"margin_last_{name}"]
                > figure.facts["headline"][f"margin_first_{name}"]
            )
        tsne, pca = figure.panels
        assert [s.joined for s in tsne.series] == [False, False, True, True]
        assert len(tsne.series[2].x) == 3 and tsne.series[0].cls == 0 and tsne.series[1].cls == 2
        assert pca.title == "PCA"

    def test_pca_can_be_fitted_on_the_climbs_too(self, project) -> None:
        one, two = (drawn(subject_of(project, "manifold", fit=fit)) for fit in ("images", "all"))
        assert one.rows["PCA x"] != two.rows["PCA x"] and one.rows["t-SNE x"] == two.rows["t-SNE x"]

    def test_the_most_frequent_pair_is_the_default(self, project) -> None:
        study = study_named("manifold")
        own, _ = study.parse({"recognised": "false"})
        chosen = study.choose(project, project.usable, own)
        assert chosen == ["im_0", "im_1", "im_3", "im_4", "im_6", "im_7"], "ties go to the first classes"

    def test_a_lack_of_images_is_a_sentence(self, project) -> None:
        study = study_named("manifold")
        own, _ = study.parse({"first": "green", "second": "green"})
        with pytest.raises(UserError, match="the same"):
            study.choose(project, project.usable, own)
        own, _ = study.parse({"first": "gren"})
        with pytest.raises(UserError, match="Did you mean 'green'"):
            study.choose(project, project.usable, own)
        own, _ = study.parse({"first": "red", "second": "blue"})
        with pytest.raises(UserError, match="images whose only tag is"):
            study.choose(project, project.usable[:2], own)


class TestStep:
    """The job, as the window and the command line run it."""

    @pytest.mark.parametrize("name", NAMES)
    def test_every_study_leaves_its_figure(self, project, name: str) -> None:
        ending = finished(run(study_job(project, name)))
        result = ending.result
        assert result["study"] == name and result["run"] == "cam" and result["seconds"] > 0
        assert result["figure"] == f"runs/cam/studies/{name}.json"
        figure = Figure.load(project.root / result["figure"])
        rows = list(csv.reader(io.StringIO((project.root / result["csv"]).read_text())))
        assert rows[0] == list(figure.rows) and len(rows) > 1 and {len(r) for r in rows} == {len(rows[0])}
        assert result["images"] == len(figure.facts["images"]) > 0
        assert {k: v for k, v in result.items() if k in figure.facts["headline"]} == figure.facts["headline"]
        assert figure.panels and figure.caption.count("The paper (") == 1 and "the run cam" in figure.caption
        assert figure.facts["command"].startswith(f"wsss study {name} cam -p ")
        assert study_named(name).source in figure.facts["source"]
        # Nothing in it depends on the clock or on what was drawn before.
        before = (project.root / result["figure"]).read_bytes()
        finished(run(study_job(project, name)))
        assert (project.root / result["figure"]).read_bytes() == before

    def test_images_are_chosen_evenly(self, project) -> None:
        stems = [str(n) for n in range(10)]
        assert evenly(stems, 1) == ["5"] and evenly(stems, 2) == ["2", "7"] and evenly(stems, 10) == stems
        assert evenly(stems, 99) == stems
        for count in range(1, 10):
            chosen = [int(s) for s in evenly(stems, count)]
            assert len(set(chosen)) == count and max(np.diff(chosen), default=0) <= math.ceil(10 / count)
        events = list(run(study_job(project, "scores", count=3)))
        assert events[-1].result["images"] == 3
        assert any(isinstance(e, Said) and "3 of 11 images" in e.text for e in events)
        assert [e.done for e in events if isinstance(e, Progress)][-1] == 3

    def test_without_truth_it_fails_before_any_work(self, project, tmp_path: Path) -> None:
        bare = tmp_path / "bare"
        shutil.copytree(project.root, bare)
        text = (bare / "wsss.toml").read_text()
        (bare / "wsss.toml").write_text(text[: text.index("[truth]")])
        (bare / "runs" / "cam" / "weights.safetensors").unlink()
        for study in list_studies():
            job = replace(study_job(project, study["name"]), project=str(bare))
            (ending,) = (e for e in run(job) if isinstance(e, Failed))
            assert ending.mistake and ("truth masks" in ending.message) == study["needs_truth"], study["name"]

    def test_a_stop_ends_it_between_two_steps_of_a_climb(self, project) -> None:
        (project.root / "runs/cam/studies/quality.json").unlink(missing_ok=True)
        asked = iter(range(10_000))
        events = list(run(study_job(project, "quality"), lambda: next(asked) >= 4))
        assert isinstance(events[-1], Stopped) and next(asked) < 10
        assert not (project.root / "runs/cam/studies/quality.json").exists()

    def test_mistakes_are_sentences(self, project) -> None:
        wrong = [
            ({"study": "nosuch"}, "Studies: amplification"),
            ({"settings": {"stpes": "2"}}, "Did you mean 'steps'"),
            ({"settings": {"saliency": str(project.root / "nowhere")}}, "no folder of saliency masks"),
            ({"run": "cma"}, "Did you mean 'cam'"),
            ({"split": "vall"}, "no split 'vall'"),
        ]
        for change, expected in wrong:
            ending = list(run(dataclasses.replace(study_job(project, "scores"), **change)))[-1]
            assert isinstance(ending, Failed) and ending.mistake and expected in ending.message
        with pytest.raises(UserError, match="one process"):
            next(step(study_job(project, "scores", devices=2), Work(never)))

    def test_an_unreadable_image_is_passed_over(self, project, tmp_path: Path) -> None:
        place = project.path("im_4")
        kept = place.read_bytes()
        try:
            place.write_bytes(b"no picture")
            events = list(run(study_job(project, "sorted")))
        finally:
            place.write_bytes(kept)
        assert any(isinstance(e, Said) and "im_4 was passed over" in e.text for e in events)
        assert events[-1].result["images"] == 10

    def test_predicted_classes_and_saliency_masks_can_be_climbed(self, project) -> None:
        truth = project.truth_place
        assert truth is not None
        settings = {"steps": "2", "classes": "predicted", "predicted_above": "0.3"}
        assert finished(run(study_job(project, "sorted", settings=settings))).result["maps"] >= 1
        settings = {"steps": "2", "saliency": str(truth.folder)}
        finished(run(study_job(project, "quality", settings=settings)))
        figure = Figure.load(project.root / "runs/cam/studies/quality.json")
        assert [s.name for s in figure.panels[0].series] == [
            "with saliency",
            "regularised",
            "not regularised",
        ]
        assert figure.rows["miou with saliency"][0] == figure.rows["miou regularised"][0]

    def test_the_command_line_lists_them(self, project, capsys) -> None:
        assert main(["study", "nosuch", "cam", "-p", str(project.root)]) == 2
        told = capsys.readouterr().err
        assert all(name in told for name in NAMES)
        words = [
            "study",
            "scores",
            "cam",
            "-p",
            str(project.root),
            "--set",
            "steps=1",
            "--count",
            "2",
            "--json",
        ]
        assert main([*words, "--threads", "1"]) == 0
        assert json.loads(capsys.readouterr().out)["study"] == "scores"
