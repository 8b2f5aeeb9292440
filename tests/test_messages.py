"""Jobs and events: what crosses the border comes out as it went in, and nothing else gets through."""

from __future__ import annotations

import dataclasses
import json
import shlex

import pytest

from engine.errors import UserError
from engine.messages import (
    EVENTS,
    JOBS,
    MAX_MESSAGE,
    Boxes,
    Climb,
    Evaluate,
    Export,
    Failed,
    Film,
    Finished,
    Import,
    Infer,
    Label,
    Methods,
    Metrics,
    New,
    Progress,
    Prototypes,
    Queue,
    Refine,
    Relink,
    Rerun,
    Said,
    Started,
    Stopped,
    Study,
    Train,
    Viewed,
    arguments,
    command,
    decode,
    encode,
)

FULL_JOBS = [
    New(
        project="p",
        images="i",
        tags="t",
        classes="c",
        truth="m",
        truth_classes="voc",
        split=("train=a.txt", "val=b.txt"),
        class_names=("cat", "dög"),
    ),
    Relink(project="p", images="i", truth="m"),
    Methods(),
    Train(
        project="p",
        method="cam",
        run="r",
        split="s",
        epochs=3,
        batch=4,
        crop=64,
        settings={"scales": [0.5, 1.0], "kind": "gradcam", "pretrained": False, "x": None},
        resume=True,
        device="cuda:1",
        devices=2,
        nodes=2,
        threads=3,
        seed=5,
    ),
    Infer(project="p", run="r", split="val", images=("a", "b"), views="v", settings={"flip": True}),
    Refine(
        project="p",
        refiner="irn",
        source="r/v",
        split="val",
        images=("a",),
        settings={"beta": 8.0},
        run="b",
        views="w",
        keep=True,
    ),
    Prototypes(project="p", run="r", split="val", images=("a",), views="w"),
    Climb(
        project="p",
        run="r",
        split="val",
        images=("a",),
        views="v",
        settings={"steps": 4, "scales": [1.0, 0.5], "flip": False},
        cls="dög",
        trace="3.1",
        at=2,
    ),
    Film(project="p", source="r/v", image="a", trace="3.1", out="o.mp4", fps=3, overwrite=True),
    Study(project="p", study="ratio", run="r", split="val", count=9, settings={"lam": 0.0}),
    Boxes(project="p", source="r/v", truth_boxes="b.csv", split="val", side=0),
    Label(
        project="p",
        source="r/v",
        name="n",
        split="s",
        images=("a",),
        climbed=("3@4", "1.2@0"),
        climbs="r/steps",
        background="power:4",
        ignore="0.1,0.3",
        crf="irn",
        min_region=9,
        saliency="d",
    ),
    Evaluate(project="p", labels="n", source="r", sweep=True, split="s", threshold=0.25, only="approved"),
    Queue(project="p", order="change", labels="n", source="r", others=("a", "b/c"), split="s", seed=3),
    Export(
        project="p",
        labels="n",
        format="voc",
        out="o",
        only="approved",
        split="s",
        instances="b/default",
        settings={"segmentation": "rle"},
        overwrite=True,
        dry_run=True,
    ),
    Import(project="p", format="voc", path="d", name="n"),
    Rerun(project="p", run="r"),
]
FULL_EVENTS = [
    Started(job="j", kind="train", run="r", device="cpu"),
    Progress(job="j", done=1, total=2, seconds_left=3.5, phase="images"),
    Metrics(job="j", step=3, values={"loss": 0.5}, clock=0.25),
    Viewed(job="j", image="a", kind="cams", path="runs/r/a.npz"),
    Said(job="j", text="Größe 5 µm", level="warning"),
    Finished(job="j", result={"miou": 0.5, "iou": {"cat": 0.25}, "list": [1, None]}),
    Failed(job="j", message="m", mistake=True, hint="h", trace="t"),
    Stopped(job="j", resumable=True),
]


def test_every_message_is_tried() -> None:
    assert {type(m) for m in FULL_JOBS} == set(JOBS.values())
    assert {type(m) for m in FULL_EVENTS} == set(EVENTS.values())


