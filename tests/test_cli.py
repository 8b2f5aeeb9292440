"""The command line: words and jobs, exit codes, what stands on stdout, Ctrl-C."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import messages
from engine.cli import COMMANDS, main
from engine.cli.jobs import parser_of, read
from engine.cli.screen import span
from engine.errors import UserError
from engine.messages import JOBS, Job, arguments
from engine.store import Project

WORK = {"device": "cuda:1", "devices": 2, "nodes": 3, "threads": 4, "seed": 5}
FULL: tuple[Job, ...] = (
    messages.New(
        project="pets and more",
        images="a b/images",
        tags="tags.csv",
        classes="classes.txt",
        truth="truth",
        truth_classes="voc",
        split=("train=lists/train.txt", "val=with=sign.txt"),
    ),
    messages.Relink(project="pets", images="/elsewhere", truth="/there"),
    messages.Refine(
        project="pets",
        refiner="irn",
        source="cam/climb",
        split="val",
        images=("a", "b"),
        settings={"beta": "8.0"},
        run="mine",
        views="other",
        keep=True,
        **WORK,
    ),
    messages.Prototypes(project="pets", run="mine", split="val", images=("a", "b"), views="other", **WORK),
    messages.Methods(),
    messages.Train(
        project="pets",
        method="cam",
        run="first",
        split="all",
        epochs=3,
        batch=4,
        crop=96,
        settings={"backbone": "tiny_cnn", "scales": "0.5,1.0", "rate": "1e-3"},
        resume=True,
        **WORK,
    ),
    messages.Infer(
        project="pets", run="first", split="val", images=("a", "b.c"), views="fine", settings={"flip": "false"}, **WORK
    ),
    messages.Label(
        project="pets",
        source="first/fine",
        name="soft",
        split="val",
        background="power:4",
        ignore="0.15,0.3",
        crf="irn",
        min_region=20,
        images=("a", "b.c"),
        climbed=("3@4", "1.2@0"),
        climbs="first/steps",
        saliency="masks of things",
        **WORK,
    ),
    messages.Climb(
        project="pets", run="first", split="val", images=("a",), views="high", settings={"steps": "4"}, cls="cat",
        trace="3.1", at=2, **WORK,
    ),
    messages.Film(
        project="pets", source="first/steps", image="a", trace="3.1", out="film.gif", fps=3, overwrite=True
    ),
    messages.Study(
        project="pets", study="ratio", run="first", split="val", count=9, settings={"lam": "0"}, **WORK
    ),
    messages.Boxes(project="pets", source="first", truth_boxes="boxes.csv", split="val", side=0),
    messages.Evaluate(project="pets", source="first", sweep=True, split="val", threshold=0.25, stages=True),
    messages.Evaluate(project="pets", labels="soft"),
    messages.Evaluate(project="pets", labels="corrected", only="approved"),
    messages.Queue(project="pets", order="change", labels="soft", source="first", others=("a", "b/c"), split="val", seed=3),
    messages.Export(
        project="pets", labels="soft", format="voc", out="out dir", only="approved", split="val", overwrite=True,
        dry_run=True, instances="box/default", settings={"segmentation": "rle"},
    ),
    messages.Import(project="pets", format="png", path="masks", name="theirs"),
    messages.Rerun(project="pets", run="first", **WORK),
)  # fmt: skip


@pytest.mark.parametrize("job", FULL, ids=lambda job: job.VERB)
def test_the_parser_is_the_inverse_of_arguments(job: Job) -> None:
    assert dataclasses.replace(read(arguments(job)), id=job.id) == job


@pytest.mark.parametrize("job", FULL, ids=lambda job: job.VERB)
def test_required_options_alone_give_the_defaults_of_the_job(job: Job) -> None:
    needed = {
        f.name: getattr(job, f.name) for f in dataclasses.fields(job)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }  # fmt: skip
    if job.VERB in ("new", "relink"):
        needed["project"] = job.project
    if isinstance(job, messages.Evaluate):
        needed["labels"] = "soft"
    bare = type(job)(**needed)
    assert dataclasses.replace(read(arguments(bare)), id=bare.id) == bare


def test_every_field_of_every_job_has_a_word() -> None:
    tried = {verb: set() for verb in JOBS}
    for job in FULL:
        tried[job.VERB] |= {
            f.name for f in dataclasses.fields(job)
            if f.default is dataclasses.MISSING or getattr(job, f.name) != f.default
        }  # fmt: skip
    work = {"device", "devices", "nodes", "threads", "seed"}
    for verb, cls in JOBS.items():
        every = {f.name for f in dataclasses.fields(cls)} - {"id", "class_names"}
        every -= set() if cls.WORKS else work
        every -= {"methods": {"project"}}.get(verb, set())
        assert every <= tried[verb], verb


@pytest.mark.parametrize("verb", JOBS)
def test_device_words_are_read_by_every_job(verb: str) -> None:
    job = next(j for j in FULL if verb == j.VERB)
    moved = dataclasses.replace(job, **WORK)
    assert dataclasses.replace(read(arguments(moved)), id=moved.id) == moved


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian", "cam"], "Did you mean 'train'?"),
        (["--verison"], "wsss has no option"),
        (["train"], "METHOD is missing"),
        (["train", "cam", "--epohcs", "3"], "Did you mean '--epochs'?"),
        (["train", "cam", "--epochs", "three"], "--epochs = 'three' cannot be used"),
        (["train", "cam", "--epochs", "0"], "at least 1"),
        (["train", "cam", "--set", "backbone"], "is no assignment"),
        (["train", "cam", "dog"], "'dog' is one word too many"),
        (["train", "cam", "--epoch", "3"], "has no option '--epoch'"),
        (["infer"], "RUN is missing"),
        (["label", "--source", "cam", "--name", "a", "--crf", "deplab"], "Did you mean 'deeplab'?"),
        (["label", "--source", "cam"], "--name is missing"),
        (["evaluate"], "--labels"),
        (["evaluate", "--labels", "a", "--source", "b"], "--source"),
        (["evaluate", "--source", "a", "--threshold", "nan"], "a number from 0 to 1"),
        (["export", "--labels"], "--labels has no value"),
        (["new", "p"], "--images is missing"),
        (["status", "-p", "nowhere"], "is no project"),
        (["label", "-p", "nowhere", "--source", "cam", "--name", "a"], "is no project"),
        (["train", "cam", "-p", "nowhere"], "is no project"),
        (["status"], "the current folder is none"),
        (["bench", "sweeep"], "Did you mean 'sweep'?"),
        (["view", "nowhere"], "is no project"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_told_and_ends_with_2(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err and "Traceback" not in err
    assert len(err.strip().splitlines()) >= 2, "found, accepted or what to do next"
    assert list(tmp_path.iterdir()) == []


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    overview = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in overview
        if name == "info":
            continue  # imports nothing more and takes no option but --json
        assert main([name, "--help"]) == 0
        assert f"usage: wsss {name}" in capsys.readouterr().out


def test_help_tells_defaults_and_units() -> None:
    text = parser_of("label").format_help()
    assert "default: constant:0.2" in text and "px" in text
    text = parser_of("train").format_help()
    assert "default: train" in text and "default: 0)" in text and "default: auto" in text


def test_help_of_a_method_lists_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "cam", "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("backbone", "default: resnet50", "true or false", "preset=NAME", "holdout", "from 0 to 0.5"):
        assert word in text
    assert main(["train", "cma", "--help"]) == 2
    assert "Did you mean 'cam'?" in capsys.readouterr().err


def test_help_of_a_run_lists_the_parameters_of_its_views(
    small_project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stacks(small_project)
    assert main(["infer", "cam", "-p", str(small_project.root), "--help"]) == 0
    text = capsys.readouterr().out
    assert "alignment" in text and "preset=NAME" in text and "holdout" not in text
    monkeypatch.chdir(tmp_path)
    assert main(["infer", "cam", "--help"]) == 0
    assert "lists the parameters of the run's method" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import engine

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wsss {engine.__version__}\n"


def test_status_of_a_project(small_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(small_project.root)
    assert main(["status", "-p", place, "--json"]) == 0
    out, err = capsys.readouterr()
    status = json.loads(out)
    assert err == "" and out.count("\n") == 1
    assert status["images"] == 6 and status["aside"] == {} and status["splits"] == {"train": 4, "val": 2}
    assert sum(status["tags"]["red"].values()) == 6
    assert status["runs"] == status["labels"] == [] and status["truth"] is True
    small_project.set_tags([("im_000", "green", -1)])
    small_project.set_aside("im_005", "blurred")
    assert main(["status", "-p", place, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["images"] == 5 and status["aside"] == {"im_005": "blurred"}
    assert status["tags"]["green"]["unknown"] == 1
    assert main(["status", "-p", place]) == 0
    text = capsys.readouterr().out
    assert "blurred" in text and "red" in text and "No run yet" in text


def test_the_current_folder_is_the_project(
    small_project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small_project.root)
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 6


def test_new_reads_a_bom_and_names_the_line_of_a_mistake(
    small_project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = tmp_path / "bom.csv"
    tags.write_bytes(b"\xef\xbb\xbfimage,tags\r\nim_000,red\r\n")
    words = ["new", str(tmp_path / "p2"), "--images", str(tmp_path / "images"), "--tags", str(tags), "--json"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])["images"] == 6
    tags.write_text("image,tags\nim_000,red\nnobody,red\n")
    words[1] = str(tmp_path / "p3")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and "line 3" in err and "nobody" in err
    assert not (tmp_path / "p3").exists()


def test_json_stays_the_last_line_though_libraries_print(
    small_project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.cli import follow

    def chatty(job: Job, stop: object) -> object:
        print("a library greets you")
        yield messages.Said(text="a sentence [bold]with brackets[/bold]", level="warning")
        yield messages.Progress(done=1, total=2, phase="images")
        yield messages.Finished(result={"name": "Grünspecht"})

    monkeypatch.setattr(follow.engine_run, "run", chatty)
    assert main(["evaluate", "-p", str(small_project.root), "--labels", "a", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "Grünspecht"} and out.isascii() and out.count("\n") == 1
    assert "a library greets you" in err
    assert "Warning: a sentence [bold]with brackets[/bold]" in err


def test_a_bug_ends_with_1_and_names_its_report(
    small_project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from engine.cli import follow

    def broken(job: Job, stop: object) -> object:
        yield messages.Failed(message="ZeroDivisionError: division by zero", trace="Traceback: line 1")

    monkeypatch.setattr(follow.engine_run, "run", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["evaluate", "-p", str(small_project.root), "--labels", "a b"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err and "division by zero" in err
    found = re.search(r"The report is in (\S+);", err)
    assert found is not None
    report = Path(found[1]).read_text(encoding="utf-8")
    assert "Traceback: line 1" in report and "--labels 'a b'" in report and "numpy" in report


@pytest.mark.parametrize("words", [["train", "--help"], ["status"], ["status", "--json"]], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_error(words: list[str], small_project: Project) -> None:
    code = f"import sys; from engine.cli import main; sys.exit(main({words!r}))"
    line, pipe = [sys.executable, "-c", code], subprocess.PIPE
    child = subprocess.Popen(line, stdout=pipe, stderr=pipe, cwd=small_project.root)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(60) == 0


NO_TORCH = """
import sys
for name in ("torch", "torchvision", "timm", "lightning_fabric"):
    sys.modules[name] = None  # importing it raises
