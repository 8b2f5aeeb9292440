"""Find a backbone's published weights, read them without executing anything, and load them strictly."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from engine.errors import UserError
from engine.nets.catalogue import Published, published
from engine.nets.fetch import Progress, fetch, hub_cache, in_hub_cache, torch_cache
from engine.nets.prep import overrides

__all__ = ["Weights", "find_weights", "load_strictly", "where_looked"]

_FOLDER = "WSSS_WEIGHTS"
_MOST_FACTS = 64 * 1024
_LEGACY_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)$")


@dataclass(frozen=True)
class Weights:
    """A weights file, read.

    Args:
        name: The backbone it belongs to.
        state: Parameter name -> tensor, on the CPU.
        source: The file it was read from.
        sha256: Hash of that file.
        prep: Fields of `Prep` that the facts beside the file state.
        facts: Everything `<backbone>.json` beside the file says, to be recorded with the run.
    """

    name: str
    state: dict[str, Tensor]
    source: str
    sha256: str
    prep: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def find_weights(name: str | Published, *, progress: Progress | None = None) -> Weights:
    """Find the published weights of a backbone, downloading them where no folder has them.

    Looked for in the folder `$WSSS_WEIGHTS` (`<name>.safetensors`, then `<name>.pth`), in the
    caches of torch and of the Hugging Face hub, and at the published address.

    Args:
        name: The backbone, by name or by where its weights lie.
        progress: Called with (bytes done, bytes in all or 0) during a download; what it
            raises stops the download and leaves nothing half-written.

    Raises:
        UserError: An unknown name; none were published; the download failed; the file or the
            facts beside it are damaged.
    """
    known = name if isinstance(name, Published) else published(name)
    name = known.name
    own = _own_folder()
    candidates = [own / f"{name}{suffix}" for suffix in (".safetensors", ".pth")] if own else []
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        path = _cached(known)
    if path is None:
        if known.library == "own":
            raise UserError(
                f"{name} has no pretrained weights: it is small enough to learn from random ones.",
                "Accepted: pretrained=false.",
                "Set it (--set pretrained=false), or choose another backbone.",
            )
        if not known.url:
            raise UserError(
                f"There are no published weights for {name}.",
                _looked(known),
                f"Take another backbone, or {_put(name)}start from random weights (--set pretrained=false).",
            )
        try:
            path = fetch(known, progress)
        except OSError as error:
            raise UserError(
                f"The weights of {name} are not on this machine, "
                f"and {known.url} could not be downloaded ({_reason(error)}).",
                _looked(known),
                f"Go online, or {_put(name)}start from random weights (--set pretrained=false).",
            ) from error
    state, sha256 = _read(path, known)
    facts = _read_facts(path.with_name(f"{name}.json"))
    return Weights(name, state, str(path), sha256, overrides(facts, f"{name}.json"), facts)


def where_looked(name: str | Published | None = None) -> list[str]:
    """Return the places that weights are looked for in, in order: folders, or a backbone's files.

    Raises:
        UserError: `name` is given and nobody knows it, or `$WSSS_WEIGHTS` is not a folder.
    """
    if name is None:
        given = os.environ.get(_FOLDER, "")
        first = f"${_FOLDER} = {given}" if given else f"${_FOLDER} (not set)"
        return [first, str(torch_cache()), str(hub_cache())]
    own = _own_folder()
    known = name if isinstance(name, Published) else published(name)
    name = known.name
    places = (
        [str(own / f"{name}{suffix}") for suffix in (".safetensors", ".pth")]
        if own
        else [f"${_FOLDER} (not set)"]
    )
    if known.hub:
        places.append(str(hub_cache() / f"models--{known.hub.replace('/', '--')}"))
    elif known.file:
        places.append(str(torch_cache() / known.file))
    return places


def load_strictly(net: nn.Module, weights: Weights, heads: Collection[str]) -> int:
    """Load weights into a network, every one of its entries and nothing else but the classifier's.

    Batch normalisation's counters (`num_batches_tracked`), which older files lack, are
    set to 0 where the file has none; nothing depends on them while statistics are frozen.

    Args:
        net: Changed in place.
        weights: What was found.
        heads: Names of the classifier's entries, which the file may hold; those ending in a
            dot stand for all names that begin so.

    Returns:
        How many entries were loaded.

    Raises:
        UserError: Entries are missing, unknown, or of another shape.
    """
    state = {_LEGACY_DENSENET.sub(r"\1\2", key): value for key, value in weights.state.items()}
    wanted = net.state_dict()
    begins = tuple(h for h in heads if h.endswith("."))
    missing = sorted(k for k in wanted if k not in state and not k.endswith("num_batches_tracked"))
    extra = sorted(k for k in state if k not in wanted and k not in heads and not k.startswith(begins))
    misshapen = sorted(k for k in wanted if k in state and state[k].shape != wanted[k].shape)
    if missing or extra or misshapen:
        parts = [("missing", missing), ("unknown", extra), ("of another shape", misshapen)]
        told = "; ".join(
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
            for what, keys in parts
            if keys
        )
        raise UserError(
            f"{weights.source} does not fit {weights.name}: of {len(wanted)} entries, {told}.",
            "Accepted: exactly the entries of torchvision's or timm's network, or all but its classifier's.",
            f"Check that the file belongs to {weights.name}.",
        )
    found = {key: state[key] for key in wanted if key in state}
    counters = {key: torch.zeros_like(value) for key, value in wanted.items() if key not in found}
    net.load_state_dict({**found, **counters}, strict=True)
    return len(found)


def _own_folder() -> Path | None:
    given = os.environ.get(_FOLDER, "")
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"${_FOLDER} names '{given}', which is not a folder.",
            "Accepted: a folder with files such as resnet50.safetensors or resnet50.pth.",
            f"Correct or unset {_FOLDER}.",
        )
    return folder


def _cached(known: Published) -> Path | None:
    if known.hub:
        return in_hub_cache(known)
    path = torch_cache() / known.file
    return path if known.file and path.is_file() else None


def _looked(known: Published) -> str:
    return f"Looked for: {'; '.join(where_looked(known))}."


def _put(name: str) -> str:
    return f"put the file as {name}.safetensors or {name}.pth into a folder named by {_FOLDER}, or "


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split())[:200] or type(error).__name__


def _read(path: Path, known: Published) -> tuple[dict[str, Tensor], str]:
    try:
        sha256 = _hash(path)
        if path.suffix == ".safetensors":
            value: Any = safetensors.torch.load_file(path)
        else:
            _refuse_bombs(path)
            value = torch.load(path, map_location="cpu", weights_only=True)
    # Damage shows itself as almost any error of the two readers, so all of them are told the same way.
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {' '.join(str(error).split())[:120]}") from error
    stated = re.search(r"-([0-9a-f]{8,64})\.", known.file)
    if path.name == known.file and stated and not sha256.startswith(stated[1]):
        raise _damaged(path, f"its SHA-256 begins with {sha256[:8]}, not with {stated[1]}")
    return _tensors(value, path), sha256


def _refuse_bombs(path: Path) -> None:
    """Refuse archives that unpack to more than they are; torch stores its tensors uncompressed."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is a compressed archive")


