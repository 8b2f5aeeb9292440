"""Print a job's result for a person, on stdout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.screen import span
from engine.params import text_of

__all__ = ["console", "percent", "show", "table", "text"]


class _Out(Console):
    """Rich ends the process with 1 when its reader left; `main` knows better."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """Return the console of stdout; nothing in names or paths is taken for markup."""
    return _Out(highlight=False, markup=False, emoji=False)


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """Return an empty table without frame; the columns in `numbers` are set flush right."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def show(verb: str, result: Mapping[str, Any]) -> None:
    """Print the result of a job."""
    out = console()
    match verb:
        case "methods":
            _methods(out, result)
        case "evaluate":
            _evaluation(out, result)
        case "new":
            _project(out, result)
        case "train" | "rerun":
            _run(out, result)
        case "climb" if "trace" in result:
            out.print(
                f"The climb {result['trace']} of {result['image']} stands at step {result['steps']} ({result['ending']}): "
                f"{result['path']}",
                soft_wrap=True,
            )
        case "boxes":
            _boxes(out, result)
        case "study":
            _study(out, result)
        case "film":
            out.print(f"{result['frames']} pictures are in {result['out']}.", soft_wrap=True)
        case "infer" | "climb" | "refine":
            kept = f" ({result['kept']} were there)" if result["kept"] else ""
            out.print(f"{result['images']} images have the views {result['views']}{kept}.", soft_wrap=True)
        case "label":
            out.print(
                f"{result['images']} images have the labels '{result['labels']}' from {result['source']}.",
                soft_wrap=True,
            )
        case "queue":
            _queue(out, result)
        case "export":
            _export(out, result)
        case "import":
            out.print(f"{result['images']} images are imported as '{result['name']}'.", soft_wrap=True)
        case "relink":
            out.print(f"{result['project']} reads its images from {result['images']}.", soft_wrap=True)
        case _:
            _facts(out, result)


def _export(out: Console, result: Mapping[str, Any]) -> None:
    if not result["dry_run"]:
        # What is lost was said while it was written.
        out.print(f"{result['images']} images are in {result['out']} as {result['format']}.", soft_wrap=True)
        return
    out.print(
        f"{result['images']} images would go to {result['out']} as {result['format']}. Lost:", soft_wrap=True
    )
    for sentence in result["lost"] or ["nothing"]:
        out.print(f"  {sentence}", soft_wrap=True)


def _queue(out: Console, result: Mapping[str, Any]) -> None:
    rows = table("image", "score", "why", numbers=("score",))
    for row in result["first"]:
        score = row["score"]
        rows.add_row(Text(row["image"]), "-" if score is None else f"{score:.3f}", Text(row["reason"]))
    out.print(rows)
    more = result["images"] - len(result["first"])
    rest = f" and {more} more" if more else ""
    out.print(f"\nThese{rest} are in {result['file']}, by {result['order']}.", soft_wrap=True)


def _project(out: Console, result: Mapping[str, Any]) -> None:
    splits = ", ".join(f"{name} {count}" for name, count in result["splits"].items())
    out.print(f"The project {result['project']} has {result['images']} images.", soft_wrap=True)
    out.print(f"classes: {', '.join(f'{n} {c}' for n, c in result['tags'].items())}", soft_wrap=True)
    out.print(f"splits: {splits or 'none'}; without a tag: {result['untagged']}", soft_wrap=True)


def _run(out: Console, result: Mapping[str, Any]) -> None:
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in result["metrics"].items())
    out.print(
        f"The run {result['run']} is {result['status']} after {span(result['seconds'])}: {numbers}.",
        soft_wrap=True,
    )


def _methods(out: Console, result: Mapping[str, Any]) -> None:
    rows = table("name", "what it does", "needs", "shows")
    for card in result["methods"]:
        what = card["sentence"] if card["available"] else f"Not available: {card['why_not']}"
        rows.add_row(
            Text(card["name"]), Text(what), Text(", ".join(card["needs"])), Text(", ".join(card["shows"]))
        )
    out.print(rows)
    out.print("\n`wsss train METHOD --help` lists the parameters of one.")