from engine.cli import main
for words in {lines!r}:
    code = main(words)
    assert code == 0, (words, code)
"""


def test_commands_without_a_network_import_no_torch(small_project: Project, tmp_path: Path) -> None:
    place = str(small_project.root)
    lines = [["--help"], *([name, "--help"] for name in COMMANDS), ["status", "-p", place]]
    lines.append(
        [
            "new",
            str(tmp_path / "again"),
            "--images",
            str(tmp_path / "images"),
            "--tags",
            str(tmp_path / "tags.csv"),
        ]
    )
    stacks(small_project)
    lines.append(["label", "-p", place, "--source", "cam", "--name", "soft"])
    lines.append(["evaluate", "-p", place, "--labels", "soft"])
    lines.append(
        ["export", "-p", place, "--labels", "soft", "--format", "voc", "--out", str(tmp_path / "voc")]
    )
    child = subprocess.run(
        [sys.executable, "-c", NO_TORCH.format(lines=lines)], capture_output=True, text=True, timeout=120
    )
    assert child.returncode == 0, child.stderr


def stacks(project: Project) -> None:
    """Give the project a run `cam` with a drawn map for each image, as if it had been trained."""
    import numpy as np

    from engine.atomic import write_json
    from engine.results import CamStack
    from engine.store import new_run

    run = new_run(project.root, "cam", "cam", {"method": "cam", "status": "finished"})
    views = run.views()
    random = np.random.default_rng(0)
    for stem in project.usable:
        image = project.image(stem)
        present = project.tags().present(stem)
        maps = random.random((len(present), 12, 16)).astype(np.float16)
        CamStack(
            image=stem, size=(image.height, image.width), classes=present, maps=maps,
            peaks=np.ones(len(present), np.float32), cell=4.0, origin=1.5, scores=np.ones(3, np.float32),
        ).save(views.path(stem))  # fmt: skip
    write_json(views.folder / "views.json", {"method": "cam", "settings": {}})


ENDLESS = """
import sys, time, types
from engine.messages import Progress

