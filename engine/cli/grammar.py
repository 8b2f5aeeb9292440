"""The argument parser whose complaints are user errors, with the nearest known name."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from engine.errors import UserError, nearest

__all__ = ["Parser", "assignment", "listed", "number", "whole"]


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UserError` where argparse would end the process.

    Args:
        command: The command, as it follows `wsss` on the line.
        about: What it does; stands above the options in the help.
        epilog: Returns the text below the options, given what was parsed before `--help`.
    """

    def __init__(
        self, command: str, about: str, epilog: Callable[[argparse.Namespace], str] = lambda seen: ""
    ) -> None:
        super().__init__(
            prog=f"wsss {command}",
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            # An abbreviation that is unique today may be ambiguous after the next option is added.
            allow_abbrev=False,
        )
        self._further = epilog
        self.add_argument("-h", "--help", action=_Help, nargs=0, help="show this help and exit")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the parsed words.

        Raises:
            UserError: A word is unknown, missing or cannot be used.
        """
        found, unknown = self.parse_known_args(list(words))
        if unknown:
            raise self._stranger(unknown[0])
        return found

    def print_full_help(self, seen: argparse.Namespace) -> None:
        self.epilog = self._further(seen)
        self.print_help()

    def error(self, message: str) -> NoReturn:
        missing = re.fullmatch(r"the following arguments are required: (.*)", message)
        if missing:
            raise UserError(f"{self.prog}: {missing[1]} is missing.", self.usage_line(), self._advice())
        short = re.fullmatch(r"argument (\S+): expected (?:one|at least one) argument", message)
        if short:
            raise UserError(f"{self.prog}: {short[1]} has no value.", self.usage_line(), self._advice())
        choice = re.fullmatch(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            known = [c.strip("' ") for c in choice[3].split(",")]
            raise UserError(
                f"{self.prog}: {choice[1].split('/')[-1]} = '{choice[2]}' cannot be used.",
                f"Accepted: {', '.join(known)}.",
                nearest(choice[2], known) or self._advice(),
            )
        raise UserError(f"{self.prog}: {message}.", self.usage_line(), self._advice())

    def usage_line(self) -> str:
        """Return the usage on one line."""
        return " ".join(self.format_usage().replace("usage:", "Usage:").split())

    def _advice(self) -> str:
        return f"`{self.prog} --help` explains every option."

    def _stranger(self, word: str) -> UserError:
        options = [o for o in self._option_string_actions if o.startswith("--")]
        name = word.split("=")[0]
        if word.startswith("-"):
            return UserError(
                f"{self.prog} has no option '{name}'.",
                f"Options: {', '.join(options)}.",
                nearest(name, options) or self._advice(),
            )
        return UserError(f"{self.prog}: '{word}' is one word too many.", self.usage_line(), self._advice())


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, seen: argparse.Namespace, *_: Any) -> None:
        assert isinstance(parser, Parser)
        parser.print_full_help(seen)
        parser.exit()


def whole(flag: str, low: int, unit: str = "") -> Callable[[str], int]:
    """Return a converter to whole numbers of at least `low`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or value > 1 << 62:
            raise UserError(
                f"{flag} = '{text}' cannot be used.",
                f"Accepted: a whole number of at least {low}{f' ({unit})' if unit else ''}.",
            )
        return value

    return convert


def number(flag: str, low: float, high: float) -> Callable[[str], float]:
    """Return a converter to numbers from `low` to `high`."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise UserError(
                f"{flag} = '{text}' cannot be used.", f"Accepted: a number from {low:g} to {high:g}."
            )
        return value

    return convert


def listed(text: str) -> tuple[str, ...]:
    """Return the parts between commas, without the empty ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def assignment(flag: str) -> Callable[[str], tuple[str, str]]:
    """Return a converter of `name=value`; the value may hold further equals signs."""

    def convert(text: str) -> tuple[str, str]:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UserError(
                f"{flag} '{text}' is no assignment.", f"Accepted: {flag} NAME=VALUE, as often as needed."
            )
        return name.strip(), value.strip()

    return convert
