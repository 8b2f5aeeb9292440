"""The commands that do a job: their options, and the way from words to the job and back.

`read` is the inverse of `engine.messages.arguments`: the line that the window copies is
read as the job that the window ran.
"""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.cli.grammar import Parser, assignment, listed, number, whole
from engine.errors import UserError
from engine.messages import JOBS, Job

__all__ = ["add_json", "add_project", "job_of", "parser_of", "read"]


@dataclass(frozen=True)
class Option:
    """One option of a command; type and default are those of the job's field."""

    field: str
    help: str
    value: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    flag: str = ""
    default: str = ""
    """What the help says is done without the option, where that is no value."""


_SPLIT = Option("split", "images of this split, or `all`", "S", default="every image in use")
_SOURCE = Option("source", "views to read: RUN for its views `default`, or RUN/NAME", "RUN[/VIEWS]")
_SETTINGS = Option("settings", "set a parameter of the method; repeat for more", "KEY=VALUE", flag="set")
_CRF = Option("crf", "dense CRF preset that sharpens the masks", choices=("none", "deeplab", "irn", "psa"))

_OPTIONS: dict[str, tuple[Option, ...]] = {
    "new": (
        Option("images", "folder of images, searched with its subfolders", "DIR"),
        Option(
            "tags",
            "tags: CSV `image,tags` (separated by `;`), one-hot CSV, JSON, VOC ImageSets/Main or XML folder, "
            "COCO instances JSON, or cls_labels*.npy",
            "FILE",
            default="every tag unknown; --classes names the classes",
        ),
        Option("classes", "class names in mask order, one a line", "FILE", default="the names found in the tags"),
        Option("truth", "indexed PNG masks (0 background, 255 void), for evaluation only", "DIR", default="none"),
        Option(
            "truth_classes",
            "what the indexes of the truth mean: voc, coco, or a file with one name a line",
            "NAMES",
            default="the project's classes",
        ),
        Option("split", "a split, one image name (without extension) a line; repeat for more", "NAME=FILE"),
    ),
    "relink": (
        Option("images", "where the image folder lies now", "DIR", default="unchanged"),
        Option("truth", "where the truth masks lie now", "DIR", default="unchanged"),
    ),
    "methods": (),
    "train": (
        Option("run", "name of the run", "ID", default="the method's name, numbered if taken"),
        Option("split", "images of this split, or `all`", "S"),
        Option("epochs", "passes over the images", "N", low=1, default="by the number of images"),
        Option("batch", "images a step, over all devices", "N", low=1, default="by the number of images"),
        Option("crop", "side of the square that is cut from each image, px", "N", low=8, default="by the image size"),
        _SETTINGS,
        Option("resume", "go on with a run that was stopped or interrupted"),
    ),
    "infer": (
        _SPLIT,
        Option("images", "these images only, named without extension, separated by commas", "STEM,..."),
        Option("views", "name under which the views are kept; other settings under it replace them", "NAME"),
        _SETTINGS,
    ),
    "prototypes": (
        _SPLIT,
        Option("images", "these images only, named without extension, separated by commas", "STEM,..."),
        Option("views", "name under which the views are kept", "NAME"),
    ),
    "climb": (
        _SPLIT,
        Option("images", "these images only, named without extension, separated by commas", "STEM,..."),
        Option("views", "name under which maps and climbs are kept; other settings under it replace them", "NAME"),
        _SETTINGS,
        Option("cls", "climb this class of one image alone, keeping every picture", "NAME", flag="class",
               default="all classes of each image"),
        Option("trace", "go on from this climb of the image (its id, such as 3 or 3.1)", "ID", default="from the photograph"),
        Option("at", "step of it to go on from", "STEP", low=0, default="its last step"),
    ),
    "film": (
        Option("source", "views that hold the climb", "RUN/VIEWS"),
        Option("image", "image, named without extension", "STEM"),
        Option("trace", "id of the climb, such as 3 or 3.1", "ID"),
        Option("out", "file to write: .gif, .mp4, .png (a strip) or .npz (arrays)", "FILE"),
        Option("fps", "pictures a second", "N", low=1),
        Option("overwrite", "replace the file if it exists"),
    ),
    "study": (
        Option("split", "images of this split, or `all`", "S"),
        Option("count", "images at most, chosen evenly over the split", "N", low=1, default="by the study"),
        _SETTINGS,
    ),
    "refine": (
        _SOURCE,
        _SPLIT,
        Option("images", "these images only, named without extension, separated by commas", "STEM,..."),
        _SETTINGS,
        Option("run", "name of the new box, or the trained network (psa, irn) that is walked with and keeps the result", "ID",
               default="named after the source"),
        Option("views", "name under which the result is kept; other settings under it replace it", "NAME"),
        Option("keep", "keep every stage too: iterations of the CRF, times of the walk"),
    ),
    "boxes": (
        _SOURCE,
        Option("truth_boxes", "true boxes: CSV or localization.txt `image,x0,y0,x1,y1` in px, COCO instances JSON, "
               "or a folder of VOC XML", "FILE"),
        _SPLIT,
        Option("side", "maps and boxes are brought to squares of this side, px; 0 keeps the image's size", "N", low=0),
    ),
    "label": (
        _SOURCE,
        Option("name", "name of the label set", "LABELS"),
        _SPLIT,
        Option("images", "these images only, named without extension, separated by commas", "STEM,..."),
        Option("climbed", "climbs of the one image that replace the map of their class, `TRACE@STEP` each", "T@S,..."),
        Option("climbs", "views that hold these climbs", "RUN/VIEWS", default="none"),
        Option("background", "background score: constant:T (T in 0..1), power:A, or one_minus_max", "RULE"),
        Option("ignore", "scores above LOW and up to HIGH (0..1) become unsure (255)", "LOW,HIGH", default="no band"),
        _CRF,
        Option("min_region", "regions smaller than this go to their surroundings, px", "N", low=0),
        Option("saliency", "folder of masks (0 background); where they and the label disagree it becomes unsure", "DIR",
               default="none"),
    ),
    "evaluate": (
        Option("labels", "label set to measure, or `corrected`", "NAME"),
        _SOURCE,
        Option("sweep", "try every background threshold and report the whole curve and the best"),
        Option("stages", "measure every refinement made from the source too, one row each, over the same images"),
        _SPLIT,
        Option("threshold", "background threshold, 0..1", "T", low=0, high=1, default="0.2"),
        Option("only", "which of the labels `corrected`", choices=("all", "approved")),
    ),
    "queue": (
        Option("order", "by what the images are ranked",
               choices=("margin", "disagreement", "change", "tags", "name", "random")),
        Option("labels", "label set that is corrected, or `corrected`", "NAME"),
        Option("source", "maps: RUN for its views `default`, or RUN/NAME", "RUN[/VIEWS]",
               default="those that the labels were made from"),
        Option("others", "labels or maps to compare with, separated by commas", "NAME,..."),
        _SPLIT,
    ),
    "export": (
        Option("labels", "label set to write, or `corrected`", "NAME"),
        Option("format", "format to write", "FORMAT"),
        Option("out", "folder to make", "DIR"),
        Option("only", "which masks", choices=("all", "approved")),
        _SPLIT,
        Option("instances", "views whose instances become the objects of the format: RUN or RUN/NAME", "RUN[/VIEWS]",
               default="those that the labels were made from, where it has any"),
        Option("settings", "set an option of the format; a wrong one lists them all", "KEY=VALUE", flag="set"),
        Option("overwrite", "replace the folder if it exists"),
        Option("dry_run", "say what would be written and lost, and write nothing"),
    ),
    "import": (
        Option("format", "format to read", "FORMAT"),
        Option("path", "file or folder to read", "PATH", flag="from"),
        Option("name", "name of the label set to make", "LABELS"),
    ),
    "rerun": (),
}  # fmt: skip

