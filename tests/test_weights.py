"""Weights: where they are found, that every entry is loaded, and what a bad file or no network says."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import pickle
import socket
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import UserError
from engine.nets import weights as module
from engine.nets.backbone import build_backbone
from engine.nets.catalogue import Published, published
from engine.nets.weights import Weights, find_weights, where_looked

CONNECT, URLOPEN = socket.create_connection, urllib.request.urlopen
NO_NETWORK = socket.gaierror(-2, "Name or service not known")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches and an empty own folder, without any network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("WSSS_WEIGHTS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise NO_NETWORK

    def refuse_url(*_: object, **__: object) -> None:
        raise urllib.error.URLError(NO_NETWORK)

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse_url)
    return tmp_path


@functools.cache
def _resnet18() -> dict[str, Tensor]:
    import torchvision

    torch.manual_seed(1)
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.fixture
def state() -> dict[str, Tensor]:
    """A whole random ResNet-18 as torchvision writes it."""
    return dict(_resnet18())


def as_pth(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def save(state: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_pth(state) if path.suffix == ".pth" else safetensors.torch.save(state))


# --- finding and loading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_own_folder(places: Path, state: dict[str, Tensor], suffix: str) -> None:
    path = places / "own" / f"resnet18{suffix}"
    save(state, path)
    found = find_weights("resnet18")
    assert found.source == str(path) and found.facts == {} and found.prep == {}
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    backbone = build_backbone("resnet18", weights=found)
    assert backbone.loaded == len(state) - 2 == 120
    trunk = backbone.trunk.net.state_dict()
    assert all(torch.equal(trunk[k], v) for k, v in state.items() if not k.startswith("fc."))


def test_the_own_folder_wins_over_the_cache_and_safetensors_over_pth(
    places: Path, state: dict[str, Tensor]
) -> None:
    cached = places / "torch" / "hub" / "checkpoints" / published("resnet18").file
    content = as_pth(state)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    with pytest.raises(UserError, match="SHA-256"):  # random numbers are not the published ones
        find_weights("resnet18")
    save(state, places / "own" / "resnet18.pth")
    assert find_weights("resnet18").source.endswith("own/resnet18.pth")
    save(state, places / "own" / "resnet18.safetensors")
    assert find_weights("resnet18").source.endswith("own/resnet18.safetensors")


def test_the_hub_cache_is_used(places: Path) -> None:
    name = "vit_tiny_patch16_224"
    hub = places / "hub" / f"models--{published(name).hub.replace('/', '--')}"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("abc")
    save({"x": torch.zeros(1)}, hub / "snapshots" / "abc" / "model.safetensors")
    assert find_weights(name).source == str(hub / "snapshots" / "abc" / "model.safetensors")


def test_facts_beside_the_file_override_the_architecture(places: Path, state: dict[str, Tensor]) -> None:
    save(state, places / "own" / "resnet18.safetensors")
    facts = {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.1, 0.2, 0.3],
        "interpolation": "bicubic",
        "padding": "only 32k+1 fits",
    }
    (places / "own" / "resnet18.json").write_text(json.dumps({**facts, "licence": "free"}))
    found = find_weights("resnet18")
    assert found.facts == {**facts, "licence": "free"}
    prep = build_backbone("resnet18", weights=found).prep
    assert (prep.mean, prep.std, prep.interpolation) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3), "bicubic")
    assert (prep.side_multiple, prep.side_offset) == (16, 1)
    coarse = build_backbone("resnet18", weights=found, output_stride=32).prep
    assert (coarse.side_multiple, coarse.side_offset) == (32, 1)
    assert build_backbone("resnet18").prep == published("resnet18").prep


def load(state: dict[str, Tensor], norm: str = "frozen") -> int:
    found = Weights("resnet18", state, "resnet18.pth", "0" * 64)
    return build_backbone("resnet18", weights=found, norm=norm).loaded  # type: ignore[arg-type]


def test_files_without_counters_or_classifier_are_whole(state: dict[str, Tensor]) -> None:
    kept = {
        k: v for k, v in state.items() if not k.endswith("num_batches_tracked") and not k.startswith("fc.")
    }
    assert load(kept) == 100
    assert load({k: v.half() for k, v in kept.items()}) == 100


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layer1.0.conv1.weight": None}, "1 missing (layer1.0.conv1.weight)"),
        ({"layer9.weight": torch.zeros(1)}, "1 unknown (layer9.weight)"),
        ({"conv1.weight": torch.zeros(64, 1, 7, 7)}, "1 of another shape (conv1.weight)"),
        (
            {"bn1.weight": torch.zeros(1), "bn1.bias": None, "fcc": torch.zeros(1)},
            "1 missing (bn1.bias); 1 unknown (fcc)",
        ),
    ],
)
def test_anything_else_than_the_classifier_must_fit(
    state: dict[str, Tensor], change: dict[str, Tensor | None], says: str
) -> None:
    changed = {k: v for k, v in {**state, **change}.items() if v is not None}
    with pytest.raises(UserError) as told:
        load(changed)
    assert says in told.value.found and "of 120 entries" in told.value.found


def test_another_networks_file_names_examples(state: dict[str, Tensor]) -> None:
    with pytest.raises(UserError) as told:
        build_backbone("mobilenet_v2", weights=Weights("mobilenet_v2", state, "mobilenet_v2.pth", ""))
    assert "260 missing (features.0.0.weight, " in told.value.found and ", …)" in told.value.found
    assert "belongs to mobilenet_v2" in told.value.todo


def test_old_densenet_names_are_read() -> None:
    import re

    import torchvision

    state = torchvision.models.densenet121(weights=None).state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", k): v for k, v in state.items()}
    assert set(old) != set(state)
    found = Weights("densenet121", old, "densenet121.pth", "")
    assert build_backbone("densenet121", weights=found).loaded == len(state) - 2


def test_group_norm_refuses_weights_and_trained_norm_takes_them(state: dict[str, Tensor]) -> None:
    assert load(state, "trained") == 120
    with pytest.raises(UserError, match="norm = 'group' cannot use"):
        load(state, "group")


# --- damage and malice -----------------------------------------------------------------------------------


class Evil:
    """Runs a program when it is unpickled by a careless reader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"not weights", b"\x80\x04.", b"PK\x03\x04" + bytes(60), b"\xff" * 64], ids=range(5)
)
def test_a_damaged_file_is_a_sentence(places: Path, suffix: str, content: bytes) -> None:
    path = places / "own" / f"resnet18{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as told:
        find_weights("resnet18")
    assert told.value.found.startswith(f"{path} cannot be used: ")
    assert "\n" not in told.value.found


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_cut_short_is_a_sentence(places: Path, state: dict[str, Tensor], suffix: str) -> None:
    path = places / "own" / f"resnet18{suffix}"
    save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="cannot be used"):
        find_weights("resnet18")


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_pth_file_is_executed(places: Path, zipped: bool) -> None:
    mark = places / "executed"
    content = as_pth({"a": Evil(mark)}) if zipped else pickle.dumps({"a": Evil(mark)})
    (places / "own" / "resnet18.pth").write_bytes(content)
    with pytest.raises(UserError, match="cannot be used"):
        find_weights("resnet18")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1, 2], "no table"),
        ({}, "no table"),
        ({"a": 1}, "'a' is not a plain tensor"),
        ({1: torch.zeros(1)}, "no table"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "'a' is not a plain tensor"),
        ({"a": torch.eye(3).to_sparse()}, "'a' is not a plain tensor"),
        ({"a": torch.tensor([1.0, float("nan")])}, "not finite"),
    ],
)
def test_a_pth_file_must_hold_plain_finite_tensors(places: Path, value: object, says: str) -> None:
    (places / "own" / "resnet18.pth").write_bytes(as_pth(value))
    with pytest.raises(UserError, match=says):
        find_weights("resnet18")


