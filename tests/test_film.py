"""Films of climbs: what each frame shows, what each format holds, and that no half file is left."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from engine import film
from engine.arrays import read_npz
from engine.errors import UserError
from engine.film import drawing, files
from engine.film.drawing import Strip, frames
from engine.film.reel import Reel
from engine.messages import Failed, Film, Finished, Progress, Said, Stopped
from engine.results import ClimbPath, enlarge, path_to, traces_in
from engine.run import run
from engine.store import Project, new_run

CLIMBS = runpy.run_path(str(Path(__file__).with_name("fake_climbs.py")))
SIZE, GRID = (48, 64), (6, 8)
STEM = "im_001"


def climb(place: Path, name: str = "0", *, size: tuple[int, int] = SIZE, **how: Any) -> ClimbPath:
    CLIMBS["write"](
        place, name, **{"size": size, "grid": GRID, "image": STEM, "pictures": True, "steps": 4, **how}
    )
    return path_to(traces_in(place), name)


def photograph(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth one: formats that keep fewer colours than pixels show it well."""
    y, x = np.mgrid[: size[0], : size[1]]
    planes = [60 + 140 * y / size[0], 200 - 140 * x / size[1], 90 + 70 * (x + y) / sum(size)]
    return np.stack(planes, -1).astype(np.uint8)


def reel_of(place: Path, name: str = "dog", **how: Any) -> Reel:
    path = climb(place, **how)
    return Reel(path, photograph(path.leaf.size), name)


def cells_of(reel: Reel, step: int, ending: str = ".mp4") -> dict[str, np.ndarray]:
    """Cut a frame into its pictures, found by their places."""
    frame = next(frames(reel, {step}, ending))
    h, w = reel.side(ending)
    wide = max(w, 160)
    top = frame.shape[0] - frame.shape[0] % 2 - h - 8 if (h + 50) % 2 == 0 else frame.shape[0] - 1 - h - 8
    found = {}
    for k, kind in enumerate(reel.kinds):
        left = 8 + k * (wide + 8) + (wide - w) // 2
        found[kind] = frame[top : top + h, left : left + w]
    return found


def a_t(path: ClimbPath, step: int) -> np.ndarray:
    raw = np.asarray(path.stacked("maps")[: step + 1], np.float64).sum(0)
    return raw / raw.max()


# --- what is shown ---------------------------------------------------------------------------------


def test_attributions_are_the_sums_over_their_peaks(tmp_path: Path) -> None:
    climb(tmp_path)
    path = climb(tmp_path, "0.1", parent="0", at=2, steps=3, strength=4.0)
    reel = Reel(path, photograph(), "dog")
    found = list(reel.attributions())
    assert len(found) == 6
    for step, now in enumerate(found):
        np.testing.assert_allclose(now, a_t(path, step), atol=1e-6)
        np.testing.assert_allclose(now, path.attribution(step), atol=1e-6)
    path = climb(tmp_path, "1", settings={"aggregate": "last"})
    for step, now in enumerate(Reel(path, photograph(), "dog").attributions()):
        raw = np.asarray(path.row("maps", step), np.float64)
        np.testing.assert_allclose(now, raw / raw.max(), atol=1e-6)


def test_each_picture_of_a_frame_is_what_it_says(tmp_path: Path) -> None:
    size = (240, 320)
    reel = reel_of(tmp_path, size=size)
    ground = reel.photograph.astype(np.float64)
    for step in (0, 3):
        cells = cells_of(reel, step)
        moved = np.asarray(reel.path.row("pictures", step)[0], np.float64).transpose(1, 2, 0)
        np.testing.assert_allclose(cells["picture"], (ground + moved).clip(0, 255), atol=0.51)
        np.testing.assert_allclose(cells["perturbation"], (128 + 8 * moved).clip(0, 255), atol=0.51)
        now = enlarge(a_t(reel.path, step)[None], size, reel.path.leaf.cell, reel.path.leaf.origin)[0]
        # inferno climbs in brightness, so the map is brightest over its peak and dark where it is 0.
        heat = cells["map"].astype(float) - 0.4 * ground
        assert heat[now > 0.95].mean() > 100 > 30 > heat[now < 0.05].mean()
        assert np.corrcoef(heat.sum(-1).ravel(), now.ravel())[0, 1] > 0.95
    before = enlarge(a_t(reel.path, 2)[None], size, reel.path.leaf.cell, reel.path.leaf.origin)[0]
    grown = now - before
    orange = cells["change"].astype(float)
    red, blue = orange[..., 0] - 0.5 * ground[..., 0], orange[..., 2] - 0.5 * ground[..., 2]
    assert (red - blue)[grown > 0.5 * grown.max()].min() > 50, "orange where there is more"
    first = cells_of(reel, 0)
    np.testing.assert_allclose(first["change"], 0.5 * ground, atol=0.51)
    np.testing.assert_array_equal(first["picture"], reel.photograph)
    assert (first["perturbation"] == 128).all()


