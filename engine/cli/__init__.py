"""The `wsss` command line: words in, a job to `engine.run`, a result on stdout.

Exit codes: 0 done, 2 the person's mistake, 1 a bug (a report file is named), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Protocol, cast

from engine import __version__
from engine.cli.bugs import report
from engine.cli.follow import Bug, Halted
from engine.errors import UserError, nearest
from engine.messages import JOBS

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "new": "make a project from a folder of images and a tag file",
    "methods": "list the methods and what they need",
    "train": "train a method",
    "infer": "draw a run's views (class activation maps)",
    "climb": "climb adversarially on a run's classifier (AdvCAM)",
    "film": "write a climb as GIF, MP4, PNG strip or npz",
    "study": "analyse climbing on a split (section 7 of the AdvCAM paper)",
    "refine": "sharpen views: CRF, pixel-adaptive, or a walk over learnt affinities",
    "prototypes": "keep what prototypes are compared with in images (CPAL)",
    "boxes": "measure the boxes around maps (MaxBoxAcc, Top-1 Loc)",
    "label": "turn views into pseudo-labels",
    "evaluate": "measure labels or views against the truth",
    "queue": "rank the images by how much they ask for a person's eye",
    "export": "write masks as a dataset",
    "import": "read a dataset as labels",
    "status": "show what a project holds",
    "rerun": "repeat a run from its run.json",
    "relink": "point a project at the place its images moved to",
    "view": "open napari with the docks",
    "demo": "walk the whole path on the bundled sample, then open napari",
    "bench": "run the project's benchmarks",
    "info": "show versions, device, Qt, OpenGL and where weights are looked for",
}


class _Command(Protocol):
    """What the module of a command that is no job offers; `None` means nothing is left to print."""

    def answer(self, words: Sequence[str]) -> tuple[int, dict[str, Any] | None]: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: Words of the command line without the program; those of the process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not turn a sentence into a crash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _answer(words)
        sys.stdout.flush()
        return code
    except SystemExit as ending:  # argparse ends --help so
        return ending.code if isinstance(ending.code, int) else 0
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    except Halted as halt:
        print("Stopped. What was done is kept." if halt.resume else "Stopped.", file=sys.stderr)
        if halt.resume:
            print(f"Go on with: {halt.resume}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("Broken off. Files are whole; the same command goes on where it can.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python flushes stdout once more at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Bug as bug:
        return _own_up(words, str(bug), bug.trace)
    except Exception as error:  # noqa: BLE001  the last line of defence: no trace on the terminal
        return _own_up(words, f"{type(error).__name__}: {error}", traceback.format_exc())


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"wsss {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        raise UserError(
            f"wsss has no {'option' if name.startswith('-') else 'command'} '{name}'.",
            f"Commands: {', '.join(COMMANDS)}.",
            nearest(name, COMMANDS) or "`wsss --help` tells what each does.",
        )
    if name in JOBS:
        from engine.cli import work

        code, result = work.answer(name, rest)
    else:
        module = cast(_Command, importlib.import_module(f"engine.cli.{name}"))
        code, result = module.answer(rest)
    if result is not None:
        # ASCII alone, so that the line is the same under every locale.
        print(json.dumps(result, allow_nan=False))
    return code


def _overview() -> str:
    rows = [f"  {name:<12}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: wsss COMMAND ...",
            "",
            "Turn image tags into segmentation masks.",
            "",
            *rows,
            "",
            "`wsss COMMAND --help` explains a command, `wsss train METHOD --help` a method's parameters,",
            "`wsss --version` prints the version. Every command takes --json.",
        ]
    )


def _own_up(words: Sequence[str], message: str, trace: str) -> int:
    try:
        place = f"The report is in {report(words, message, trace)}; please send it to the developers."
    except OSError as error:
        place = f"No report could be written ({error}). The trace:\n{trace}"
    print(f"wsss has a bug and could not go on: {message}\n{place}", file=sys.stderr)
    return 1