def test_a_number_spread_over_a_huge_shape_fills_no_memory(places: Path) -> None:
    (places / "own" / "resnet18.pth").write_bytes(as_pth({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}))
    with pytest.raises(UserError, match="'a' claims more numbers than the file holds"):
        find_weights("resnet18")


def test_a_compressed_archive_is_not_unpacked(places: Path) -> None:
    path = places / "own" / "resnet18.pth"
    plain = zipfile.ZipFile(io.BytesIO(as_pth({"a": torch.zeros(1 << 16)})))
    with plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with pytest.raises(UserError, match="compressed archive"):
        find_weights("resnet18")


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_training_checkpoints_are_unwrapped(places: Path, state: dict[str, Tensor], key: str) -> None:
    wrapped = {key: {f"module.{k}": v for k, v in state.items()}, "epoch": 3}
    (places / "own" / "resnet18.pth").write_bytes(as_pth(wrapped))
    assert set(find_weights("resnet18").state) == set(state)


@pytest.mark.parametrize(
    "facts",
    [
        "nonsense",
        "[]",
        "[" * 100_000,
        '{"mean": ' + "1" * 70_000 + "}",
        '{"mean": [0.5, 0.5]}',
        '{"mean": "grey"}',
        '{"mean": [0.5, 0.5, NaN]}',
        '{"mean": [true, 0.5, 0.5]}',
        '{"std": [0, 1, 1]}',
        '{"interpolation": "magic"}',
        '{"padding": "0k+1"}',
        '{"side_multiple": 1e9}',
        '{"side_offset": -1}',
    ],
)
def test_bad_facts_are_a_sentence(places: Path, facts: str) -> None:
    save({"a": torch.zeros(1)}, places / "own" / "resnet18.safetensors")
    (places / "own" / "resnet18.json").write_text(facts)
    with pytest.raises(UserError) as told:
        find_weights("resnet18")
    assert "resnet18.json" in told.value.found and len(str(told.value)) < 600