def test_what_shrinks_is_blue(tmp_path: Path) -> None:
    writer = CLIMBS["begin"](tmp_path, "0", size=(240, 320), grid=GRID, image=STEM, steps=1,
                             settings={"aggregate": "last"})  # fmt: skip
    for t in range(2):
        maps = np.ones(GRID)
        maps[:, :4] = 0.25 if t else 1
        writer.add({**CLIMBS["row_of"](writer, t), "maps": maps})
    writer.end("finished")
    reel = Reel(path_to(traces_in(tmp_path), "0"), photograph((240, 320)), "dog")
    cell = cells_of(reel, 1)["change"]
    assert (cell[:, :60] == (60, 140, 255)).all(), "full colour: the largest change"
    np.testing.assert_allclose(cell[:, -60:], 0.5 * reel.photograph[:, -60:], atol=0.51)


def test_a_climb_without_pictures_shows_the_photograph(tmp_path: Path) -> None:
    reel = reel_of(tmp_path, size=(240, 320), pictures=False)
    assert reel.kinds == ("photograph", "map", "change")
    for step in (0, 4):
        np.testing.assert_array_equal(cells_of(reel, step)["photograph"], reel.photograph)
    told = " ".join(film.notes(reel, ".gif", 6))
    assert "kept no pictures" in told and "photograph stands for" in told
    assert "photograph" not in " ".join(film.notes(reel, ".npz", 6))
    climb(tmp_path, "0.1", parent="0", at=2, steps=2, size=(240, 320), pictures=True)
    mixed = Reel(path_to(traces_in(tmp_path), "0.1"), reel.photograph, "dog")
    assert mixed.kinds == reel.kinds, "a picture of some steps alone is none"


@pytest.mark.parametrize("size", [(48, 64), (375, 500), (1, 900), (900, 7), (1301, 1999), (200, 200), (3, 3)])
@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_frames_have_even_sides_and_fit(tmp_path: Path, size: tuple[int, int], ending: str) -> None:
    reel = reel_of(tmp_path, size=size, pictures=False, steps=1)
    (frame,) = frames(reel, {1}, ending)
    assert frame.dtype == np.uint8 and frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    h, w = reel.side(ending)
    most = {".gif": 320, ".mp4": 640}[ending]
    assert max(h, w) <= most and frame.shape[1] >= 3 * max(w, 160) and frame.shape[0] > h + 40
    if max(size) < 200:
        assert h % size[0] == w % size[1] == 0, "small pictures grow by a whole factor"
    if min(size) > 100:
        assert w / h == pytest.approx(size[1] / size[0], rel=0.01)
    scaled = any("scaled down" in text for text in film.notes(reel, ending, 6))
    assert scaled == (max(size) > most)


@pytest.mark.parametrize("name", ["x" * 64, "дом", "猫", "a\u0301", "W"])
def test_names_of_any_length_and_script_are_written(tmp_path: Path, name: str) -> None:
    reel = reel_of(tmp_path, name=name, pictures=False, steps=1, size=(900, 7))
    frame = next(frames(reel, {1}, ".mp4"))
    assert (frame[8:26] > 100).any(), "something is written"
    assert (frame[:, -8:] == 24).all(), "and nothing over the edge"


def test_a_strip_takes_ten_steps_evenly(tmp_path: Path) -> None:
    reel = reel_of(tmp_path, steps=27, size=(24, 32))
    assert reel.steps_in(".png") == (0, 3, 6, 9, 12, 15, 18, 21, 24, 27)
    assert "10 of 28 steps" in " ".join(film.notes(reel, ".png", 6))
    assert list(film.write(reel, tmp_path / "out.png")) == list(range(1, 11))
    image = Pillow.open(tmp_path / "out.png")
    h, w = reel.side(".png")
    assert (h, w) == (144, 192) and image.width == 10 * (w + 8) + 8 and image.height > 4 * h
    # The perturbations of the last column are those of step 27.
    strip = Strip(reel)
    list(strip.draw())
    np.testing.assert_array_equal(np.asarray(image), np.asarray(strip.canvas))
    row = np.asarray(image)[-2 * (h + 26) : -(h + 26), -w - 8 : -8]
    assert (row == 0).any() and (row == 255).any()
    few = reel_of(tmp_path / "few", steps=2)
    assert few.steps_in(".png") == (0, 1, 2) and "strip" not in " ".join(film.notes(few, ".png", 6))


