"""CLIP-ES in runs: the words of a project, published weights, resuming without them, a missing library, IRN behind it."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.compute import seed_of
from engine.errors import UserError
from engine.messages import Failed, Finished, Infer, Said, Stopped, Train
from engine.methods import card_of
from engine.nets import weights as weights_module
from engine.nets.clip_tower import TINY, VIT_B_16
from engine.nets.clip_words import text_vectors, whole_clip
from engine.nets.weights import find_weights
from engine.run import run
from engine.store import Project, run_of, source_of


@pytest.fixture
def clip_es() -> ModuleType:
    pytest.importorskip("open_clip", reason="open_clip is an optional library (the extra clip)")
    return importlib.import_module("engine.methods.clip_es")


def train(project: Project, **other: Any) -> list[Any]:
    values = {"settings": {"pretrained": False}, "epochs": 1, "batch": 2, "crop": 32, "threads": 1, **other}
    return list(run(Train(project=str(project.root), method="clip_es", **values)))


def test_a_run_keeps_the_words_of_its_project(clip_es: ModuleType, small_project: Project) -> None:
    settings = {"pretrained": False, "words": "red = red square", "background": "grey noise, green"}
    events = train(small_project, run="mine", settings=settings)
    assert isinstance(events[-1], Finished), events[-1]
    assert any("left out" in e.text and "green" in e.text for e in events if isinstance(e, Said))
    state = load_file(run_of(small_project.root, "mine").weights)
    assert state["kept"].tolist() == [True, False]
    # The same random CLIP again, asked by hand.
    torch.manual_seed(seed_of(run_of(small_project.root, "mine").facts["seed"], "build"))
    method = clip_es.ClipEs(clip_es.Params(**settings))
    method.build(3)
    texts = [f"a clean origami {w}." for w in ("red square", "green", "blue", "grey noise", "green")]
    wanted = text_vectors(method._whole, texts)
    torch.testing.assert_close(torch.cat([state["words"], state["behind"]]), wanted)
    ending = train(small_project, settings={"pretrained": False, "words": "rd = x"})[-1]
    assert isinstance(ending, Failed) and ending.mistake and "Did you mean 'red'" in ending.message


def test_published_weights_are_found_recorded_and_no_longer_needed(
    clip_es: ModuleType, small_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_es, "VIT_B_16", dataclasses.replace(TINY, published=VIT_B_16.published))
    torch.manual_seed(5)
    whole = whole_clip(TINY)
    folder = tmp_path / "own"
    folder.mkdir()
    file = folder / "clip_vit_base_patch16.safetensors"
    save_file({k: v.contiguous() for k, v in whole.state_dict().items()}, file)
    monkeypatch.setenv("WSSS_WEIGHTS", str(folder))
    asked = iter(range(100))
    stop = list(
        run(
            Train(
                project=str(small_project.root),
                method="clip_es",
                run="mine",
                epochs=1,
                batch=2,
                crop=32,
                threads=1,
            ),
            lambda: next(asked) >= 3,
        )
    )[-1]
    assert isinstance(stop, Stopped) and stop.resumable, stop
    chosen = run_of(small_project.root, "mine")
    assert chosen.facts["weights"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert chosen.facts["loaded"] == len(whole.state_dict())
    # From here on neither the file nor open_clip is needed.
    file.unlink()
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setitem(sys.modules, "open_clip.model", None)
    ending = train(small_project, run="mine", settings={}, resume=True)[-1]
    assert isinstance(ending, Finished), ending
    ending = list(run(Infer(project=str(small_project.root), run="mine", threads=1)))[-1]
    assert isinstance(ending, Finished) and ending.result["images"] == 6, ending
    state = load_file(run_of(small_project.root, "mine").weights)
    for name, tensor in whole.visual.state_dict().items():
        assert torch.equal(state[f"backbone.trunk.net.{name}"], tensor), name
    monkeypatch.undo()
    wanted = text_vectors(whole, [f"a clean origami {w}." for w in ("red", "green", "blue")])
    torch.testing.assert_close(state["words"], wanted)
    assert not any("transformer" in n and "trunk" not in n for n in state), "the words' half stays behind"


def test_weights_of_another_network_are_refused(
    clip_es: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSSS_WEIGHTS", str(tmp_path))
    save_file({"visual.proj": torch.zeros(2, 2)}, tmp_path / "clip_vit_base_patch16.safetensors")
    found = find_weights(VIT_B_16.published)
    monkeypatch.setattr(clip_es, "VIT_B_16", dataclasses.replace(TINY, published=VIT_B_16.published))
    with pytest.raises(UserError, match="does not fit clip_vit_base_patch16"):
        clip_es.ClipEs(clip_es.Params()).build(2, found)


def test_the_hub_is_looked_into_and_without_a_network_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = VIT_B_16.published
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    real = weights_module.in_hub_cache

    def refuse(*_: object) -> Path:
        raise OSError("no route to host")

    monkeypatch.setattr(weights_module, "in_hub_cache", lambda _: None)
    monkeypatch.setattr(weights_module, "fetch", refuse)
    with pytest.raises(UserError) as error:
        find_weights(known)
    told = str(error.value)
    assert "no route to host" in told and "models--timm--vit_base_patch16_clip_224.openai" in told
    assert "clip_vit_base_patch16.safetensors" in told and "WSSS_WEIGHTS" in told
    hub = tmp_path / f"models--{known.hub.replace('/', '--')}"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("abc")
    (hub / "snapshots" / "abc").mkdir(parents=True)
    save_file({"x": torch.zeros(1)}, hub / "snapshots" / "abc" / "open_clip_model.safetensors")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda repo, name: str(hub / "snapshots" / "abc" / name) if repo == known.hub else None,
    )
    monkeypatch.setattr(weights_module, "in_hub_cache", real)
    assert find_weights(known).source.endswith("open_clip_model.safetensors")


def test_without_open_clip_the_card_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.delitem(sys.modules, "engine.methods.clip_es", raising=False)
    card = card_of("clip_es")
    assert not card.available and "pip install 'wsss-napari[clip]'" in card.why_not
    assert card_of("cam").available


def test_irn_learns_from_its_maps(clip_es: ModuleType, small_project: Project) -> None:
    assert isinstance(train(small_project, run="mine")[-1], Finished)
    job = Infer(project=str(small_project.root), run="mine", threads=1)
    assert isinstance(list(run(job))[-1], Finished)
    assert source_of(small_project.root, "mine").stems() == small_project.usable
    settings = {"backbone": "tiny_cnn", "pretrained": False, "seeds": "mine"}
    job = Train(
        project=str(small_project.root),
        method="irn",
        settings=settings,
        epochs=1,
        batch=2,
        crop=32,
        threads=1,
    )
    assert isinstance(list(run(job))[-1], Finished)
