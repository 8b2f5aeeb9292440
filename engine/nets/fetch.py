"""Download published weights into the caches of torch and of the Hugging Face hub, checked by hash."""

from __future__ import annotations

import hashlib
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engine import atomic
from engine.nets.catalogue import Published

__all__ = ["Progress", "fetch", "hub_cache", "in_hub_cache", "torch_cache"]

Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all or 0 where unknown)."""

_TIMEOUT = 20.0
_CHUNK = 1 << 20
_HUB_FILE = "model.safetensors"


def torch_cache() -> Path:
    """Return the folder in which torch keeps downloaded weights (`$TORCH_HOME` moves it)."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def hub_cache() -> Path:
    """Return the folder in which the Hugging Face hub keeps its files (`$HF_HOME` moves it)."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def in_hub_cache(known: Published) -> Path | None:
    """Return the weights of a backbone's hub repository where they were downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(known.hub, known.file or _HUB_FILE)
    return Path(found) if isinstance(found, str) else None


def fetch(known: Published, progress: Progress | None) -> Path:
    """Download a backbone's weights and return the file.

    Args:
        known: A backbone with a `url`.
        progress: Told how far it is; an error that it raises stops the download and escapes.

    Raises:
        OSError: The network or the disk failed, or the bytes are not the published ones.
    """
    report = progress or _silent
    return _from_hub(known, report) if known.hub else _from_address(known, report)


def _silent(done: int, total: int) -> None:
    """Report to nobody."""


def _from_address(known: Published, progress: Progress) -> Path:
    path = torch_cache() / known.file
    digest, done = hashlib.sha256(), 0
    # The catalogue's addresses are torchvision's and timm's own, all of them https.
    with urllib.request.urlopen(known.url, timeout=_TIMEOUT) as answer, atomic.writing(path) as file:
        total = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
        stated = re.search(r"-([0-9a-f]{8,64})\.", known.file)
        if done < total:
            raise OSError(f"the connection ended after {done} of {total} bytes")
        if stated and not digest.hexdigest().startswith(stated[1]):
            raise OSError(f"the SHA-256 begins with {digest.hexdigest()[:8]}, not with {stated[1]}")
    return path


def _reach(url: str) -> None:
    """Fail at once without a network: the hub's library would try again for half a minute first."""
    if not urllib.request.getproxies():
        host = urllib.parse.urlsplit(url).hostname or ""
        socket.create_connection((host, 443), timeout=_TIMEOUT).close()


def _from_hub(known: Published, progress: Progress) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import tqdm

    _reach(known.url)
    raised: list[BaseException] = []

    class Reporting(tqdm):
        """The hub's progress bar, without the bar."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self.counted = int(options.get("initial") or 0)
            self.all = int(options.get("total") or 0)
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.counted += int(n or 0)
            try:
                progress(self.counted, self.all)
            except BaseException as error:
                raised.append(error)
                raise
            return None

    try:
        path = Path(hf_hub_download(known.hub, known.file or _HUB_FILE, tqdm_class=Reporting))
    except Exception as error:
        # The hub raises whatever its HTTP library does; only what `progress` raised is not its failure.
        if error in raised or isinstance(error, OSError):
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error
    # The hub's cache names a file's bytes by their SHA-256 (where the disk has links).
    stated = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", stated):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != stated:
            path.resolve().unlink()
            raise OSError(
                f"the SHA-256 of the downloaded file begins with {found[:8]}, not with {stated[:8]}"
            )
    return path