def _tensors(value: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(value, dict):
        value = next((value[k] for k in ("state_dict", "model") if isinstance(value.get(k), dict)), value)
    if not isinstance(value, dict) or not value or not all(isinstance(k, str) for k in value):
        raise _damaged(path, "it holds no table of named tensors")
    size = path.stat().st_size
    for key, tensor in value.items():
        if (
            not isinstance(tensor, Tensor)
            or tensor.layout != torch.strided
            or tensor.is_complex()
            or tensor.is_quantized
        ):
            raise _damaged(path, f"'{key[:80]}' is not a plain tensor")
        # One number can be spread over any shape; looking at it would then fill the memory.
        if tensor.nbytes > size:
            raise _damaged(path, f"'{key[:80]}' claims more numbers than the file holds")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _damaged(path, f"'{key[:80]}' holds numbers that are not finite")
    return {key.removeprefix("module."): tensor for key, tensor in value.items()}


def _read_facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > _MOST_FACTS:
            raise ValueError(f"larger than {_MOST_FACTS} bytes")
        facts = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(facts, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:120]}).",
            'Accepted: a JSON object such as {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}.',
            "Correct or remove the file.",
        ) from error
    return facts


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} cannot be used: {why}.",
        "Accepted: a safetensors file, or a .pth file that holds tensors only.",
        "Remove the file and fetch it again.",
    )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