# --- formats ---------------------------------------------------------------------------------------


def test_a_gif_holds_every_step_and_loops(tmp_path: Path) -> None:
    reel = reel_of(tmp_path, steps=6)
    assert list(film.write(reel, tmp_path / "out.gif", 4)) == [1, 2, 3, 4, 5, 6, 7]
    with Pillow.open(tmp_path / "out.gif") as image:
        assert image.n_frames == 7 and image.info["loop"] == 0
        for step, wanted in enumerate(frames(reel, range(7), ".gif")):
            image.seek(step)
            assert image.info["duration"] == 250
            shown = np.asarray(image.convert("RGB"), float)
            assert shown.shape == wanted.shape and np.abs(shown - wanted).mean() < 6
    assert "at most 50" in " ".join(film.notes(reel, ".gif", 60))
    list(film.write(reel, tmp_path / "fast.gif", 60))
    assert Pillow.open(tmp_path / "fast.gif").info["duration"] == 20


def test_an_mp4_holds_every_step_and_begins_with_its_index(tmp_path: Path) -> None:
    reel = reel_of(tmp_path, steps=6, size=(120, 161))
    assert list(film.write(reel, tmp_path / "out.mp4", 5, threads=1)) == [1, 2, 3, 4, 5, 6, 7]
    data = (tmp_path / "out.mp4").read_bytes()
    assert data[4:8] == b"ftyp" and data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "out.mp4")) as box:
        stream = box.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.pix_fmt == "yuv420p"
        assert stream.average_rate == 5 and stream.frames == 7
        assert stream.codec_context.colorspace == stream.codec_context.color_primaries == 1
        decoded = list(box.decode(stream))
    wanted = list(frames(reel, range(7), ".mp4"))
    assert len(decoded) == 7
    for picture, drawn in zip(decoded, wanted, strict=True):
        shown = picture.to_ndarray(format="rgb24", src_colorspace="ITU709").astype(float)
        assert shown.shape == drawn.shape and np.abs(shown - drawn).mean() < 3
        assert abs(shown.mean() - drawn.mean()) < 2


def test_a_film_of_one_step(tmp_path: Path) -> None:
    reel = reel_of(tmp_path, steps=3, rows=1, ending="stopped")
    for ending in film.ENDINGS:
        assert list(film.write(reel, tmp_path / f"out{ending}")) == [1]
    assert Pillow.open(tmp_path / "out.gif").n_frames == 1
    with av.open(str(tmp_path / "out.mp4")) as box:
        assert len(list(box.decode(video=0))) == 1


def test_arrays_are_all_of_the_path(tmp_path: Path) -> None:
    climb(tmp_path)
    path = climb(tmp_path, "0.1", parent="0", at=2, steps=3, strength=4.0, weights="abc")
    reel = Reel(path, photograph(), "dog")
    assert list(film.write(reel, tmp_path / "out.npz")) == [1, 2, 3, 4, 5, 6]
    arrays, facts = read_npz(tmp_path / "out.npz")
    assert sorted(arrays) == ["attribution", "maps", "masks", "penalties", "pictures", "scores"]
    for name in ("maps", "masks", "scores", "penalties"):
        np.testing.assert_array_equal(arrays[name], path.stacked(name))
        assert arrays[name].dtype == path.stacked(name).dtype
    assert arrays["attribution"].dtype == np.float32 and arrays["pictures"].dtype == np.uint8
    for step in range(6):
        np.testing.assert_allclose(arrays["attribution"][step], a_t(path, step), atol=1e-6)
        moved = np.asarray(path.row("pictures", step)[0], float).transpose(1, 2, 0)
        np.testing.assert_allclose(
            arrays["pictures"][step], (reel.photograph + moved).clip(0, 255), atol=0.51
        )
    assert facts["kind"] == "climb path" and facts["image"] == STEM and facts["name"] == "dog"
    assert facts["size"] == list(SIZE) and facts["settings"]["lam"] == 7.0 and facts["weights"] == "abc"
    assert [t["trace"] for t in facts["traces"]] == ["0", "0.1"] and facts["traces"][1]["at"] == 2
    plain = reel_of(tmp_path / "plain", pictures=False)
    list(film.write(plain, tmp_path / "plain.npz"))
    assert "pictures" not in read_npz(tmp_path / "plain.npz")[0]