_WORK = (
    Option("device", "auto, cpu, cuda or cuda:N", "D"),
    Option("devices", "processes to spread the work over, one a device", "N", low=1),
    Option("nodes", "machines to spread the work over (under torchrun)", "N", low=1),
    Option("threads", "processor threads", "N", low=1, default="all cores"),
    Option("seed", "seed of every random number", "N", low=0),
)

_BARE = {
    "project": "folder of the project",
    "method": "name of the method; `wsss methods` lists them",
    "run": "name of the run; `wsss status` lists them",
    "study": "name of the study; a wrong one lists them all",
    "refiner": "crf, par, psa or irn; a wrong one lists them all",
}

_EXACTLY_ONE = {"evaluate": ("labels", "source")}


def add_project(parser: argparse.ArgumentParser, *, hidden: bool = False) -> None:
    """Add `-p/--project`."""
    text = "folder of the project (default: the current folder, if it is one)"
    parser.add_argument(
        "-p", "--project", metavar="PROJECT", default="", help=argparse.SUPPRESS if hidden else text
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")


def parser_of(verb: str, epilog: Callable[[argparse.Namespace], str] = lambda seen: "") -> Parser:
    """Return the parser of a job's command."""
    cls = JOBS[verb]
    parser = Parser(verb, _about(cls), epilog)
    for name in cls.BARE:
        # `wsss relink` inside a project needs no name; a new project has to have one.
        optional = {"nargs": "?", "default": ""} if verb == "relink" else {}
        parser.add_argument(name, metavar=name.upper(), help=_BARE[name], **optional)  # type: ignore[arg-type]
    if "project" not in cls.BARE:
        add_project(parser, hidden=verb == "methods")
    one_of = _EXACTLY_ONE.get(verb, ())
    group = parser.add_mutually_exclusive_group(required=True) if one_of else parser
    for option in _OPTIONS[verb]:
        _add(group if option.field in one_of else parser, cls, option, required=option.field not in one_of)
    for option in _WORK:
        # Every job carries these fields, so every line that the window copies must be read.
        _add(parser, cls, option, hidden=not cls.WORKS)
    add_json(parser)
    return parser


def job_of(verb: str, found: argparse.Namespace) -> Job:
    """Return the job that parsed words ask for."""
    cls = JOBS[verb]
    values = {f.name: getattr(found, f.name) for f in dataclasses.fields(cls) if hasattr(found, f.name)}
    if "settings" in values:
        values["settings"] = dict(values["settings"] or ())
    if verb == "new":
        values["split"] = tuple(f"{name}={file}" for name, file in values["split"] or ())
    return cls(**values)


def read(words: Sequence[str]) -> Job:
    """Return the job of a command line without its leading `wsss`.

    Raises:
        UserError: It is no job, or an option is wrong.
    """
    if not words or words[0] not in JOBS:
        raise UserError(f"'{' '.join(words[:1])}' is no job.", f"Jobs: {', '.join(JOBS)}.")
    return job_of(words[0], parser_of(words[0]).read(words[1:]))


def _add(parser: Any, cls: type[Job], option: Option, *, required: bool = True, hidden: bool = False) -> None:
    field = next(f for f in dataclasses.fields(cls) if f.name == option.field)
    flag = "--" + (option.flag or option.field.replace("_", "-"))
    hint = typing.get_type_hints(cls)[option.field]
    kinds = {hint, *typing.get_args(hint)}
    more: dict[str, Any] = {
        "dest": option.field,
        "help": argparse.SUPPRESS if hidden else _help(option, field),
    }
    if hint is bool:
        parser.add_argument(flag, action="store_true", **more)
        return
    if option.choices:
        more["choices"] = option.choices
    elif option.value:
        more["metavar"] = option.value
    if option.value in ("KEY=VALUE", "NAME=FILE"):
        more |= {"action": "append", "type": assignment(flag)}
    elif typing.get_origin(hint) is tuple:
        more |= {"type": listed, "default": ()}
    else:
        if int in kinds:
            more["type"] = whole(flag, int(option.low or 0))
        elif float in kinds:
            more["type"] = number(flag, option.low or 0, float("inf") if option.high is None else option.high)
        if field.default is dataclasses.MISSING:
            more["required"] = required
        else:
            more["default"] = field.default
    parser.add_argument(flag, **more)


def _help(option: Option, field: dataclasses.Field[Any]) -> str:
    default = option.default
    unsaid = (dataclasses.MISSING, None, False, ())
    if not default and not any(field.default is u for u in unsaid):
        default = str(field.default)
    return (option.help + (f" (default: {default})" if default else "")).replace("%", "%%")


def _about(cls: type[Job]) -> str:
    sentence = (cls.__doc__ or "").split("(`wsss")[0].strip()
    return sentence if sentence.endswith(".") else sentence + "."
