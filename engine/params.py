"""Frozen parameter classes described as one field table, for forms and flags alike.

A parameter class is a frozen dataclass whose fields are annotated with `Spec`:

    @dataclass(frozen=True)
    class Params:
        scales: Annotated[tuple[float, ...], Spec("Image scales that are added up.", low=0.1, high=4)] = (1.0, 0.5)
        kind: Annotated[Literal["cam", "gradcam"], Spec("Which map is drawn.")] = "cam"

        PRESETS: ClassVar[dict[str, dict[str, object]]] = {"paper": {"scales": (1.0,)}}

`describe` turns it into a table of `Field` (plain data, so it crosses the process
border); `parse` turns settings, as text or as values, into a checked instance.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from engine.errors import UserError, nearest

__all__ = ["Field", "Spec", "as_settings", "changed", "describe", "parse", "presets", "text_of"]

P = TypeVar("P")


@dataclass(frozen=True)
class Spec:
    """What a form and a flag need to know of one parameter beside its type and default.

    Args:
        doc: One sentence: what it does, and when to change it.
        low, high: Inclusive limits of the number, or of each number of a tuple.
        unit: Unit of the number ("px", "epochs", "grey levels").
        main: Shown at once in the form; the others are folded under "All parameters".
        picks: Fill a text field from the project: "run", "labels", "path" (a file) or
            "folder".
    """

    doc: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    main: bool = False
    picks: Literal["", "run", "labels", "path", "folder"] = ""


@dataclass(frozen=True)
class Field:
    """One row of the field table, plain data.

    `kind` is one of bool, int, float, choice, numbers, text, run, labels, path, folder.
    `numbers` is a tuple of floats, or of ints when `whole` is true. `optional` fields
    accept None, written as the text `none`.
    """

    name: str
    kind: str
    default: Any
    doc: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    main: bool = False
    optional: bool = False
    whole: bool = False


def describe(cls: type[Any]) -> tuple[Field, ...]:
    """Return the field table of a parameter class, in the order of its fields."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_row(f, hints[f.name]) for f in dataclasses.fields(cls))


def presets(cls: type[Any]) -> dict[str, dict[str, Any]]:
    """Return preset name -> settings that differ from the defaults (may be empty)."""
    return {name: dict(values) for name, values in getattr(cls, "PRESETS", {}).items()}


def parse(cls: type[P], settings: Mapping[str, Any]) -> P:
    """Build the parameters from settings given as text (flags, files) or as values.

    `preset` names one of the class's presets; settings given beside it win over it.

    Raises:
        UserError: An unknown name (the nearest is suggested), a value of another type
            or out of its limits, or a cross-field check of the class.
    """
    given = dict(settings)
    known = presets(cls)
    name = given.pop("preset", None)
    if name is not None:
        if not isinstance(name, str) or name not in known:
            raise UserError(
                f"There is no preset '{name}'.",
                f"Presets: {', '.join(known) or 'none'}.",
                nearest(str(name), known),
            )
        given = {**known[name], **given}
    table = {f.name: f for f in describe(cls)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in table:
            raise UserError(
                f"There is no parameter '{key}'.",
                f"Parameters: {', '.join(table) or 'none'}.",
                nearest(key, table),
            )
        values[key] = convert(table[key], value)
    return cls(**values)


def changed(params: Any) -> dict[str, Any]:
    """Return the settings of `params` that differ from the class's defaults, JSON-ready."""
    return {
        f.name: _plain(getattr(params, f.name))
        for f in describe(type(params))
        if getattr(params, f.name) != f.default
    }


def as_settings(params: Any) -> dict[str, Any]:
    """Return every parameter as name -> JSON-ready value; `parse` takes it back."""
    return {f.name: _plain(getattr(params, f.name)) for f in describe(type(params))}


def text_of(value: Any) -> str:
    """Return the value as `--set` takes it (`true`, `0.5,1.0`, `none`)."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return ",".join(text_of(v) for v in value)
    return str(value)


def convert(field: Field, value: Any) -> Any:
    """Return `value` as the field's type, within its limits.

    Raises:
        UserError: It is of another type or out of its limits.
    """
    if isinstance(value, str):
        value = value.strip()
    if field.optional and (value is None or (isinstance(value, str) and value.lower() in ("none", ""))):
        return None
    match field.kind:
        case "bool":
            return _bool(field, value)
        case "int" | "float":
            return _number(field, value, whole=field.kind == "int")
        case "numbers":
            parts = value.split(",") if isinstance(value, str) else value
            if not isinstance(parts, (list, tuple)):
                parts = (parts,)
            numbers = tuple(_number(field, p, whole=field.whole) for p in parts if p != "")
            if not numbers:
                raise _refuse(field, value, "at least one number")
            return numbers
        case "choice":
            if value not in field.choices:
                raise UserError(
                    f"{field.name} = {text_of(value)!r} is not a choice.",
                    f"Accepted: {', '.join(field.choices)}.",
                    nearest(str(value), field.choices),
                )
            return value
        case _:
            if not isinstance(value, str):
                raise _refuse(field, value, "text")
            return value


def _row(f: dataclasses.Field[Any], hint: Any) -> Field:
    spec = Spec("")
    if typing.get_origin(hint) is Annotated:
        hint, *extras = typing.get_args(hint)
        spec = next((e for e in extras if isinstance(e, Spec)), spec)
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"{f.name}: a parameter has one type, or one type or None")
        hint, optional = inner[0], True
    choices: tuple[str, ...] = ()
    whole = False
    origin = typing.get_origin(hint)
    if origin is Literal and all(isinstance(c, str) for c in typing.get_args(hint)):
        kind, choices = "choice", tuple(typing.get_args(hint))
    elif origin is tuple and typing.get_args(hint)[0] in (int, float):
        kind, whole = "numbers", typing.get_args(hint)[0] is int
    elif hint in (bool, int, float):
        kind = hint.__name__
    elif hint is str:
        kind = spec.picks or "text"
    else:
        raise TypeError(f"{f.name}: no form field for the type {hint!r}")
    if f.default is dataclasses.MISSING:
        raise TypeError(f"{f.name}: a parameter has a default")
    return Field(
        f.name, kind, f.default, spec.doc, spec.low, spec.high, spec.unit, choices, spec.main, optional, whole
    )


def _bool(field: Field, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise _refuse(field, value, "true or false")


def _number(field: Field, value: Any, *, whole: bool) -> int | float:
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _refuse(field, value, wanted)
    try:
        number: int | float = int(value) if whole else float(value)
    except (ValueError, OverflowError):
        raise _refuse(field, value, wanted) from None
    if whole and isinstance(value, float) and value != number:
        raise _refuse(field, value, wanted)
    if not whole and not math.isfinite(number):
        raise _refuse(field, value, "a finite number")
    if (field.low is not None and number < field.low) or (field.high is not None and number > field.high):
        raise _refuse(field, value, wanted)
    return number


def _refuse(field: Field, value: Any, wanted: str) -> UserError:
    limits = ""
    if field.low is not None and field.high is not None:
        limits = f" from {field.low:g} to {field.high:g}"
    elif field.low is not None:
        limits = f" of at least {field.low:g}"
    elif field.high is not None:
        limits = f" of at most {field.high:g}"
    unit = f" ({field.unit})" if field.unit else ""
    return UserError(
        f"{field.name} = {text_of(value)!r} cannot be used.",
        f"Accepted: {wanted}{limits}{unit}{', or none' if field.optional else ''}.",
        f"The default is {text_of(field.default)}.",
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