def test_arrays_too_large_to_be_read_back_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reel = reel_of(tmp_path)
    for module in ("reel", "files"):
        monkeypatch.setattr(f"engine.film.{module}.MAX_BYTES", reel.bytes_of_maps())
    assert "so they are left out" in " ".join(film.notes(reel, ".npz", 6))
    list(film.write(reel, tmp_path / "out.npz"))
    arrays, _ = read_npz(tmp_path / "out.npz")
    assert "pictures" not in arrays and len(arrays["maps"]) == 5
    monkeypatch.setattr("engine.film.files.MAX_BYTES", reel.bytes_of_maps() - 1)
    with pytest.raises(UserError, match="too much room"):
        list(film.write(reel, tmp_path / "none.npz"))
    assert not (tmp_path / "none.npz").exists()


# --- one after the other, whole or not at all ------------------------------------------------------


@pytest.mark.parametrize(("ending", "ahead"), [(".gif", 3), (".mp4", 0), (".png", 0)])
def test_frames_are_drawn_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, ahead: int
) -> None:
    drawn = []
    heated = drawing._heated
    monkeypatch.setattr(drawing, "_heated", lambda *given: drawn.append(1) or heated(*given))
    reel = reel_of(tmp_path / "climb", steps=8)
    for done in film.write(reel, tmp_path / f"out{ending}"):
        assert len(drawn) == done + ahead


@pytest.mark.parametrize("ending", film.ENDINGS)
def test_a_stop_leaves_nothing_or_the_old_file(tmp_path: Path, ending: str) -> None:
    reel = reel_of(tmp_path / "climb")
    out = tmp_path / "out" / f"film{ending}"
    for old in (None, b"old"):
        out.parent.mkdir(exist_ok=True)
        if old:
            out.write_bytes(old)
        writing = film.write(reel, out)
        assert next(writing) == 1 and next(writing) == 2
        writing.close()
        assert [p.read_bytes() for p in out.parent.iterdir()] == ([old] if old else [])
    list(film.write(reel, out))
    assert len(out.read_bytes()) > 100 and len(list(out.parent.iterdir())) == 1


def test_maps_that_are_no_numbers_are_a_sentence(tmp_path: Path) -> None:
    reel = reel_of(tmp_path)
    mapped = np.lib.format.open_memmap(tmp_path / "0" / "maps.npy", mode="r+")
    mapped[2, 0, 0] = np.nan
    mapped.flush()
    for ending in film.ENDINGS:
        with pytest.raises(UserError, match="not finite"):
            list(film.write(reel, tmp_path / f"out{ending}"))
        assert not (tmp_path / f"out{ending}").exists()


def test_a_reel_needs_steps_and_the_photograph_of_its_size(tmp_path: Path) -> None:
    path = climb(tmp_path)
    with pytest.raises(ValueError):
        Reel(path, photograph((48, 63)), "dog")
    writer = CLIMBS["begin"](tmp_path, "1", size=SIZE, grid=GRID)
    with pytest.raises(ValueError):
        Reel(path_to(traces_in(tmp_path), "1"), photograph(), "dog")
    writer.end("stopped")


def test_without_the_encoder_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reel = reel_of(tmp_path)
    monkeypatch.setattr(av.codec, "codecs_available", {"mpeg4"})
    with pytest.raises(UserError, match="libx264"):
        list(files.write(reel, tmp_path / "out.mp4"))


# --- the job ---------------------------------------------------------------------------------------


@pytest.fixture
def project(small_project: Project) -> Project:
    """Climbs of the first class of one image."""
    views = new_run(small_project.root, "cam", "cam", {"method": "imported", "status": "finished"}).views(
        "steps"
    )
    views.folder.mkdir(parents=True)
    (views.folder / "views.json").write_text('{"kinds": ["climb"]}')
    climb(views.folder / STEM / "climb")
    climb(views.folder / STEM / "climb", "0.1", parent="0", at=2, steps=3)
    climb(views.folder / STEM / "climb", "1", steps=2, pictures=False)
    return small_project


