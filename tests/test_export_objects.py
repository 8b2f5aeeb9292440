"""Exports with objects by the job: instances of a refinement, options, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.atomic import write_json
from engine.messages import Export, Failed, Finished, Import, Job
from engine.results import InstanceSet
from engine.run import run
from engine.store import Project, label_set, new_run


def ending(job: Job) -> Any:
    return list(run(job))[-1]


@pytest.fixture
def refined(small_project: Project) -> Project:
    """Labels of two squares of a class, from views in which one instance was found in the left half of each."""
    views = new_run(small_project.root, "box", "box", {"method": "irn"}).views()
    labels = label_set(small_project.root, small_project.colours, "seed", new=True)
    for stem in small_project.usable:
        mask = np.zeros((48, 64), np.uint8)
        mask[4:24, 4:44], mask[30:40, 50:60] = 2, 1
        labels.write(stem, mask)
        ids = np.zeros((48, 64), np.uint16)
        # The third instance is too small to count, the last one is of a class that the mask has not there.
        ids[4:24, 4:20], ids[4:24, 24:44], ids[4:6, 20:22], ids[30:40, 50:60] = 1, 2, 3, 4
        found = InstanceSet(
            stem, ids, np.array([1, 1, 1, 2], np.int32), np.array([1, 0.5, 0, 0.7], np.float32)
        )
        found.save(views.path(stem, InstanceSet.KIND))
    write_json(views.folder / "views.json", {"method": "irn", "kinds": ["cams", "instances"]})
    labels.write_facts({"source": "box/default"})
    return small_project


@pytest.mark.parametrize("form", ["coco", "coco-panoptic", "yolo-seg"])
def test_instances_of_the_refinement_are_exported(refined: Project, tmp_path: Path, form: str) -> None:
    for settings, count in (({}, 3), ({"objects": "components"}, 2)):
        out = tmp_path / f"out{count}"
        job = Export(project=str(refined.root), labels="seed", format=form, out=str(out), settings=settings)
        assert isinstance(ending(job), Finished)
        facts = json.loads((out / "provenance.json").read_text())
        assert facts["options"]["objects"] == settings.get("objects", "instances")
        if form == "yolo-seg":
            assert len((out / "labels" / "im_000.txt").read_text().splitlines()) == count
        else:
            (path,) = (out / "annotations").glob("*_val.json")
            annotations = json.loads(path.read_text())["annotations"]
            objects = annotations if form == "coco" else annotations[0]["segments_info"][:-1]
            assert len(objects) == count * (2 if form == "coco" else 1)
        back = Import(project=str(refined.root), format=form, path=str(out), name=f"back{count}")
        assert isinstance(ending(back), Finished)
        sets = [label_set(refined.root, refined.colours, n) for n in ("seed", f"back{count}")]
        for stem in refined.usable:
            np.testing.assert_array_equal(sets[0].read(stem), sets[1].read(stem))


def test_wrong_options_and_instances_are_sentences(refined: Project, tmp_path: Path) -> None:
    def said(**other: Any) -> str:
        made = {"labels": "seed", "format": "coco", "out": str(tmp_path / "out")} | other
        failed = ending(Export(project=str(refined.root), **made))
        assert isinstance(failed, Failed) and not (tmp_path / "out").exists()
        return str(failed)

    assert "'segmentation'" in said(settings={"segmentatoin": "rle"})
    assert "Did you mean 'rle'?" in said(settings={"segmentation": "rel"})
    assert "has no option 'segmentation'" in said(format="npz", settings={"segmentation": "rle"})
    path = refined.root / "runs" / "box" / "views" / "default" / "im_001" / "instances.npz"
    (path.parent.parent / "im_000" / "instances.npz").replace(path)
    assert "was made for im_000" in said()
    path.write_bytes(path.read_bytes()[:100])
    assert "im_001" in said()
    job = Export(project=str(refined.root), labels="seed", format="npz", out=str(tmp_path / "out"))
    assert isinstance(ending(job), Finished)  # formats without objects do not look at them


def test_instances_can_be_those_of_other_views(refined: Project, tmp_path: Path) -> None:
    """Masks that people corrected and masks that were imported come from no views."""
    label_set(refined.root, refined.colours, "seed").write_facts({"imported": {}})
    made = {"project": str(refined.root), "labels": "seed", "split": "val"}
    job = Export(**made, format="coco", out=str(tmp_path / "out"), instances="box")
    assert isinstance(ending(job), Finished)
    value = json.loads((tmp_path / "out" / "annotations" / "instances_val.json").read_text())
    assert len(value["annotations"]) == 3 * len(value["images"])
    empty = new_run(refined.root, "bare", "bare", {"method": "cam"}).views()
    write_json(empty.folder / "views.json", {})
    for other, text in (
        ({"instances": "bare"}, "holds no instances"),
        ({"instances": "bxo"}, "no run 'bxo'"),
        ({"instances": "box", "format": "npz"}, "holds no objects"),
    ):
        failed = ending(Export(**{**made, "format": "coco", "out": str(tmp_path / "no"), **other}))
        assert isinstance(failed, Failed) and text in str(failed) and not (tmp_path / "no").exists()


def test_labels_whose_maps_are_gone_are_exported_as_regions(refined: Project, tmp_path: Path) -> None:
    label_set(refined.root, refined.colours, "seed").write_facts({"source": "gone/default"})
    job = Export(
        project=str(refined.root), labels="seed", format="coco", out=str(tmp_path / "out"), split="val"
    )
    assert isinstance(ending(job), Finished)
    value = json.loads((tmp_path / "out" / "annotations" / "instances_val.json").read_text())
    assert len(value["annotations"]) == 2 * len(value["images"]) == 4