def test_the_own_folder_must_be_a_folder(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSSS_WEIGHTS", str(places / "nowhere"))
    with pytest.raises(UserError, match="is not a folder"):
        find_weights("resnet18")


# --- downloading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_without_a_network_the_message_names_file_folder_and_address(places: Path, name: str) -> None:
    known = published(name)
    with pytest.raises(UserError) as told:
        find_weights(name)
    text = str(told.value)
    assert known.url in text and "Name or service not known" in text
    assert str(places / "own" / f"{name}.safetensors") in text and str(places / "own" / f"{name}.pth") in text
    assert all(place in text for place in where_looked(name))
    assert "--set pretrained=false" in told.value.todo


def test_networks_without_weights_say_so() -> None:
    with pytest.raises(UserError, match="tiny_cnn has no pretrained weights"):
        find_weights("tiny_cnn")
    assert not published("darknet17").url
    with pytest.raises(UserError, match="no published weights for darknet17"):
        find_weights("darknet17")


def test_an_unknown_name_touches_no_file(places: Path) -> None:
    (places / "secret.pth").write_bytes(as_pth({"a": torch.zeros(1)}))
    with pytest.raises(UserError, match="no backbone"):
        find_weights("../secret")


def test_places(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert where_looked() == [
        f"$WSSS_WEIGHTS = {places / 'own'}",
        str(places / "torch" / "hub" / "checkpoints"),
        str(places / "hub"),
    ]
    monkeypatch.setenv("WSSS_WEIGHTS", "nowhere")
    assert where_looked()[0] == "$WSSS_WEIGHTS = nowhere"
    monkeypatch.delenv("WSSS_WEIGHTS")
    assert where_looked()[0] == "$WSSS_WEIGHTS (not set)"
    assert where_looked("resnet18")[-1].endswith("resnet18-f37072fd.pth")


class Shelf:
    """One published file behind a real HTTP server."""

    def __init__(self, content: bytes) -> None:
        self.content, self.asked, self.claimed = content, 0, len(content)

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        shelf = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shelf.asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(shelf.claimed))
                self.end_headers()
                self.wfile.write(shelf.content)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        return Handler


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor]) -> Iterator[Shelf]:
    """A ResNet-18 published on this machine."""
    monkeypatch.setattr(socket, "create_connection", CONNECT)
    monkeypatch.setattr(urllib.request, "urlopen", URLOPEN)
    shelf = Shelf(as_pth(state))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), shelf.handler())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = f"resnet18-{hashlib.sha256(shelf.content).hexdigest()[:8]}.pth"
    known = Published(
        "resnet18",
        "torchvision",
        published("resnet18").prep,
        f"http://127.0.0.1:{server.server_port}/w",
        file,
    )
    monkeypatch.setattr(module, "published", lambda _: known)
    yield shelf
    server.shutdown()
    server.server_close()


