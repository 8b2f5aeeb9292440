"""The classes of a project: their places never move, so that every mask and map keeps its meaning.

A class that is renamed keeps its place and remembers its former names, by which tags.csv and the
runs of before know it. A class that is merged into another keeps its place too, empty: masks are
rewritten, tags and maps are read as those of the other. In wsss.toml:

    classes = [{ name = "cat", colour = "#0072B2", was = ["kitty"] },
               { name = "tabby", colour = "#E69F00", merged = "cat" }]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError, nearest
from engine.names import check_class_names
from engine.results import CamStack
from engine.tags import ABSENT, PRESENT, UNKNOWN

__all__ = ["ClassEntry", "ClassList", "check_names", "merged_stack", "merged_states", "text"]

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class ClassEntry:
    """One class.

    Attributes:
        name: Today's name.
        colour: `#RRGGBB`.
        was: Former names, the first one first.
        merged: Name of the class that it was merged into, or empty.
    """

    name: str
    colour: str
    was: tuple[str, ...] = ()
    merged: str = ""

    @property
    def first(self) -> str:
        """The name it was made with: digests use it, so that a new name makes nothing stale."""
        return self.was[0] if self.was else self.name


@dataclass(frozen=True)
class ClassList:
    """The classes in mask order."""

    entries: tuple[ClassEntry, ...]

    def __post_init__(self) -> None:
        names = check_names(self.names, "wsss.toml")
        former = [name for entry in self.entries for name in entry.was]
        if len({*names, *former}) < len(names) + len(former):
            raise ValueError("a former name of a class stands twice")
        for entry in self.entries:
            target = next((e for e in self.entries if e.name == entry.merged), None)
            if entry.merged and (target is None or target.merged or target is entry):
                raise ValueError(f"the class {entry.name!r} is merged into {entry.merged!r}")

    @classmethod
    def of(cls, facts: Iterable[Mapping[str, Any]]) -> ClassList:
        """Read the classes of wsss.toml.

        Raises:
            KeyError, TypeError, ValueError: They make no sense.
            UserError: A name cannot be used.
        """
        found = []
        for entry in facts:
            colour, was = entry["colour"], entry.get("was", [])
            if not isinstance(was, list):
                raise TypeError(f"{was!r} stands where former names should")
            if not _COLOUR.fullmatch(text(colour)):
                raise ValueError(f"the colour {colour!r} is not #RRGGBB")
            former = tuple(text(name) for name in was)
            found.append(ClassEntry(text(entry["name"]), colour, former, text(entry.get("merged", ""))))
        return cls(tuple(found))

    def as_facts(self) -> list[dict[str, Any]]:
        """Return the classes as wsss.toml holds them."""
        return [
            {"name": e.name, "colour": e.colour}
            | ({"was": list(e.was)} if e.was else {})
            | ({"merged": e.merged} if e.merged else {})
            for e in self.entries
        ]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries)

    @property
    def colours(self) -> tuple[str, ...]:
        return tuple(entry.colour for entry in self.entries)

    @property
    def first_names(self) -> tuple[str, ...]:
        return tuple(entry.first for entry in self.entries)

    @property
    def former(self) -> dict[str, str]:
        """Former name -> today's."""
        return {old: entry.name for entry in self.entries for old in entry.was}

    @property
    def merged(self) -> dict[int, int]:
        """Index of a class that was merged -> index of the one that stands for it."""
        names = self.names
        return {i: names.index(e.merged) for i, e in enumerate(self.entries) if e.merged}

    def index(self, name: str) -> int:
        """Return the place of a class that is in use.

        Raises:
            UserError: There is none, or it was merged.
        """
        in_use = [e.name for e in self.entries if not e.merged]
        if name not in in_use:
            merged = next((e.merged for e in self.entries if e.name == name), "")
            raise UserError(
                f"The class '{name}' was merged into '{merged}'."
                if merged
                else f"The project has no class '{name}'.",
                f"Classes: {', '.join(in_use)}.",
                nearest(name, in_use),
            )
        return self.names.index(name)

    def added(self, name: str, colour: str) -> ClassList:
        """Return the list with one more class behind the others."""
        check_names((*self.names, name))
        return ClassList((*self._without_former(name), ClassEntry(name, colour)))

    def recoloured(self, colours: Mapping[str, str]) -> ClassList:
        """Return the list with other colours of some classes.

        Raises:
            ValueError: One is not #RRGGBB.
        """
        for colour in colours.values():
            if not _COLOUR.fullmatch(text(colour)):
                raise ValueError(f"the colour {colour!r} is not #RRGGBB")
        return ClassList(tuple(replace(e, colour=colours.get(e.name, e.colour)) for e in self.entries))

    def renamed(self, old: str, new: str) -> ClassList:
        """Return the list in which a class has another name.

        Raises:
            UserError: There is no such class, or the name cannot be used or stands already.
        """
        place = self.index(old)
        check_names([*self.names[:place], new, *self.names[place + 1 :]])
        entries = []
        for i, entry in enumerate(self._without_former(new)):
            if i == place:
                # Back to a former name: it is no former name any more.
                entry = replace(entry, name=new, was=tuple(n for n in (*entry.was, old) if n != new))
            if entry.merged == old:
                entry = replace(entry, merged=new)
            entries.append(entry)
        return ClassList(tuple(entries))

    def with_merged(self, old: str, into: str) -> ClassList:
        """Return the list in which a class stands for another one too.

        Raises:
            UserError: They are the same, or one is not in use.
        """
        if old == into:
            raise UserError(f"'{old}' cannot be merged into itself.", "Two classes.", "Choose another one.")
        place, _ = self.index(old), self.index(into)
        return ClassList(
            tuple(
                replace(e, merged=into) if i == place or e.merged == old else e
                for i, e in enumerate(self.entries)
            )
        )

    def parted(self, old: int, followed: Sequence[int]) -> ClassList:
        """Return the list in which a merged class stands for itself again.

        Args:
            old: Its place.
            followed: Places of the classes that are merged into it then.
        """
        name = self.names[old]
        return ClassList(
            tuple(
                replace(e, merged="") if i == old else replace(e, merged=name) if i in followed else e
                for i, e in enumerate(self.entries)
            )
        )

    def _without_former(self, name: str) -> tuple[ClassEntry, ...]:
        """Return the entries, none of which claims `name` as a former one."""
        return tuple(replace(e, was=tuple(n for n in e.was if n != name)) for e in self.entries)


