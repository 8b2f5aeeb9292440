"""Write a report of a bug to a file, so that a person sees two lines and a developer everything."""

from __future__ import annotations

import platform
import shlex
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from engine.atomic import write_text

__all__ = ["report", "version_of"]

_PACKAGES = (
    "wsss-napari",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "numpy",
    "scipy",
    "pillow",
    "napari",
)


def report(words: Sequence[str], message: str, trace: str) -> Path:
    """Write what is known of a bug and return the file.

    Args:
        words: The command line without its leading `wsss`.
        message: What the error says of itself.
        trace: The Python trace.
    """
    versions = [f"{name} {version_of(name) or 'is not installed'}" for name in _PACKAGES]
    text = "\n".join(
        [
            f"command   {shlex.join(['wsss', *words])}",
            f"error     {message}",
            f"system    {platform.platform()}, Python {platform.python_version()}",
            f"packages  {', '.join(versions)}",
            "",
            trace.rstrip(),
            "",
        ]
    )
    path = Path(tempfile.mkdtemp(prefix="wsss-bug-")) / "report.txt"
    write_text(path, text)
    return path


def version_of(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
