"""Masks that people corrected, as jobs take them: measured, exported, learnt from, and never written over."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.cli.status import status_of
from engine.confident import ConfidentParams
from engine.edits import EditRoom
from engine.errors import UserError
from engine.messages import (
    Evaluate,
    Export,
    Failed,
    Finished,
    Import,
    Infer,
    Job,
    Label,
    Queue,
    Refine,
    Said,
    Train,
)
from engine.results import CamStack
from engine.run import run
from engine.steps.masks import masks_of
from engine.steps.seeds import Confident, corrections, make_confident
from engine.store import Project, label_set, new_run, open_project, run_of, source_of, stale
from engine.store.truth import read_truth

FULL = (0, 0, 48, 64)
SIZE = (48, 64)
TINY = {"backbone": "tiny_cnn", "pretrained": "false"}


def done(job: Job) -> dict[str, object]:
    ending = list(run(job))[-1]
    assert isinstance(ending, Finished), ending
    return ending.result


def failed(job: Job) -> str:
    ending = list(run(job))[-1]
    assert isinstance(ending, Failed) and ending.mistake, ending
    return ending.message


def correct_(project: Project, masks: dict[str, np.ndarray], states: dict[str, str]) -> None:
    with EditRoom.open(project, who="ann") as room:
        for stem, mask in masks.items():
            sheet = room.load(stem, ("seed", np.full(SIZE, 7 % 4, np.uint8)))
            room.commit(sheet, "Brush", "brush", FULL, mask)
        for stem, state in states.items():
            room.set_state(stem, state)


@pytest.fixture
def corrected_project(small_project: Project) -> Project:
    """Two approved images (as the truth, one with unsure pixels), one begun, one rejected."""
    truth = {s: read_truth(small_project, s) for s in small_project.usable}
    unsure = truth["im_001"].copy()  # type: ignore[union-attr]
    unsure[:10] = 255
    masks = {
        "im_000": truth["im_000"],
        "im_001": unsure,
        "im_002": np.full(SIZE, 2, np.uint8),
        "im_004": np.ones(SIZE, np.uint8),
    }
    states = {"im_000": "approved", "im_001": "approved", "im_004": "rejected"}
    correct_(small_project, masks, states)  # type: ignore[arg-type]
    return small_project


def work_of(project: Project) -> dict[str, str]:
    """Return the digest of every file that holds a person's work, and of what the journal says."""
    files = [p for p in (project.root / "edited").rglob("*") if p.is_file()]
    digests = {str(p.relative_to(project.root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    with EditRoom.open(project, read_only=True) as room:
        digests["states"] = json.dumps(room.states(), sort_keys=True)
        digests["steps"] = json.dumps(
            [dataclasses.astuple(s) for stem in project.usable for s in room.steps(stem)]
        )
    return digests


# ---- by name


def test_corrected_is_a_name_of_masks_with_states_as_a_filter(corrected_project: Project) -> None:
    assert masks_of(corrected_project, "corrected").stems() == ("im_000", "im_001", "im_002")
    assert masks_of(corrected_project, "corrected", "approved").stems() == ("im_000", "im_001")
    with pytest.raises(UserError, match="engine's"):
        masks_of(corrected_project, "seed", "approved")


def test_without_corrections_every_job_says_so(small_project: Project, tmp_path: Path) -> None:
    root = str(small_project.root)
    for job in (
        Evaluate(project=root, labels="corrected"),
        Export(project=root, labels="corrected", format="voc", out=str(tmp_path / "out")),
        Queue(project=root, order="tags", labels="corrected"),
    ):
        assert "no corrected masks" in failed(job)
    approved = Export(
        project=root, labels="corrected", only="approved", format="voc", out=str(tmp_path / "out")
    )
    assert "no approved masks" in failed(approved)
    assert not (tmp_path / "out").exists()
    assert not (small_project.root / "edits.sqlite").exists()  # asking writes nothing


# ---- measured


def test_what_a_person_left_open_is_no_miss(corrected_project: Project) -> None:
    root = str(corrected_project.root)
    found = done(Evaluate(project=root, labels="corrected", only="approved"))
    assert found["miou"] == 1 and found["images"] == 2
    assert found["left_open"] == 10 * 64 and found["only"] == "approved"
    # The same pixels are misses when the engine is unsure of them.
    labels = label_set(corrected_project.root, corrected_project.colours, "engine", new=True)
    for stem in ("im_000", "im_001"):
        labels.write(stem, masks_of(corrected_project, "corrected").read(stem))
    assert done(Evaluate(project=root, labels="engine"))["miou"] < 1  # type: ignore[operator]
    assert done(Evaluate(project=root, labels="corrected"))["images"] == 3
    assert "--only" in failed(Evaluate(project=root, labels="engine", only="approved"))


# ---- exported


@pytest.mark.parametrize(("only", "stems"), [("approved", 2), ("all", 3)])
def test_corrected_masks_are_exported_by_state(
    corrected_project: Project, tmp_path: Path, only: str, stems: int
) -> None:
    out = tmp_path / "out"
    result = done(
        Export(project=str(corrected_project.root), labels="corrected", only=only, format="png", out=str(out))  # type: ignore[arg-type]
    )
    assert result["images"] == stems
    written = {p.stem: np.array(Pillow.open(p)) for p in out.rglob("im_*.png")}
    assert len(written) == stems
    masks = masks_of(corrected_project, "corrected")
    for stem, mask in written.items():
        assert (mask == masks.read(stem)).all()
    assert (written["im_001"][:10] == 255).all()
    provenance = json.loads((out / "provenance.json").read_text())
    assert (provenance["labels"], provenance["only"]) == ("corrected", only)


def test_maps_are_nothing_that_people_correct(corrected_project: Project, tmp_path: Path) -> None:
    text = failed(
        Export(
            project=str(corrected_project.root),
            labels="corrected",
            format="irn-cam",
            out=str(tmp_path / "out"),
        )
    )
    assert "maps" in text


# ---- ranked


def test_a_corrected_mask_is_compared_with_labels(corrected_project: Project) -> None:
    labels = label_set(corrected_project.root, corrected_project.colours, "seed", new=True)
    for stem in corrected_project.usable:
        labels.write(stem, np.zeros(SIZE, np.uint8))
    labels.write_facts({"imported": {}})
    found = done(
        Queue(project=str(corrected_project.root), order="change", labels="corrected", others=("seed",))
    )
    rows = {row["image"]: row for row in found["first"]}  # type: ignore[attr-defined]
    assert rows["im_002"]["score"] == 1 and rows["im_003"]["score"] is None


# ---- learnt from


def maps_of(project: Project) -> None:
    views = new_run(
        project.root, "seeds", "seeds", {"method": "imported", "classes": list(project.classes)}
    ).views()
    rng = np.random.default_rng(0)
    for stem in project.usable:
        classes = project.tags().present(stem)
        CamStack(
            image=stem,
            size=SIZE,
            classes=classes,
            maps=rng.random((len(classes), 12, 16)).astype(np.float16),
            peaks=np.ones(len(classes), np.float32),
            cell=4.0,
            origin=1.5,
            scores=np.ones(3, np.float32),
        ).save(views.path(stem))
    (views.folder / "views.json").write_text(json.dumps({"method": "imported", "kinds": ["cams"]}))


def test_a_persons_mask_takes_the_place_of_confident_labels(corrected_project: Project) -> None:
    maps_of(corrected_project)
    project = corrected_project
    stems = ("im_000", "im_001", "im_002", "im_003")
    params = ConfidentParams(foreground=0.6, background=0.3)
    known: dict[str, dict[str, bytes]] = {}
    for which in ("none", "approved", "all"):
        target = new_run(project.root, which, which, {})
        events = list(
            make_confident(project, target, source_of(project.root, "seeds"), stems, params, 1, which)
        )
        found = {s: Confident.of(target).read(s) for s in stems}
        masks = masks_of(project, "corrected")
        taken = {s for s in stems if s in masks.stems() and (found[s] == masks.read(s)).all()}
        assert taken == {"none": set(), "approved": set(stems[:2]), "all": set(stems[:3])}[which]
        assert any(isinstance(e, Said) and "people corrected" in e.text for e in events) == (which != "none")
        known[which] = {s: found[s].tobytes() for s in stems}
        # A second call has nothing to do, and reads the same.
        files = {p: p.stat().st_mtime_ns for p in (target.folder / "confident").iterdir()}
        list(make_confident(project, target, source_of(project.root, "seeds"), stems, params, 1, which))
        assert {p: p.stat().st_mtime_ns for p in (target.folder / "confident").iterdir()} == files
    assert known["none"]["im_003"] == known["approved"]["im_003"] == known["all"]["im_003"]
    assert (np.frombuffer(known["approved"]["im_001"], np.uint8)[: 10 * 64] == 255).all()


def test_a_training_goes_on_only_with_the_corrections_it_began_with(corrected_project: Project) -> None:
    maps_of(corrected_project)
    project = corrected_project
    job = Train(
        project=str(project.root), method="psa", run="walk", epochs=1, batch=2, crop=32,
        settings={**TINY, "seeds": "seeds"}, device="cpu", threads=1,
    )  # fmt: skip
    done(job)
    walk = run_of(project.root, "walk")
    assert set(walk.facts["digests"]["corrected"]) == {"im_000", "im_001"}
    assert walk.facts["params"]["corrected"] == "approved"
    assert corrections(project, "approved", project.usable) == walk.facts["digests"]["corrected"]
    with EditRoom.open(project) as room:
        room.set_state("im_001", "needs review")
    walk.update(status="stopped")
    assert "corrected changed" in failed(dataclasses.replace(job, resume=True))
    assert "no parameter" not in failed(dataclasses.replace(job, resume=True))


def test_a_damaged_journal_is_told_and_never_learnt_around(
    corrected_project: Project, tmp_path: Path
) -> None:
    maps_of(corrected_project)
    path = corrected_project.root / "edits.sqlite"
    path.write_bytes(path.read_bytes()[:700])
    root = str(corrected_project.root)
    for job in (
        Train(project=root, method="psa", epochs=1, settings={**TINY, "seeds": "seeds"}, device="cpu"),
        Export(project=root, labels="corrected", format="png", out=str(tmp_path / "out")),
        Evaluate(project=root, labels="corrected"),
    ):
        assert "edits.sqlite" in failed(job)
    status = status_of(open_project(corrected_project.root))["corrected"]
    assert status["images"] is None and "edits.sqlite" in status["notes"][0]


# ---- counted and left alone


def test_status_counts_the_states(corrected_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from engine.cli import main

    status = status_of(corrected_project)["corrected"]
    assert status == {
        "images": 4,
        "states": {"in progress": 1, "approved": 2, "rejected": 1},
        "notes": status["notes"],
    }
    assert main(["status", "-p", str(corrected_project.root)]) == 0
    assert "in progress 1, approved 2, rejected 1" in capsys.readouterr().out


def test_no_job_writes_over_a_persons_work(corrected_project: Project, tmp_path: Path) -> None:
    project, root = corrected_project, str(corrected_project.root)
    before = work_of(project)
    done(
        Train(
            project=root, method="cam", run="first", epochs=1, batch=4, crop=48, settings=TINY, device="cpu"
        )
    )
    done(Infer(project=root, run="first", settings={"scales": "1.0", "flip": "false"}, device="cpu"))
    for _ in range(2):
        done(Label(project=root, source="first", name="seed", threads=1))
    done(Refine(project=root, refiner="par", source="first", run="par", threads=1, device="cpu"))
    done(Label(project=root, source="par", name="refined", threads=1))
    done(Queue(project=root, order="change", labels="refined", others=("seed",)))
    done(Evaluate(project=root, labels="corrected"))
    done(Export(project=root, labels="corrected", format="png", out=str(tmp_path / "out")))
    done(Import(project=root, format="png", path=str(tmp_path / "out"), name="back"))
    assert work_of(project) == before
    for job in (
        Label(project=root, source="first", name="corrected", threads=1),
        Label(project=root, source="first", name="../edited", threads=1),
        Import(project=root, format="png", path=str(tmp_path / "out"), name="corrected"),
        Import(project=root, format="png", path=str(tmp_path / "out"), name="../edited"),
        Export(project=root, labels="seed", format="png", out=str(project.root / "edited"), overwrite=True),
    ):
        failed(job)
    assert work_of(project) == before


def test_a_tag_edited_here_makes_what_was_made_from_it_stale(corrected_project: Project) -> None:
    project, root = corrected_project, str(corrected_project.root)
    done(
        Train(
            project=root, method="cam", run="first", epochs=1, batch=4, crop=48, settings=TINY, device="cpu"
        )
    )
    done(Infer(project=root, run="first", settings={"scales": "1.0", "flip": "false"}, device="cpu"))
    done(Label(project=root, source="first", name="seed", threads=1))
    labels = label_set(project.root, project.colours, "seed")
    assert stale(project, labels) == []
    project.set_tags([("im_000", "blue", 1)])
    for box in (run_of(project.root, "first"), source_of(project.root, "first"), labels):
        assert stale(project, box) == ["Tags changed since it was trained."]