@pytest.mark.parametrize("message", [*FULL_JOBS, *FULL_EVENTS], ids=lambda m: type(m).__name__)
def test_round_trip(message) -> None:
    again = decode(encode(message))
    assert again == message
    assert type(again) is type(message)


@pytest.mark.parametrize("cls", JOBS.values(), ids=lambda c: c.VERB)
def test_round_trip_of_defaults(cls) -> None:
    needed = {
        f.name: f"{f.name}-x"
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    job = cls(**needed)
    assert decode(encode(job)) == job
    assert job.id != cls(**needed).id


@pytest.mark.parametrize("job", FULL_JOBS, ids=lambda j: j.VERB)
def test_command_says_what_differs_from_the_defaults(job) -> None:
    words = shlex.split(command(job))
    assert words == ["wsss", *arguments(job)]
    assert words[1] == job.VERB
    assert "--id" not in words and "None" not in words
    for name in job.BARE:
        assert getattr(job, name) in words[2:]


def test_command_of_a_training() -> None:
    job = Train(
        project="my pets", method="cam", epochs=3, settings={"scales": (0.5, 1.0), "flip": False}, resume=True
    )
    assert command(job) == (
        "wsss train cam -p 'my pets' --set scales=0.5,1.0 --set flip=false --epochs 3 --resume"
    )


def test_command_of_new_and_import() -> None:
    new = New(project="p", images="i", tags="t", split=("train=a.txt", "val=b.txt"))
    assert command(new) == "wsss new p --images i --tags t --split train=a.txt --split val=b.txt"
    assert command(Import(project="p", format="voc", path="d", name="n")).endswith(
        "--format voc --from d --name n"
    )


def test_command_cannot_be_broken_out_of() -> None:
    job = Infer(project="a; rm -rf b", run="r", images=("x y", "$(z)"))
    assert shlex.split(command(job))[3:] == ["-p", "a; rm -rf b", "--images", "x y,$(z)"]


HOSTILE = {
    "empty": b"",
    "no json": b"\xff\xfe\x00garbage",
    "no object": b"[1, 2]",
    "null": b"null",
    "number": b"3",
    "no name": b"{}",
    "name is no text": b'{"verb": ["train"]}',
    "unknown verb": b'{"verb": "destroy"}',
    "unknown event": b'{"event": "boom"}',
    "unknown field": b'{"verb": "methods", "command": "rm"}',
    "missing field": b'{"verb": "train"}',
    "text for number": b'{"verb": "train", "method": "cam", "epochs": "3"}',
    "boolean for number": b'{"verb": "train", "method": "cam", "seed": true}',
    "number for text": b'{"verb": "train", "method": 3}',
    "list for dict": b'{"verb": "train", "method": "cam", "settings": [1]}',
    "tuple of numbers": b'{"verb": "infer", "run": "r", "images": [1, 2]}',
    "no choice": b'{"verb": "export", "labels": "l", "format": "f", "out": "o", "only": "some"}',
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 100_000,
    "long": b'{"verb": "methods", "project": "' + b"x" * MAX_MESSAGE + b'"}',
    "infinite": b'{"event": "progress", "done": 1e999, "total": 1}',
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_give_a_sentence(data: bytes) -> None:
    with pytest.raises(UserError) as caught:
        decode(data)
    assert len(str(caught.value)) < 2000
    assert str(caught.value).strip()


def test_a_misspelt_field_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="epochs"):
        decode(b'{"verb": "train", "method": "cam", "epoch": 3}')


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(value: float) -> None:
    with pytest.raises(ValueError):
        encode(Metrics(step=1, values={"loss": value}))


def test_what_is_sent_is_plain_json_in_utf8() -> None:
    data = encode(Said(text="Größe"))
    assert json.loads(data.decode("utf-8")) == {"event": "said", "job": "", "text": "Größe", "level": "info"}
    assert b"\n" not in encode(Failed(message="two\nlines"))