def job(project: Project, out: Path, **other: Any) -> Film:
    given = {"source": "cam/steps", "image": STEM, "trace": "0.1", "threads": 1, **other}
    return Film(project=str(project.root), out=str(out), **given)


def mistake(asked: Film) -> str:
    ending = list(run(asked))[-1]
    assert isinstance(ending, Failed) and ending.mistake and not ending.trace, ending
    assert len(ending.message.splitlines()) >= 2
    return ending.message


@pytest.mark.parametrize("ending", [".gif", ".MP4", ".png", ".npz"])
def test_the_job_writes_each_format(project: Project, tmp_path: Path, ending: str) -> None:
    out = tmp_path / "new" / f"film{ending}"
    events = list(run(job(project, out, fps=3)))
    assert isinstance(events[-1], Finished), events[-1]
    seconds = 2.0 if ending in (".gif", ".MP4") else 0.0
    assert events[-1].result == {"out": str(out), "frames": 6, "seconds": seconds} and out.is_file()
    last = [e for e in events if isinstance(e, Progress)][-1]
    assert last.done == last.total == 6 and last.phase == "frames"
    assert not [e for e in events if isinstance(e, Said)], "nothing was left out"
    assert "exists already" in mistake(job(project, out))
    done = list(run(job(project, out, overwrite=True, trace="1")))
    assert done[-1].result["frames"] == 3 and any(
        "kept no pictures" in e.text for e in done if isinstance(e, Said)
    )


def test_a_film_may_lie_among_the_exports(project: Project) -> None:
    out = project.root / "exports" / "film.gif"
    assert isinstance(list(run(job(project, out)))[-1], Finished) and out.is_file()


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"out": "film.avi"}, "Accepted: .gif and .mp4"),
        ({"out": "film"}, "names no format"),
        ({"out": "gone.gif"}, "is a folder"),
        ({"out": "project/film.gif"}, "lies in the project"),
        ({"out": "project/runs/cam/views/steps/im_001/cams.npz", "overwrite": True}, "lies in the project"),
        ({"out": "images/im_001.png", "overwrite": True}, "lies in the image folder"),
        ({"fps": 0}, "out of its limits"),
        ({"fps": 100_000}, "out of its limits"),
        ({"source": "cam/stesp"}, "Did you mean 'steps'?"),
        ({"source": "cma/steps"}, "Did you mean 'cam'?"),
        ({"image": "im_01"}, "Did you mean"),
        ({"image": "im_000"}, "missing or damaged"),
        ({"trace": "0.7"}, "There are: 0, 0.1, 1"),
        ({"trace": "../0"}, "missing or damaged"),
    ],
)
def test_wrong_films_are_sentences_and_leave_nothing(
    project: Project, tmp_path: Path, other: dict[str, Any], found: str
) -> None:
    (tmp_path / "gone.gif").mkdir()
    before = sorted(p for p in tmp_path.rglob("*"))
    out = tmp_path / other.pop("out", "film.gif")
    assert found in mistake(job(project, out, **other))
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_climbs_that_do_not_fit_are_sentences(project: Project, tmp_path: Path) -> None:
    place = project.root / "runs/cam/views/steps" / STEM / "climb"
    climb(place, "2", image="im_000")
    climb(place, "2.1", size=(40, 64))
    climb(place, "7", classes=9)
    writer = CLIMBS["begin"](place, "2.2", size=SIZE, grid=GRID, image=STEM)
    for trace, found in (("2", "im_000"), ("2.1", "64 x 40 px"), ("7", "class 7"), ("2.2", "no step yet")):
        assert found in mistake(job(project, tmp_path / "film.gif", trace=trace))
    writer.end("stopped")
    Pillow.fromarray(np.zeros((5, 5, 3), np.uint8)).save(project.path(STEM))
    assert "changed since it was climbed" in mistake(job(project, tmp_path / "film.gif"))


@pytest.mark.parametrize("ending", film.ENDINGS)
def test_a_stopped_job_leaves_nothing(project: Project, tmp_path: Path, ending: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    asked = iter([False, False, True])
    events = list(run(job(project, tmp_path / f"film{ending}"), lambda: next(asked, True)))
    assert isinstance(events[-1], Stopped)
    assert sorted(tmp_path.rglob("*")) == before
