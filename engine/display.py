"""Whether a window can be opened here, and a screen in memory for when it cannot."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

from engine.errors import UserError

__all__ = ["can_imagine", "has_display", "imagined", "screen"]

_SECONDS = 15


def has_display() -> bool:
    """Return whether windows can be shown; macOS and Windows are taken at their word."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def can_imagine() -> bool:
    """Return whether a screen in memory can be made: `Xvfb` is on the PATH."""
    return shutil.which("Xvfb") is not None


@contextlib.contextmanager
def screen() -> Iterator[dict[str, str]]:
    """Yield the environment for programs that need a screen: the real one, else one in memory.

    Raises:
        UserError: There is neither.
    """
    if has_display():
        yield dict(os.environ)
    else:
        with imagined() as environment:
            yield environment


@contextlib.contextmanager
def imagined(width: int = 1920, height: int = 1200) -> Iterator[dict[str, str]]:
    """Start an X server that draws into memory; yield the environment for programs on it.

    Args:
        width, height: Size of the screen in px.

    Raises:
        UserError: There is no `Xvfb`, or it did not start.
    """
    program = shutil.which("Xvfb")
    if program is None:
        raise UserError(
            "There is no display and no Xvfb on the PATH.",
            "A screen, or the virtual one of the Debian package xvfb, is accepted.",
            "Install it with `apt-get install xvfb`.",
        )
    read, write = os.pipe()
    server = None
    try:
        # -displayfd makes the server choose a free number itself, so two of them never collide.
        server = subprocess.Popen(
            [program, "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"],
            pass_fds=(write,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal goes to the whole group; the program on the screen must see it first.
            start_new_session=True,
        )
        os.close(write)
        write = -1
        number = _first_line(read)
        if not number.isdigit():
            raise UserError("Xvfb did not start.", "", "Start it by hand to see why: `Xvfb :99`.")
        environment = {**os.environ, "DISPLAY": f":{number}"}
        environment.pop("WAYLAND_DISPLAY", None)
        yield environment
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
        if server is not None:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _first_line(descriptor: int) -> str:
    import select

    data = b""
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], _SECONDS)
        part = os.read(descriptor, 64) if ready else b""
        if not part:
            break
        data += part
    return data.decode("ascii", "replace").strip()
