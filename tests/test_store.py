"""The project on disk: made whole, moved, mended by hand, cut short, forged, and opened again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image as Pillow

from engine.errors import UserError
from engine.images import digest
from engine.messages import Finished, Metrics, Said, Started
from engine.results import CamStack
from engine.store import (
    Image,
    Project,
    TruthPlace,
    check_name,
    create,
    digest_of,
    file_digest,
    free_name,
    image_set_digest,
    indexed_png,
    is_name,
    label_set,
    label_sets,
    new_run,
    open_project,
    read_stack,
    run_of,
    runs_of,
    source_of,
    stale,
    tag_digest,
)
from engine.store.truth import has_truth, read_truth
from engine.tags import ABSENT, PRESENT, UNKNOWN, Tags

FROZEN = Path(__file__).resolve().parent / "data" / "schema1"
CLASSES = ("red", "green", "blue")
STEMS = ("a", "b", "c")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with images, truth and a project of three images and three classes."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "truth").mkdir()
    images = []
    for n, stem in enumerate(STEMS):
        file = tmp_path / "images" / f"{stem}.png"
        Pillow.fromarray(rng.integers(0, 255, (8, 10, 3), dtype=np.uint8)).save(file)
        Pillow.fromarray(np.full((8, 10), n, np.uint8)).save(tmp_path / "truth" / f"{stem}.png")
        splits = ("train",) if n < 2 else ("val", "hard")
        images.append(Image(stem, file.name, 8, 10, sha256=digest(file), splits=splits))
    states = np.array([[1, 0, 0], [0, 1, 1], [-1, -1, -1]], np.int8)
    create(
        tmp_path / "project",
        images=images,
        image_folder=tmp_path / "images",
        tags=Tags(CLASSES, STEMS, states),
        truth=TruthPlace(tmp_path / "truth", CLASSES),
    )
    return tmp_path


@pytest.fixture
def project(place: Path) -> Project:
    return open_project(place / "project")


def told(path: Path) -> str:
    """What a person reads who opens a damaged project: two parts at least, and no trace."""
    with pytest.raises(UserError) as raised:
        open_project(path).tags()
    assert raised.value.found and raised.value.accepted and raised.value.todo
    return str(raised.value)


def trained(project: Project, **facts) -> object:
    """A finished run with weights, views of every image, and the digests of a training."""
    run = new_run(project.root, None, "cam", {"method": "cam", "version": 1, **facts})
    run.weights.write_bytes(b"weights")
    stems = project.usable
    run.update(
        status="finished",
        digests={
            "stems": list(stems),
            "images": image_set_digest(project, stems),
            "tags": tag_digest(project, stems),
        },
    )
    views = run.views()
    for stem in stems:
        image = project.images[stem]
        CamStack(
            image=stem, size=(image.height, image.width), classes=(0,), maps=np.ones((1, 2, 3), np.float16),
            peaks=np.ones(1, np.float32), cell=4.0, origin=0.0, scores=np.ones(3, np.float32), facts={"digest": "d"},
        ).save(views.path(stem))  # fmt: skip
    made_by = {"method": "cam", "version": 1, "weights": file_digest(run.weights)}
    (views.folder / "views.json").write_text(json.dumps(made_by))
    return run


# --- making and opening ----------------------------------------------------------------------------


def test_what_was_made_is_what_is_opened(place: Path, project: Project) -> None:
    assert project.name == "project" and project.classes == CLASSES and len(set(project.colours)) == 3
    assert project.usable == STEMS and project.image_folder == (place / "images").resolve()
    assert project.splits == {"train": ("a", "b"), "val": ("c",), "hard": ("c",)}
    assert project.read("a").pixels.shape == (8, 10, 3)
    assert project.tags().states.tolist() == [[1, 0, 0], [0, 1, 1], [-1, -1, -1]]
    assert project.truth_place == TruthPlace((place / "truth").resolve(), CLASSES)
    assert repr(project) == "Project('project', 3 images, 3 classes)"
    assert sorted(p.name for p in project.root.iterdir()) == [
        "exports", "images.csv", "labels", "runs", "tags.csv", "wsss.toml"
    ]  # fmt: skip
    assert open_project(project.root / "wsss.toml").root == project.root
    assert not list(place.glob(".part-*"))


def test_the_whole_tree_may_move(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert str(place) not in "".join(
        (place / "project" / name).read_text() for name in ("wsss.toml", "images.csv", "tags.csv")
    )
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "deep" / "tree"
    shutil.move(place, elsewhere)
    project = open_project(elsewhere / "project")
    assert project.read("a").pixels.shape == (8, 10, 3)
    assert read_truth(project, "b") is not None and project.image_folder.is_relative_to(elsewhere.resolve())


def test_nothing_is_made_where_something_stands(place: Path, project: Project) -> None:
    tags = Tags.blank(CLASSES, STEMS)
    images = list(project.images.values())
    (place / "file").write_text("x")
    (place / "empty").mkdir()
    for name in ("project", "images", "file"):
        before = sorted(p.name for p in place.iterdir())
        with pytest.raises(UserError, match=r"empty|already"):
            create(place / name, images=images, image_folder=place / "images", tags=tags)
        assert sorted(p.name for p in place.iterdir()) == before
    create(place / "empty", images=images, image_folder=place / "images", tags=tags)
    assert open_project(place / "empty").usable == STEMS


@pytest.mark.parametrize("name", ["Übung 3", "猫", "photos (copy)", "a+b,c"])
def test_a_project_may_be_called_as_folders_are(place: Path, project: Project, name: str) -> None:
    images = list(project.images.values())
    made = create(place / name, images=images, image_folder=place / "images", tags=Tags.blank(CLASSES, STEMS))
    assert open_project(place / name).name == made.name == name


def test_names_of_runs_views_and_labels() -> None:
    for name in ("cam", "cam-2", "_x", "1.5+b", "a" * 64):
        assert is_name(name) and check_name(name, "a run") == name
    for name in (
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "a b",
        "-x",
        "a" * 65,
        "a.",
        "CON",
        "nul.txt",
        "ü",
        "a\n",
        "a\0",
    ):
        assert not is_name(name)
        with pytest.raises(UserError, match="cannot name a run"):
            check_name(name, "a run")
    assert free_name("x", {"x", "x-2"}.__contains__) == "x-3"


def test_splits(project: Project) -> None:
    assert project.stems() == project.stems("all") == STEMS
    assert project.stems("val") == ("c",) and project.stems(images=("c", "a", "c")) == ("c", "a")
    assert project.stems("train", ("c",)) == ("c",), "images win over the split"
    with pytest.raises(UserError, match="Did you mean 'train'"):
        project.stems("trian")
    with pytest.raises(UserError, match="Did you mean"):
        project.stems(images=("aa",))
    project.set_aside("c", "blurred")
    with pytest.raises(UserError, match="no image to work on"):
        project.stems("val")
    assert open_project(project.root).splits == {"train": ("a", "b"), "val": (), "hard": ()}
    assert project.splits["val"] == ()


def test_without_splits_train_means_every_image(place: Path, project: Project) -> None:
    text = (project.root / "images.csv").read_text()
    (project.root / "images.csv").write_text(text.replace("train", "").replace("val;hard", ""))
    assert open_project(project.root).stems("train") == STEMS
    with pytest.raises(UserError, match="no split 'val'"):
        open_project(project.root).stems("val")


def test_an_image_set_aside_is_out_of_all_work_and_keeps_its_tags(project: Project) -> None:
    project.set_aside("a", 'he said "no", twice\nand left')
    again = open_project(project.root)
    assert again.usable == ("b", "c") and again.tags().stems == ("b", "c")
    assert again.images["a"].aside == 'he said "no", twice\nand left'
    again.set_aside("a", "")
    assert open_project(project.root).tags().present("a") == (0,)
    with pytest.raises(UserError):
        project.set_aside("nobody", "x")


def test_colours(project: Project) -> None:
    project.recolour({"green": "#010203"})
    assert open_project(project.root).colours[1] == "#010203"
    with pytest.raises(ValueError, match="colour"):
        project.recolour({"green": "lime"})
    assert open_project(project.root).colours[1] == "#010203"


# --- tags ------------------------------------------------------------------------------------------


def log(project: Project) -> list[list[str]]:
    with (project.root / "tags.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_last_word_wins_and_every_word_is_kept_with_who_and_when(project: Project) -> None:
    before = len(log(project))
    project.set_tags([("a", "green", PRESENT), ("c", "*", ABSENT)], author='ann, the "boss"\nx')
    project.set_tags([("a", "green", UNKNOWN), ("c", "blue", PRESENT)])
    assert project.tags().states.tolist() == [[1, -1, 0], [0, 1, 1], [0, 0, 1]]
    rows = log(project)[before:]
    assert [r[:3] for r in rows] == [
        ["a", "green", "present"], ["c", "*", "absent"], ["a", "green", "unknown"], ["c", "blue", "present"]
    ]  # fmt: skip
    assert (
        rows[0][3] == 'ann, the "boss" x'
        and rows[2][3]
        and all(r[4][10] == "T" and "+" in r[4][-6:] for r in rows)
    )
    assert log(project)[0] == ["image", "tag", "state", "who", "when"]


def test_wrong_tags_write_nothing(project: Project) -> None:
    before = (project.root / "tags.csv").read_bytes()
    for change in (("a", "gren", 1), ("nobody", "red", 1)):
        with pytest.raises(UserError):
            project.set_tags([("a", "red", 0), change])
    with pytest.raises(KeyError):
        project.set_tags([("a", "red", 7)])
    assert (project.root / "tags.csv").read_bytes() == before


def test_another_process_may_write_tags_too(project: Project) -> None:
    other = open_project(project.root)
    assert project.tags().present("a") == (0,)
    other.set_tags([("a", "blue", PRESENT)])
    assert project.tags().present("a") == (0, 2)


def test_a_line_cut_short_is_passed_over_wherever_it_was_cut(project: Project) -> None:
    path = project.root / "tags.csv"
    whole = path.read_bytes()
    line = 'c,"gr""een, ü",present,ann,2026-01-02T03:04:05+01:00\r\n'.encode()
    for cut in range(1, len(line)):
        torn = line[:cut]
        path.write_bytes(whole + torn)
        if torn.count(b",") < 5:  # with all its cells it is a line, and names a class that is none
            assert open_project(project.root).tags().states[2].tolist() == [-1, -1, -1]
            project.set_tags([("c", "red", PRESENT)])
            assert open_project(project.root).tags().states[2].tolist() == [1, -1, -1], torn


def test_every_cut_of_the_log_is_an_earlier_state_or_damage(project: Project) -> None:
    path = project.root / "tags.csv"
    whole = path.read_bytes()
    first = whole.index(b"\n")
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        if cut < first - 1:
            assert "header" in told(project.root) or "empty" in told(project.root)
        else:
            open_project(project.root).tags()
    path.unlink()
    assert "no tags.csv" in told(project.root)
    with pytest.raises(UserError, match=r"no tags\.csv"):
        project.set_tags([("a", "red", PRESENT)])
    assert not path.exists(), "a new log would hold this tag alone"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a,red,maybe,x,y", "line 4: 'red' is 'maybe'"),
        ("a,rde,present,x,y", "Did you mean 'red'?"),
        ("a,red,present,x,y,z", "line 4: 6 cells"),
        ('a,"red",presnt,x,y', "Did you mean 'present'?"),
    ],
)
def test_a_senseless_line_is_named(project: Project, line: str, found: str) -> None:
    path = project.root / "tags.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:3], line, *rows[3:]]) + "\n")
    assert found in told(project.root)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00i", b"\0" * 100, b"image;tag\n", b"a,red,present,x,y\n"])
def test_a_log_that_is_none_is_damage_and_not_an_empty_list(project: Project, data: bytes) -> None:
    (project.root / "tags.csv").write_bytes(data)
    told(project.root)


def test_a_log_edited_by_hand(project: Project) -> None:
    path = project.root / "tags.csv"
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\nc,red,present,me,today")
    assert open_project(project.root).tags().present("c") == (0,)
    path.write_text(text + "stranger,red,present,me,today\n")
    assert open_project(project.root).tags().states.tolist() == project.tags().states.tolist()


def test_a_new_class_is_unknown_on_every_image(project: Project) -> None:
    project.set_aside("b", "later")
    project.add_class("violet")
    again = open_project(project.root)
    assert again.classes == project.classes == (*CLASSES, "violet") and len(set(again.colours)) == 4
    # "All others absent" was said of a list that did not have it.
    assert project.tags().states.tolist() == again.tags().states.tolist() == [[1, 0, 0, -1], [-1, -1, -1, -1]]
    again.set_aside("b", "")
    assert open_project(project.root).tags().row("b").tolist() == [0, 1, 1, -1]
    for name in ("violet", "Violet", "", " x", "a;b", "background", "x" * 65, "*", "a\nb"):
        with pytest.raises(UserError):
            again.add_class(name)
    assert open_project(project.root).classes == (*CLASSES, "violet")


def test_a_kill_while_adding_a_class_leaves_the_old_project(project: Project, monkeypatch) -> None:
    def killed(self) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Project, "_write_facts", killed)
    with pytest.raises(KeyboardInterrupt):
        project.add_class("violet")
    again = open_project(project.root)
    assert again.classes == CLASSES and again.tags().states.tolist() == [[1, 0, 0], [0, 1, 1], [-1, -1, -1]]


# --- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "empty"),
        (b"schema = 1\nname = \nx = 1", "line 2"),
        (b"name = 'x'\n", "schema = None"),
        (b"schema = 1\n", "lacks 'name'"),
        (b"schema = 'one'\n", "schema = 'one'"),
        (b"schema = true\n", "schema = True"),
        (b"schema = 0\n", "schema = 0"),
        (b"\xff\xfe\x00", "damaged"),
        (b"schema = 1\nx = " + b"[" * 5000, "damaged"),
        (b"schema = 1\nname = 'x'\nclasses = 3\n", "damaged"),
        (b"schema = 1\nname = 'x'\nclasses = [3]\n", "damaged"),
        (b"#" * (5 << 20), "MiB"),
    ],
    ids=lambda v: str(v)[:24],
)
def test_a_damaged_project_file(project: Project, data: bytes, found: str) -> None:
    (project.root / "wsss.toml").write_bytes(data)
    assert found in told(project.root) and "wsss.toml" in told(project.root)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "green"', 'name = "red"'),
        ('name = "green"', 'name = "Red"'),
        ('name = "green"', 'name = ""'),
        ('name = "green"', 'name = "a\\nb"'),
        ('name = "green"', 'name = "*"'),
        ('name = "green"', "name = 3"),
        ('name = "green"', ""),
        ("#E69F00", "orange"),
        ("#E69F00", "#E69F0"),
        ('folder = "../images"', "folder = 3"),
        ('folder = "../images"', ""),
        ('folder = "../images"', 'folder = "a\\u0000b"'),
        ('folder = "../truth"', ""),
        ("red", "\\u001b[2J"),
    ],
)
def test_forged_facts(project: Project, old: str, new: str) -> None:
    file = project.root / "wsss.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    told(project.root)


def test_too_many_truth_classes(project: Project) -> None:
    file = project.root / "wsss.toml"
    start = file.read_text().split("[truth]")[0]
    file.write_text(
        start + f'[truth]\nfolder = "../truth"\nclasses = {json.dumps([f"c{n}" for n in range(300)])}\n'
    )
    assert "300 truth classes" in told(project.root)


def rewritten(project: Project, change) -> Path:
    file = project.root / "images.csv"
    rows = list(csv.reader(file.open(newline="")))
    change(rows)
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    return file


def cell(line: int, column: str, value: str):
    def change(rows: list[list[str]]) -> None:
        rows[line - 1][rows[0].index(column)] = value

    return change


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (cell(3, "height", "tall"), "line 3"),
        (cell(3, "width", "-1"), "line 3"),
        (cell(3, "width", "0"), "line 3"),
        (cell(3, "height", "9" * 5000), "line 3"),
        (cell(3, "image", "a"), "'a' stands twice"),
        (cell(2, "image", ""), "line 2"),
        (cell(2, "image", "../../evil"), "line 2"),
        (cell(2, "image", "x/y"), "line 2"),
        (cell(2, "image", "x\\y"), "line 2"),
        (cell(2, "image", ".."), "line 2"),
        (cell(2, "image", "bell\a"), "line 2"),
        (cell(2, "image", "x" * 300), "line 2"),
        (lambda rows: rows[2].pop(), "too few cells"),
        (lambda rows: rows[2].append("more"), "too many cells"),
        (lambda rows: rows[0].__setitem__(1, "path"), "no column file"),
        (lambda rows: rows.__delitem__(slice(1, None)), "lists no image"),
        (cell(2, "aside", "x" * 200_000), "line 2"),
    ],
)
def test_a_damaged_image_list(project: Project, change, found: str) -> None:
    rewritten(project, change)
    assert found in told(project.root) and "images.csv" in told(project.root)


def test_every_cut_of_the_image_list_but_at_a_line_end_is_damage(project: Project) -> None:
    file = project.root / "images.csv"
    whole = file.read_bytes()
    ends = {n for n, byte in enumerate(whole) if byte == 10}
    heard = 0
    for cut in range(len(whole) - 2):
        file.write_bytes(whole[:cut])
        try:
            found = open_project(project.root)
        except UserError:
            heard += 1
        else:
            # Whole lines are a list that somebody shortened by hand; the last cell of a line is empty here.
            assert cut - 1 in ends or cut + 1 in ends or cut in ends
            assert all(len(i.sha256) == 64 for i in found.images.values()) and found.images
    assert heard > len(whole) - 10
    file.unlink()
    assert "no images.csv" in told(project.root)
    file.write_bytes(b"\xff\xfe" + whole)
    assert "UTF-8" in told(project.root)


@pytest.mark.parametrize("file", ["../secret.png", "/etc/passwd", "a/../../x.png", "", "..", "x\0y"])
def test_a_file_outside_the_image_folder_is_never_opened(place: Path, project: Project, file: str) -> None:
    Pillow.fromarray(np.zeros((8, 10, 3), np.uint8)).save(place / "secret.png")
    list_file = project.root / "images.csv"
    list_file.write_bytes(list_file.read_bytes().replace(b"a,a.png", b"a," + file.encode()))
    try:
        opened = open_project(project.root)
    except UserError:
        return
    for touch in (opened.path, opened.read):
        with pytest.raises(UserError, match=r"images\.csv names the file"):
            touch("a")
    with pytest.raises(UserError, match=r"images\.csv names the file"):
        opened.relink(place / "images")


@pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
def test_a_colon_in_a_file_name_is_a_name_here(place: Path, project: Project) -> None:
    (place / "images" / "a.png").rename(place / "images" / "12:30.png")
    rewritten(project, cell(2, "file", "12:30.png"))
    assert open_project(project.root).read("a").pixels.shape == (8, 10, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
@pytest.mark.parametrize("name", ["wsss.toml", "images.csv", "tags.csv"])
def test_a_pipe_in_the_place_of_a_file_does_not_hang(project: Project, name: str) -> None:
    (project.root / name).unlink()
    os.mkfifo(project.root / name)
    told(project.root)


def test_what_is_no_project(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "wsss.toml"):
        with pytest.raises(UserError, match="is no project"):
            open_project(path)


def test_what_killed_writers_left_is_cleared_once_it_is_old(project: Project) -> None:
    run = new_run(project.root, None, "cam", {})
    old, young = [], []
    for folder in (
        project.root,
        project.root / "labels",
        project.root / "runs",
        project.root / "exports",
        run.folder,
    ):
        for made, name in ((old, ".part-old"), (young, ".part-young")):
            (folder / name).mkdir()
            (folder / name / "x").write_text("x")
            made.append(folder / name)
    for part in old:
        os.utime(part, (0, 0))
    open_project(project.root)
    assert not any(p.exists() for p in old) and all(p.exists() for p in young)
    assert [r.id for r in runs_of(project.root)] == ["cam"] and label_sets(
        project.root, project.colours
    ) == []


# --- images and truth that moved -------------------------------------------------------------------


def test_relink(place: Path, project: Project) -> None:
    shutil.move(place / "images", place / "moved")
    with pytest.raises(UserError, match="wsss relink"):
        project.read("a")
    with pytest.raises(UserError, match="lacks 3 of the project's 3 images"):
        project.relink(place / "truth" / "nowhere")
    assert project.relink(place / "moved") == []
    assert open_project(project.root).read("a").pixels.shape == (8, 10, 3)
    assert 'folder = "../moved"' in (project.root / "wsss.toml").read_text()
    (place / "moved" / "b.png").unlink()
    before = {f.name: f.read_bytes() for f in project.root.iterdir() if f.is_file()}
    with pytest.raises(UserError, match=r"lacks 1 of the project's 3 images: b\.png"):
        project.relink(place / "moved")
    assert before == {f.name: f.read_bytes() for f in project.root.iterdir() if f.is_file()}
    project.set_aside("b", "lost")
    assert project.relink(place / "moved") == [], "an image that is set aside need not be there"


def test_relink_takes_over_what_changed_and_says_so(place: Path, project: Project) -> None:
    run = trained(project)
    assert stale(project, run) == []
    Pillow.fromarray(np.zeros((9, 11, 3), np.uint8)).save(place / "images" / "b.png")
    (said,) = project.relink(place / "images")
    assert said.startswith("1 image(s) differ") and "b" in said
    again = open_project(project.root)
    assert (again.images["b"].height, again.images["b"].width) == (9, 11)
    assert again.images["b"].sha256 == digest(place / "images" / "b.png")
    assert stale(again, run) == ["Images changed since it was trained."]


def test_a_relink_that_fails_changes_nothing(place: Path, project: Project) -> None:
    shutil.copytree(place / "images", place / "other")
    (place / "other" / "a.png").write_bytes(b"no image")
    Pillow.fromarray(np.zeros((9, 11, 3), np.uint8)).save(place / "other" / "b.png")
    before = {f.name: f.read_bytes() for f in project.root.iterdir() if f.is_file()}
    images = dict(project.images)
    with pytest.raises(UserError):
        project.relink(place / "other")
    with pytest.raises(UserError, match="no folder"):
        project.relink(place / "other", place / "nowhere")
    assert before == {f.name: f.read_bytes() for f in project.root.iterdir() if f.is_file()}
    assert project.images == images and project.image_folder == (place / "images").resolve()


def test_truth(place: Path, project: Project) -> None:
    assert has_truth(project, "a") and np.unique(read_truth(project, "c")).tolist() == [2]
    shutil.move(place / "truth", place / "masks")
    assert not has_truth(project, "a") and read_truth(project, "a") is None
    project.relink(truth=place / "masks")
    assert np.unique(read_truth(open_project(project.root), "c")).tolist() == [2]
    for size, value, words in (((8, 11), 0, "11 x 8 px, its image 10 x 8"), ((8, 10), 4, "index 4")):
        Pillow.fromarray(np.full(size, value, np.uint8)).save(place / "masks" / "a.png")
        with pytest.raises(UserError, match=words):
            read_truth(project, "a")
    (place / "masks" / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError):
        read_truth(project, "a")


def test_truth_in_the_order_of_others(place: Path, project: Project) -> None:
    file = project.root / "wsss.toml"
    start = file.read_text().split("[truth]")[0]
    file.write_text(start + '[truth]\nfolder = "../truth"\nclasses = ["blue", "sky", "red"]\n')
    Pillow.fromarray(np.array([[0, 1, 2, 3, 255] * 2] * 8, np.uint8)).save(place / "truth" / "a.png")
    # Blue is the project's third class, sky none of it, red its first.
    assert read_truth(open_project(project.root), "a")[0, :5].tolist() == [0, 3, 0, 1, 255]


def test_without_truth(place: Path, project: Project) -> None:
    file = project.root / "wsss.toml"
    file.write_text(file.read_text().split("[truth]")[0])
    again = open_project(project.root)
    assert again.truth_place is None and not has_truth(again, "a") and read_truth(again, "a") is None
    with pytest.raises(UserError, match="no truth masks to relink"):
        again.relink(truth=place / "truth")


# --- runs ------------------------------------------------------------------------------------------


def test_a_run_lives_as_long_as_its_process(project: Project) -> None:
    run = new_run(project.root, None, "cam", {"method": "cam"})
    assert run.status == "interrupted", "made, and never begun"
    run.begin(device="cpu")
    assert run.status == "running" and not run.resumable
    here = psutil.Process()
    assert run_of(project.root, "cam").facts["process"]["pid"] == here.pid
    run.update(process={"pid": here.pid, "started": here.create_time() - 100})
    assert run.status == "interrupted" and run.resumable, "the number belongs to another process by now"
    for process in (
        None,
        {},
        [1],
        {"pid": "x", "started": 0},
        {"pid": -1, "started": 0},
        {"pid": 10**30, "started": 0},
    ):
        run.facts["process"] = process
        assert run.status == "interrupted"
    run.end("stopped")
    assert run_of(project.root, "cam").status == "stopped" and run.resumable
    run.end("finished", metrics={"loss": 1.0})
    assert run.status == "finished" and not run.resumable


def test_a_run_is_interrupted_once_its_process_was_killed(project: Project) -> None:
    code = (
        "import pathlib, sys\n"
        "from engine.store import new_run\n"
        "new_run(pathlib.Path(sys.argv[1]), 'r', 'r', {}).begin()\n"
        "print('begun', flush=True)\n"
        "sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(project.root)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline().strip() == "begun"
        run = run_of(project.root, "r")
        assert run.status == "running"
        with pytest.raises(UserError, match="is running"):
            run.delete()
        child.kill()
        # Dead, and not yet buried by its parent.
        until = psutil.Process(child.pid)
        while until.status() != psutil.STATUS_ZOMBIE:
            pass
        assert run.status == "interrupted"
    finally:
        child.kill()
        child.wait(timeout=30)
        child.stdin.close()
        child.stdout.close()
    assert run.status == "interrupted" and run.resumable


def test_ids_are_free_or_refused(project: Project) -> None:
    ids = [new_run(project.root, None, "cam", {}).id for _ in range(3)]
    assert ids == ["cam", "cam-2", "cam-3"]
    assert new_run(project.root, "mine", "cam", {"x": 1}).facts["x"] == 1
    with pytest.raises(UserError, match="a run 'mine' already"):
        new_run(project.root, "mine", "cam", {})
    with pytest.raises(UserError, match="cannot name"):
        new_run(project.root, "../x", "cam", {})
    assert [r.id for r in runs_of(project.root)] == ["cam", "cam-2", "cam-3", "mine"]
    assert run_of(project.root, "mine").facts["x"] == 1
    with pytest.raises(UserError, match="Did you mean 'cam-3'"):
        run_of(project.root, "cam-33")
    with pytest.raises(UserError):
        run_of(project.root, "../project")


def test_a_kill_while_a_run_is_made_leaves_none(project: Project, monkeypatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.store.runs.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        new_run(project.root, None, "cam", {})
    assert runs_of(project.root) == [] and not list((project.root / "runs").glob("cam*"))


def test_rename_size_and_delete(project: Project) -> None:
    run = new_run(project.root, None, "cam", {})
    assert run.title == "cam"
    run.rename("  first\n try " + "x" * 200)
    assert run_of(project.root, "cam").title.startswith("first try xx") and len(run.title) == 120
    run.rename(" ")
    assert run.title == run.id == "cam"
    before = run.size()
    (run.folder / "views").mkdir()
    (run.folder / "views" / "x").write_bytes(bytes(1000))
    assert run.size() == before + 1000
    run.delete()
    assert runs_of(project.root) == [] and not list((project.root / "runs").iterdir())
    again = new_run(project.root, None, "cam", {})
    (project.root / "runs" / ".part-cam").mkdir()
    (project.root / "runs" / ".part-cam" / "left").write_text("by a kill")
    again.delete()
    assert runs_of(project.root) == []


def test_a_run_that_another_process_goes_on_with_is_not_deleted(project: Project) -> None:
    mine = new_run(project.root, None, "cam", {"status": "stopped"})
    run_of(project.root, "cam").begin()
    assert mine.status == "stopped", "as it was read"
    with pytest.raises(UserError, match="is running"):
        mine.delete()


def test_damaged_runs_are_listed_and_can_be_deleted(project: Project) -> None:
    for name, data in {
        "cut": b'{"status": "fin',
        "list": b"[]",
        "deep": b"[" * 99999,
        "bytes": b"\xff",
    }.items():
        new_run(project.root, name, name, {})
        (project.root / "runs" / name / "run.json").write_bytes(data)
    (project.root / "runs" / "empty").mkdir()
    (project.root / "runs" / "not a name").mkdir()
    (project.root / "runs" / "file").write_text("x")
    found = runs_of(project.root)
    assert [r.id for r in found] == ["bytes", "cut", "deep", "empty", "list"]
    assert {r.status for r in found} == {"failed"}
    with pytest.raises(UserError, match="missing or damaged"):
        run_of(project.root, "cut")
    found[1].delete()
    assert not (project.root / "runs" / "cut").exists()


def test_events_survive_torn_and_foreign_lines(project: Project) -> None:
    run = new_run(project.root, None, "cam", {})
    assert list(run.events()) == []
    told_events = [
        Started(kind="train", run="cam"),
        Metrics(step=1, values={"loss": 0.5}),
        Said(text="é\u2028x"),
    ]
    for event in told_events:
        run.record(event)
    assert list(run.events()) == told_events
    with run.log.open("ab") as file:
        file.write(b'{"event": "metrics", "step": 2, "val')
    assert list(run.events()) == told_events
    run.begin()  # going on closes the torn line, or it would swallow the next event
    run.record(Finished(result={}))
    assert list(run.events()) == [*told_events, Finished(result={})]
    with run.log.open("ab") as file:
        file.write(b'[]\n\xff\n{"verb": "methods"}\n{"event": "none"}\n' + b"x" * (5 << 20) + b"\n")
    run.record(Said(text="end"))
    assert list(run.events()) == [*told_events, Finished(result={}), Said(text="end")]


def test_views_and_sources(project: Project) -> None:
    run = trained(project)
    views = source_of(project.root, "cam")
    assert (
        str(views) == "cam/default"
        and views.stems() == STEMS == source_of(project.root, "cam/default").stems()
    )
    assert views.stems("trace") == () and run.views("other").stems() == () and run.views("other").facts == {}
    assert [v.name for v in run.all_views()] == ["default"]
    for source in ("nobody", "cam/other", "cam/defalt", "cam/../x", "cam/a/b", "", "/", "../cam"):
        with pytest.raises(UserError):
            source_of(project.root, source)
    with pytest.raises(UserError, match="Did you mean 'default'"):
        source_of(project.root, "cam/defalt")
    (views.folder / "views.json").write_text("{")
    assert views.facts == {}


def test_a_stack_must_belong_to_its_image_and_project(project: Project) -> None:
    views = trained(project).views()
    good = read_stack(project, views, "a")
    good.save(views.path("b"))
    with pytest.raises(UserError, match="drawn for a of 10 x 8"):
        read_stack(project, views, "b")
    with pytest.raises(FileNotFoundError):
        read_stack(project, views.run.views("other"), "a")
    for other in ({"size": (1 << 16, 1 << 16)}, {"classes": (3,)}):
        CamStack(**{**vars(good), **other}).save(views.path("a"))
        with pytest.raises(UserError, match="wsss infer cam"):
            read_stack(project, views, "a")


# --- staleness -------------------------------------------------------------------------------------


def test_nothing_is_stale_at_first_and_tags_that_were_not_learnt_from_do_not_count(project: Project) -> None:
    run = trained(project)
    assert stale(project, run) == stale(project, run.views()) == []
    run.update(digests={**run.facts["digests"], "stems": ["a"], "images": image_set_digest(project, ("a",)),
                        "tags": tag_digest(project, ("a",))})  # fmt: skip
    project.set_tags([("b", "red", PRESENT)])
    assert stale(project, run) == []
    project.set_tags([("a", "red", ABSENT)])
    assert stale(project, run) == ["Tags changed since it was trained."]
    project.set_tags([("a", "red", PRESENT)])
    assert stale(project, run) == [], "set back, it is what it was"


def test_each_reason_is_told(project: Project) -> None:
    run = trained(project)
    labels = label_set(project.root, project.colours, "seed", new=True)
    labels.write_facts({"source": "cam/default", "drawn": digest_of(run.views().facts)})
    assert stale(project, labels) == []
    assert stale(project, run, {"cam": 1}) == stale(project, labels, {"other": 9}) == []
    version = ["The method cam changed: it was version 1 then and is version 2 now."]
    assert stale(project, run, {"cam": 2}) == stale(project, run.views(), {"cam": 2}) == version
    run.weights.write_bytes(b"others")
    again = ["The run was trained again after these views were drawn."]
    assert stale(project, run) == [] and stale(project, run.views()) == stale(project, labels) == again
    facts = {**run.views().facts, "weights": file_digest(run.weights), "settings": {"flip": False}}
    (run.views().folder / "views.json").write_text(json.dumps(facts))
    assert stale(project, run.views()) == []
    assert stale(project, labels) == [
        "The views cam/default were drawn otherwise after these labels were made."
    ]
    project.add_class("violet")
    assert stale(project, run) == ["Tags changed since it was trained."]
    project.set_aside("a", "x")
    assert stale(project, run) == ["Images that it was trained on were set aside."]
    del project.images["a"]
    assert stale(project, run) == ["Images that it was trained on left the project."]
    run.delete()
    assert stale(project, labels) == ["The views cam/default that they were made from are gone."]


@pytest.mark.parametrize(
    "digests", [None, [], 3, {}, {"stems": 3}, {"stems": [["a"], 3]}, {"stems": ["nobody"]}]
)
def test_forged_digests_never_raise(project: Project, digests: object) -> None:
    run = new_run(project.root, None, "cam", {"digests": digests, "version": []})
    assert isinstance(stale(project, run, {"cam": 1}), list)


def test_digests() -> None:
    assert digest_of({"b": 1, "a": [1.5, "é"]}) == digest_of({"a": [1.5, "é"], "b": 1}) != digest_of({})
    assert len(digest_of(None)) == 16 and file_digest(Path("no such file")) == ""
    with pytest.raises(ValueError):
        digest_of(float("nan"))


# --- labels ----------------------------------------------------------------------------------------


def test_labels(project: Project) -> None:
    labels = label_set(project.root, project.colours, "seed", new=True)
    assert labels.stems() == () and labels.facts == {} and labels.digest("a") == ""
    mask = np.array([[0, 1, 2], [3, 255, 0]], np.uint8)
    labels.write("a", mask, "abc")
    labels.write("dotted.v2", mask)
    assert (
        labels.stems() == ("a", "dotted.v2")
        and labels.digest("a") == "abc"
        and labels.digest("dotted.v2") == ""
    )
    np.testing.assert_array_equal(labels.read("a"), mask)
    with Pillow.open(labels.path("a")) as image:
        assert image.mode == "P"
        palette = image.getpalette()
        assert (
            palette[:3] == [0, 0, 0] and palette[3:6] == [0, 0x72, 0xB2] and palette[765:] == [224, 224, 192]
        )
    with pytest.raises(FileNotFoundError):
        labels.read("b")
    assert [s.name for s in label_sets(project.root, project.colours)] == ["seed"]
    for name in ("sed", "../labels/seed", ".part-x", ""):
        with pytest.raises(UserError):
            label_set(project.root, project.colours, name)
    with pytest.raises(UserError, match="corrected"):
        label_set(project.root, project.colours, "corrected", new=True)
    labels.clear()
    assert labels.stems() == () and labels.folder.is_dir()


def test_every_cut_of_a_label_is_damage(project: Project) -> None:
    labels = label_set(project.root, project.colours, "seed", new=True)
    mask = np.random.default_rng(0).integers(0, 4, (8, 10), dtype=np.uint8)
    labels.write("a", mask, "abc")
    whole = labels.path("a").read_bytes()
    cuts = range(0, len(whole), 7)
    whole_yet = 0
    for cut in cuts:
        labels.path("a").write_bytes(whole[:cut])
        assert labels.digest("a") == "", "it is made again"
        try:
            found = labels.read("a")
        except UserError:
            continue
        np.testing.assert_array_equal(found, mask)  # the cut lies behind the last pixel
        whole_yet += 1
    assert whole_yet <= 4


def test_hostile_labels_are_sentences(project: Project) -> None:
    labels = label_set(project.root, project.colours, "seed", new=True)
    labels.write("a", np.zeros((8, 10), np.uint8), "abc")
    data = bytearray(labels.path("a").read_bytes())
    data[16:24] = b"\x00\x01\x00\x00\x00\x01\x00\x00"  # 65536 x 65536 px
    labels.path("a").write_bytes(data)
    assert labels.digest("a") == ""
    with pytest.raises(UserError):
        labels.read("a")
    for text in (b"[]", b"{", b"[" * 99999, b"\xff"):
        (labels.folder / "rule.json").write_bytes(text)
        assert labels.facts == {}


def test_masks_of_few_values_keep_eight_bits() -> None:
    for mask in (np.zeros((3, 3), np.uint8), np.full((3, 3), 255, np.uint8), np.eye(3, dtype=np.uint8)):
        data = indexed_png(mask, ("#010203",))
        assert data[24] == 8 and data[25] == 3, "bit depth 8, palette"


# --- the frozen project ----------------------------------------------------------------------------


def test_a_project_of_schema_1_opens_as_it_was(tmp_path: Path) -> None:
    shutil.copytree(FROZEN, tmp_path / "schema1")
    project = open_project(tmp_path / "schema1" / "project")
    assert (
        project.name == "Frozen"
        and project.classes == ("cat", "dog")
        and project.colours == ("#0072B2", "#E69F00")
    )
    assert list(project.images) == ["a", "b.v2", "gone"] and project.usable == ("a", "b.v2")
    assert project.images["gone"] == Image("gone", "gone, too.png", 0, 0, aside="is cut short, at line 3")
    assert project.splits == {"train": ("a",), "all_good": ("a",), "val": ("b.v2",)}
    for stem, colour in (("a", (200, 40, 40)), ("b.v2", (40, 200, 40))):
        assert (project.read(stem).pixels == colour).all() and project.read(stem).pixels.shape == (16, 16, 3)
        assert digest(project.path(stem)) == project.images[stem].sha256
    assert project.tags().states.tolist() == [[1, 0], [-1, 1]]
    truth = read_truth(project, "a")
    assert np.bincount(truth.reshape(-1), minlength=256)[[0, 1, 255]].tolist() == [120, 120, 16]
    assert read_truth(project, "b.v2") is None

    (run,) = runs_of(project.root)
    assert (run.id, run.title, run.method, run.status) == ("cam", "first try", "cam", "finished")
    assert run.facts["metrics"] == {"loss": 0.25} and run.facts["params"]["backbone"] == "tiny_cnn"
    started, first, second, finished = run.events()
    assert started == Started(job="j", kind="train", run="cam", device="cpu")
    assert (first.values, second.step, second.clock) == ({"loss": 0.5}, 2, 1.0)
    assert finished == Finished(job="j", result={"run": "cam", "status": "finished"})
    from safetensors.numpy import load_file

    assert load_file(run.weights)["head.weight"].tolist() == [[0, 1], [2, 3]]

    views = source_of(project.root, "cam")
    assert views.stems() == ("a", "b.v2") and views.facts["kinds"] == ["cams"]
    stack = read_stack(project, views, "a")
    assert (
        stack.classes == (0,)
        and stack.cell == 4
        and stack.peaks.tolist() == [2.5]
        and stack.facts == {"digest": "d"}
    )
    np.testing.assert_array_equal(stack.maps, np.linspace(0, 1, 16, dtype=np.float16).reshape(1, 4, 4))
    assert read_stack(project, views, "b.v2").classes == ()

    (labels,) = label_sets(project.root, project.colours)
    assert (
        labels.name == "seed" and labels.stems() == ("a", "b.v2") and labels.digest("a") == "0123456789abcdef"
    )
    assert labels.facts["made_by"]["rule"]["value"] == 0.5
    assert np.bincount(labels.read("a").reshape(-1), minlength=256)[[0, 1, 255]].tolist() == [96, 144, 16]
    assert not labels.read("b.v2").any()
    assert stale(project, run) and stale(project, labels) == stale(project, views)

    # And it can be worked on.
    project.set_tags([("b.v2", "cat", PRESENT)])
    project.add_class("cow")
    again = open_project(project.root)
    assert again.tags().states.tolist() == [[1, 0, -1], [1, 1, -1]] and again.classes == ("cat", "dog", "cow")


def test_a_project_of_a_newer_version_is_refused_in_words_and_untouched(project: Project) -> None:
    file = project.root / "wsss.toml"
    file.write_text(file.read_text().replace("schema = 1", "schema = 2"))
    before = file.read_bytes()
    assert told(project.root).splitlines() == [
        "A newer version made this project (schema 2).",
        "This version reads schemas 1 to 1.",
        "Install the newest wsss-napari to open it.",
    ]
    assert file.read_bytes() == before