def run(job, desk):
    for n in range(10**6):
        time.sleep(0.01)
        if n == 5:
            print("ready", file=sys.stderr, flush=True)
        while n >= 5 and {deaf}:
            time.sleep(0.01)
        yield Progress(done=n, total=10**6, phase="images")

step = types.ModuleType("engine.steps.label")
step.run = run
sys.modules["engine.steps.label"] = step
from engine.cli import main
sys.exit(main(["label", "-p", {place!r}, "--source", "cam", "--name", "a"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("deaf", [False, True], ids=["one press stops", "two presses break off"])
def test_ctrl_c(small_project: Project, deaf: bool) -> None:
    code = ENDLESS.format(deaf=deaf, place=str(small_project.root))
    child = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stderr is not None and child.stdout is not None
    assert child.stderr.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    assert "Press Ctrl-C again" in child.stderr.readline()
    if deaf:
        time.sleep(0.1)
        assert child.poll() is None, "the first press asks, it does not break off"
        child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    assert child.returncode == 130
    assert out == "" and "Traceback" not in err
    assert "Go on with: wsss label" in err and "--name a" in err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_stopped_training_prints_the_line_that_goes_on_with_it(small_project: Project) -> None:
    place = str(small_project.root)
    words = ["train", "cam", "-p", place, "--set", "backbone=tiny_cnn", "--set", "pretrained=false"]
    words += ["--batch", "2", "--crop", "32", "--threads", "1"]
    line = [sys.executable, "-m", "engine.cli", *words]
    child = subprocess.Popen(
        [*line, "--epochs", "5000"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    while "Run cam" not in (said := child.stderr.readline()):
        assert said, "it ended before it began to train"
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    found = re.search(r"Go on with: (.*)", err)
    assert found is not None, err
    again = read(shlex.split(found[1])[1:])
    assert isinstance(again, messages.Train)
    assert (again.run, again.resume, again.method, again.project) == ("cam", True, "cam", place)


def test_words_for_durations() -> None:
    assert [span(s) for s in (0.04, 9.96, 12.4, 59.6, 185, 3723)] == [
        "0.0 s",
        "10.0 s",
        "12 s",
        "1:00",
        "3:05",
        "1:02:03",
    ]


def test_read_refuses_what_is_no_job() -> None:
    with pytest.raises(UserError, match="no job"):
        read(["status"])