def test_a_download_is_reported_checked_and_kept(
    places: Path, shelf: Shelf, state: dict[str, Tensor]
) -> None:
    told: list[tuple[int, int]] = []
    found = find_weights("resnet18", progress=lambda done, total: told.append((done, total)))
    assert Path(found.source).parent == places / "torch" / "hub" / "checkpoints"
    assert all(torch.equal(found.state[k], v) for k, v in state.items())
    size = len(shelf.content)
    assert (
        told[-1] == (size, size) and [d for d, _ in told] == sorted({d for d, _ in told}) and len(told) > 10
    )
    find_weights("resnet18")
    assert shelf.asked == 1


def left(places: Path) -> list[Path]:
    return [p for p in (places / "torch").rglob("*") if p.is_file()]


@pytest.mark.parametrize("fault", ["other bytes", "cut short"])
def test_a_faulty_download_is_refused_and_removed(places: Path, shelf: Shelf, fault: str) -> None:
    if fault == "other bytes":
        shelf.content = bytes(len(shelf.content))
        says = "the SHA-256 begins with"
    else:
        shelf.content = shelf.content[:5000]
        says = "the connection ended after 5000 of"
    with pytest.raises(UserError, match=says):
        find_weights("resnet18")
    assert left(places) == []


def test_stopping_a_download_leaves_nothing(places: Path, shelf: Shelf) -> None:
    class Stopped(Exception):
        """What a job raises to stop."""

    def stop(done: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        find_weights("resnet18", progress=stop)
    assert left(places) == []


@pytest.fixture
def hub(places: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A hub that delivers one file into its cache, as the real one does."""
    content = safetensors.torch.save({"a": torch.arange(4.0)})
    delivered: dict[str, object] = {"name": hashlib.sha256(content).hexdigest(), "fail": None}

    def deliver(repository: str, file: str, *, tqdm_class: type) -> str:
        assert (repository, file) == (published("vit_tiny_patch16_224").hub, "model.safetensors")
        with tqdm_class(total=len(content), initial=0, unit="B", desc=file, name="huggingface_hub.x") as bar:
            for _ in content:
                bar.update(1)
        if delivered["fail"]:
            raise delivered["fail"]  # type: ignore[misc]
        blob = places / "hub" / "blobs" / str(delivered["name"])
        blob.parent.mkdir(parents=True)
        blob.write_bytes(content)
        link = places / "hub" / "model.safetensors"
        link.symlink_to(blob)
        return str(link)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", deliver)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: io.BytesIO())
    return delivered


def test_the_hub_reports_and_is_checked(hub: dict[str, object]) -> None:
    told: list[tuple[int, int]] = []
    found = find_weights("vit_tiny_patch16_224", progress=lambda done, total: told.append((done, total)))
    assert torch.equal(found.state["a"], torch.arange(4.0))
    assert found.sha256 == hub["name"] and told[-1][0] == told[-1][1] == len(told)


def test_the_hub_delivers_other_bytes_or_fails(places: Path, hub: dict[str, object]) -> None:
    hub["fail"] = KeyError("odd")
    with pytest.raises(UserError, match="KeyError"):
        find_weights("vit_tiny_patch16_224")
    hub.update(fail=None, name="0" * 64)
    with pytest.raises(UserError, match="the SHA-256 of the downloaded file begins with"):
        find_weights("vit_tiny_patch16_224")
    assert not list((places / "hub" / "blobs").iterdir())


def test_stopping_the_hub_escapes(hub: dict[str, object]) -> None:
    class Stopped(Exception):
        """What a job raises to stop."""

    def stop(done: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        find_weights("vit_tiny_patch16_224", progress=stop)


# --- real weights ----------------------------------------------------------------------------------------


@pytest.fixture
def real(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real weights."""
    monkeypatch.setenv("WSSS_WEIGHTS", str(shared_data / "weights"))
    return shared_data / "weights"


@pytest.mark.real
def test_real_mobilenet(real: Path) -> None:
    import torchvision

    found = find_weights("mobilenet_v2")
    ours = build_backbone("mobilenet_v2", output_stride=32, weights=found).eval()
    assert ours.loaded == 312 == len(ours.trunk.net.state_dict())
    assert ours.prep.mean == ours.prep.std == (0.5, 0.5, 0.5)
    assert (ours.prep.side_multiple, ours.prep.side_offset, ours.prep.side(300)) == (32, 1, 321)
    assert found.facts["licence"] == "Apache-2.0"
    theirs = torchvision.models.mobilenet_v2(weights=None)
    theirs.load_state_dict(safetensors.torch.load_file(real / "mobilenet_v2.safetensors"), strict=True)
    image = torch.randn(1, 3, 321, 321, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = theirs.eval().features(image)
        assert torch.equal(ours(image), wanted)
        finer = build_backbone("mobilenet_v2", weights=found).eval()(image)
    assert finer.shape == (1, 1280, 21, 21)
    assert torch.allclose(finer[..., ::2, ::2], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.real
@pytest.mark.parametrize(("side", "same"), [(177, True), (193, True), (176, False)])
def test_real_mobilenet_needs_sides_of_16k_plus_1_at_stride_16(real: Path, side: int, same: bool) -> None:
    """Uneven padding, as the weights were trained with, changes nothing at the sides that `prep` asks for."""
    backbone = build_backbone("mobilenet_v2", weights=find_weights("mobilenet_v2")).eval()
    assert (backbone.prep.side(side) == side) == same
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        even = backbone(image)
        for layer in backbone.modules():
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                layer.padding = (0, 0)
                layer.register_forward_pre_hook(lambda _, args: _pad_like_tensorflow(args[0]))
        uneven = backbone(image)
    assert even.shape == uneven.shape
    assert torch.allclose(even, uneven, rtol=1e-4, atol=1e-4) == same


def _pad_like_tensorflow(x: Tensor) -> Tensor:
    side = x.shape[-1]
    total = max(0, (-(-side // 2) - 1) * 2 + 3 - side)
    low = total // 2
    return F.pad(x, (low, total - low, low, total - low))


@pytest.mark.real
def test_real_vit(real: Path) -> None:
    import timm

    found = find_weights("vit_tiny_patch16_224")
    ours = build_backbone("vit_tiny_patch16_224", weights=found).eval()
    assert ours.loaded == 150 == len(ours.trunk.net.state_dict())
    assert ours.prep.mean == ours.prep.std == (0.5, 0.5, 0.5)
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    theirs.load_state_dict(
        safetensors.torch.load_file(real / "vit_tiny_patch16_224.safetensors"), strict=True
    )
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tokens = theirs.forward_features(image)[:, 1:]  # [1, 196, 192]
        features = ours(image)
        assert torch.allclose(features.flatten(2).transpose(1, 2), tokens, atol=1e-5)
        assert ours(image[..., :175, :200]).shape == (1, 192, 11, 13)