def _evaluation(out: Console, result: Mapping[str, Any]) -> None:
    if "stages" in result:
        _stages(out, result)
        return
    rows = table("class", "IoU", "precision", "recall", numbers=("IoU", "precision", "recall"))
    for name, iou in result["iou"].items():
        if iou is not None:
            more = (result.get(f"class_{k}", {}).get(name) for k in ("precision", "recall"))
            rows.add_row(Text(name), percent(iou), *(percent(value) for value in more))
    rows.add_row("mean", percent(result["miou"]), percent(result["precision"]), percent(result["recall"]))
    out.print(rows)
    threshold = result.get("threshold")
    at = f" at threshold {threshold:g}" if threshold is not None else ""
    best = ", the best of the sweep, chosen with the truth" if "curve" in result else ""
    out.print(f"\nmIoU {percent(result['miou'])} over {result['images']} images{at}{best}.", soft_wrap=True)


def _stages(out: Console, result: Mapping[str, Any]) -> None:
    numbers = ("mIoU", "gain", "precision", "recall", "noise", "threshold")
    rows = table("stage", "maps", *numbers, numbers=numbers)
    first = result["stages"][0]["miou"]
    for stage in result["stages"]:
        miou, threshold = stage["miou"], stage["threshold"]
        gained = None not in (first, miou) and stage is not result["stages"][0]
        rows.add_row(
            Text(stage["name"]),
            Text(stage["source"].removesuffix("/default")),
            percent(miou),
            f"{100 * (miou - first):+.1f}" if gained else "",
            *(percent(stage[key]) for key in ("precision", "recall", "noise")),
            "-" if threshold is None else f"{threshold:g}",
        )
    out.print(rows)
    best = " The threshold is the best of the sweep, chosen with the truth." if "curve" in result else ""
    out.print(f"\nAll over the same {result['images']} images.{best}", soft_wrap=True)


def _boxes(out: Console, result: Mapping[str, Any]) -> None:
    rows = table("measure", "share", "threshold", numbers=("share", "threshold"))
    cuts = result["thresholds"]
    rows.add_row("MaxBoxAcc (largest region, IoU 0.5)", percent(result["max_box_acc"]), text(cuts["v1"]))
    for delta, share in result["at"].items():
        rows.add_row(f"MaxBoxAccV2 at IoU {delta}", percent(share), text(cuts[delta]))
    rows.add_row("MaxBoxAccV2", percent(result["max_box_acc_v2"]), "")
    rows.add_row("Top-1 classification", percent(result["top1_cls"]), "")
    rows.add_row("Top-1 localisation (IoU 0.5)", percent(result["top1_loc"]), text(cuts["0.5"]))
    out.print(rows)
    out.print(f"\n{result['pairs']} pairs of image and class in {result['images']} images.", soft_wrap=True)
    for reason in result["passed_over"]:
        out.print(f"{reason['count']} passed over: {reason['why']}", soft_wrap=True)


def _study(out: Console, result: Mapping[str, Any]) -> None:
    out.print(
        f"The study {result['study']} of {result['images']} images is in {result['csv']}.", soft_wrap=True
    )
    told = ("study", "run", "images", "figure", "csv")
    _facts(out, {k: v for k, v in result.items() if k not in told and not isinstance(v, (list, Mapping))})


def percent(share: float | None) -> str:
    """Return a share as a percentage with one decimal, or a dash."""
    return "-" if share is None else f"{100 * share:.1f} %"


def _facts(out: Console, result: Mapping[str, Any]) -> None:
    for key, value in result.items():
        out.print(f"{key.replace('_', ' ')}: {text(value)}", soft_wrap=True)


def text(value: Any) -> str:
    """Return a plain value as people write it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {text(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(text(v) for v in value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else text_of(value)
