"""How jobs and events are written: as JSON between processes, as a command line for people."""

from __future__ import annotations

import dataclasses
import json
import shlex
import typing
from typing import Any, Literal

from engine.errors import UserError, nearest
from engine.messages.events import EVENTS, Event
from engine.messages.jobs import JOBS, Job
from engine.params import text_of

__all__ = ["MAX_MESSAGE", "arguments", "command", "decode", "encode"]

MAX_MESSAGE = 1 << 22


def encode(message: Job | Event) -> bytes:
    """Return the message as JSON bytes; numbers that are not finite are refused."""
    values = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
    if isinstance(message, Job):
        head = {"verb": message.VERB}
    else:
        head = {"event": type(message).__name__.lower()}
    # A path of bytes that are no UTF-8 holds lone surrogates; escaped, they are JSON and come back.
    return json.dumps({**head, **values}, ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "backslashreplace"
    )


def decode(data: bytes) -> Job | Event:
    """Return the message of JSON bytes.

    Raises:
        UserError: It is no message, is too long, or has fields of other names or types.
    """
    if len(data) > MAX_MESSAGE:
        raise UserError(f"A message of {len(data)} bytes.", f"At most {MAX_MESSAGE} bytes are read.")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"This is no message: {error}.") from None
    if not isinstance(values, dict):
        raise UserError("This is no message: it is not a JSON object.")
    known: dict[str, Any] = {**JOBS, **EVENTS}
    name = values.pop("verb", None) or values.pop("event", None)
    if not isinstance(name, str) or name not in known:
        raise UserError(
            f"There is no job or event '{name}'.", f"Known: {', '.join(known)}.", nearest(str(name), known)
        )
    cls = known[name]
    hints = _hints(cls)
    for key, value in values.items():
        if key not in hints:
            raise UserError(
                f"The job '{name}' has no field '{key}'.", f"Fields: {', '.join(hints)}.", nearest(key, hints)
            )
        values[key] = _checked(name, key, value, hints[key])
    try:
        message = cls(**values)
    except TypeError as error:
        raise UserError(f"The job '{name}' is incomplete: {error}.") from None
    return typing.cast("Job | Event", message)


def arguments(job: Job) -> list[str]:
    """Return the job as the arguments of the `wsss` command that gives the same job."""
    words = [job.VERB]
    given = {f.name: getattr(job, f.name) for f in dataclasses.fields(job) if f.name != "id"}
    defaults = {f.name: f.default for f in dataclasses.fields(job)}
    for name in job.BARE:
        words.append(str(given.pop(name)))
    project = given.pop("project", "")
    if project:
        words += ["-p", project]
    for key, value in given.pop("settings", {}).items():
        words += ["--set", f"{key}={text_of(value)}"]
    for name, value in given.items():
        if value == defaults[name] or value is None or value == ():
            continue
        if name == "class_names":
            continue  # no flag: the shell reads classes from a file
        flag = "--" + _FLAGS.get(name, name.replace("_", "-"))
        if value is True:
            words.append(flag)
        elif name == "split" and isinstance(value, tuple):
            for pair in value:
                words += [flag, pair]
        elif isinstance(value, tuple):
            words += [flag, ",".join(value)]
        else:
            words += [flag, str(value)]
    return words


_FLAGS = {"path": "from", "cls": "class"}


def command(job: Job) -> str:
    """Return the `wsss` line that gives the same job, quoted for a POSIX shell."""
    return shlex.join(["wsss", *arguments(job)])


def _hints(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _checked(message: str, key: str, value: Any, hint: Any) -> Any:
    """Return `value` as the annotation wants it; messages may come from any process."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    ok = False
    if origin is tuple:
        ok = isinstance(value, list) and all(isinstance(v, str) for v in value)
        value = tuple(value) if ok else value
    elif origin is dict:
        ok = isinstance(value, dict)
    elif origin is Literal:
        ok = value in args
    elif args:  # a union with None
        ok = value is None or any(_fits(value, a) for a in args if a is not type(None))
    else:
        ok = _fits(value, hint)
    if not ok:
        raise UserError(f"{message}: {key} = {value!r} cannot be used.", f"It takes {hint}.")
    return value


def _fits(value: Any, hint: Any) -> bool:
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