def merged_states(states: NDArray[np.int8], old: int, into: int) -> NDArray[np.int8]:
    """Return the states of a class that stands for another one too, [N] int8.

    Present where either is, absent where both are, else unknown; doing it twice changes nothing.

    Args:
        states: [N, C] int8, see `engine.tags`.
        old, into: The two classes.
    """
    a, b = states[:, old], states[:, into]
    both = (a == ABSENT) & (b == ABSENT)
    either = (a == PRESENT) | (b == PRESENT)
    return np.where(either, PRESENT, np.where(both, ABSENT, UNKNOWN)).astype(np.int8)


def merged_stack(stack: CamStack, merged: Mapping[int, int]) -> CamStack:
    """Return maps in which a merged class and the one that stands for it are one, by the larger score."""
    if not any(c in merged for c in stack.classes):
        return stack
    groups: dict[int, list[int]] = {}
    for k, cls in enumerate(stack.classes):
        groups.setdefault(merged.get(cls, cls), []).append(k)
    classes = sorted(groups)
    return replace(
        stack,
        classes=tuple(classes),
        maps=np.stack([stack.maps[groups[c]].max(axis=0) for c in classes]),
        peaks=np.array([stack.peaks[groups[c]].max() for c in classes], np.float32),
    )


def check_names(names: Sequence[str], source: str = "The class list") -> tuple[str, ...]:
    """Return class names that are fit for a project; `*` means all classes in tags.csv."""
    found = tuple(text(name) for name in names)
    check_class_names(found, source)
    if "*" in found:
        raise UserError(
            "A class cannot be named '*'.", "In tags.csv it means all classes.", "Rename the class."
        )
    return found


def text(value: Any) -> str:
    """Return a value that has to be a text.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a name should")
    return value
