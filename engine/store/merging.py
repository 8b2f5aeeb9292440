"""What a merge of two classes changed, kept until it is taken back, so that it can be.

project/merges/<id>/
  merge.json                 the two classes, and what followed them
  labels/<set>/<image>.png   masks as they were, of those that held the class
  back.json                  the tags to set while the merge is being taken back

wsss.toml names the merges in force, newest last; a folder that it does not name counts for nothing. It is
written in one go, so a killed process leaves a merge that is in force or one that is not, and the next
opening ends what was begun. Maps need no keeping: they are merged when they are read.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.atomic import write_json
from engine.errors import UserError
from engine.intake import parse_json, read_text
from engine.store.class_list import ClassList, merged_states
from engine.store.label_sets import LabelSet
from engine.tags import ABSENT, Tags

__all__ = ["Merge", "check_merges", "drop"]

_FOLDER = "merges"
_ID = re.compile(r"[0-9a-f]{32}")
_ACCEPTED = "What the merge wrote is read."


@dataclass(frozen=True)
class Merge:
    """One class that stands for another one too, and the way back.

    Attributes:
        root: Folder of the project.
        id: Its name in wsss.toml, of which no two are alike; steps of corrected masks share it as their batch.
        old, into: Places of the class that went, and of the one that stands for it.
        followed: Places of the classes that had been merged into `old` before.
        truth: Places in the truth's list of classes that meant `old`.
        tags: (image, state of `into` before, state after) where it changed.
    """

    root: Path
    id: str
    old: int
    into: int
    followed: tuple[int, ...]
    truth: tuple[int, ...]
    tags: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(
        cls, root: Path, classes: ClassList, old: str, into: str, truth: Sequence[str], tags: Tags
    ) -> Merge:
        """Return the merge that is about to be done; `tags` are those of the log, see `tag_log.load`."""
        a, b = classes.index(old), classes.index(into)
        before = tags.states[:, b]
        after = merged_states(tags.states, a, b)
        changed = [
            (stem, int(was), int(now))
            for stem, was, now in zip(tags.stems, before, after, strict=True)
            if was != now
        ]
        followed = tuple(i for i, target in classes.merged.items() if target == a)
        meant = tuple(i for i, name in enumerate(truth) if name == old)
        return cls(root, uuid.uuid4().hex, a, b, followed, meant, tuple(changed))

    @property
    def folder(self) -> Path:
        return self.root / _FOLDER / self.id

    def save(self) -> None:
        """Write merge.json, atomically."""
        names = ("old", "into", "followed", "truth", "tags")
        write_json(self.folder / "merge.json", {name: getattr(self, name) for name in names})

    @classmethod
    def load(cls, root: Path, name: str, classes: ClassList) -> Merge:
        """Read what a merge kept.

        Args:
            root: Folder of the project.
            name: Its id.
            classes: The classes, with or without the merge.

        Raises:
            UserError: It is missing or damaged, so the merge cannot be taken back.
        """
        value = _read(root / _FOLDER / name / "merge.json")
        try:
            tags = tuple((_text(stem), _state(was), _state(now)) for stem, was, now in value["tags"])
            merge = cls(
                root,
                name,
                _place(value["old"]),
                _place(value["into"]),
                tuple(map(_place, value["followed"])),
                tuple(map(_place, value["truth"])),
                tags,
            )
            places = (merge.old, merge.into, *merge.followed)
            if max(places) >= len(classes.entries) or len(set(places)) < len(places):
                raise ValueError("the project has no such classes")
            return merge
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(root / _FOLDER / name / "merge.json", str(error)) from None

    def table(self, classes: ClassList) -> NDArray[np.uint8]:
        """Return what each value of a mask became, [256] uint8; `classes` with or without the merge."""
        table = np.arange(256, dtype=np.uint8)
        for old, into in {**classes.merged, **dict.fromkeys((self.old, *self.followed), self.into)}.items():
            table[old + 1] = into + 1
        return table

    def kept(self, labels: LabelSet) -> LabelSet:
        """Return the place of a set's masks as they were before."""
        return LabelSet(self.folder / "labels" / labels.name, labels.colours)

    def tags_to_set(self, tags: Tags) -> list[tuple[str, str, int]]:
        """Return (image, class, state) of the tags that the merge changes and has not set yet."""
        states = dict(zip(tags.stems, tags.states, strict=True))
        return [
            (stem, tags.classes[self.into], now)
            for stem, was, now in self.tags
            if stem in states and states[stem][self.into] == was
        ]

    def plan_back(self, classes: ClassList, tags: Tags) -> None:
        """Decide on the tags to set and keep them, so that a second try sets the same ones.

        What a person said of the merged class since stays. Said absent, it was meant of both.

        Args:
            classes: The classes, with the merge.
            tags: Those of the log.

        Raises:
            UserError: The classes were not merged in this way, so what was kept is of something else.
        """
        if any(classes.merged.get(place) != self.into for place in (self.old, *self.followed)):
            raise _damaged(self.folder / "merge.json", "it tells of another merge")
        states = dict(zip(tags.stems, tags.states, strict=True))
        wanted = [
            (stem, self.into, was)
            for stem, was, now in self.tags
            if stem in states and states[stem][self.into] == now
        ]
        wanted += [
            (stem, self.old, ABSENT)
            for stem, row in states.items()
            if row[self.into] == ABSENT and row[self.old] != ABSENT
        ]
        write_json(self.folder / "back.json", wanted)

    def tags_to_set_back(self, tags: Tags) -> list[tuple[str, str, int]]:
        """Return (image, class, state) of the tags that `plan_back` decided on and that do not stand yet.

        Raises:
            UserError: What it kept is missing or damaged.
        """
        path, states = self.folder / "back.json", dict(zip(tags.stems, tags.states, strict=True))
        try:
            wanted = [(_text(stem), _place(cls), _state(state)) for stem, cls, state in _read(path)]
            return [
                (stem, tags.classes[cls], state)
                for stem, cls, state in wanted
                if stem in states and states[stem][cls] != state
            ]
        except (IndexError, TypeError, ValueError) as error:
            raise _damaged(path, str(error)) from None

    def restore(self, labels: LabelSet, classes: ClassList) -> list[str]:
        """Write back the masks of a set that are still those which the merge made of them.

        Returns:
            Sentences on the others.
        """
        kept, table = self.kept(labels), self.table(classes)
        other, unread = [], []
        made = (self.folder / "merge.json").stat().st_mtime
        for stem in kept.stems():
            try:
                before, now = kept.read(stem), labels.read(stem)
            except FileNotFoundError:
                continue  # nobody wants that mask any more
            except UserError:
                unread.append(stem)
                continue
            if np.array_equal(now, before):
                continue
            same = now.shape == before.shape and np.array_equal(now, table[before])
            if same and labels.digest(stem) == kept.digest(stem):
                labels.write(stem, before, kept.digest(stem))
            else:
                other.append(stem)
        for stem in set(labels.stems()) - set(kept.stems()):
            if labels.path(stem).stat().st_mtime > made:
                other.append(stem)
        said = []
        if other:
            said.append(
                f"{len(other)} mask(s) of '{labels.name}' were made since the merge and stay as they are; "
                "make them again to tell the two classes apart."
            )
        if unread:
            said.append(f"Masks of '{labels.name}' cannot be read and stay: {', '.join(unread[:5])}.")
        return said


def check_merges(merges: Any, parting: Any, merging: bool) -> None:
    """Check what wsss.toml says of merges.

    Raises:
        TypeError, ValueError: It makes no sense; a name could point anywhere.
    """
    if not isinstance(merges, list):
        raise TypeError(f"{merges!r} stands where merges should")
    for name in [*merges, *([] if parting is None else [parting])]:
        if not isinstance(name, str) or not _ID.fullmatch(name):
            raise ValueError(f"there is no merge {str(name)[:80]!r}")
    if len(set(merges)) < len(merges) or parting in merges or (merging and (parting or not merges)):
        raise ValueError("its merges contradict each other")


def drop(root: Path, keep: Iterable[str]) -> None:
    """Remove what was kept of merges that are no longer in force."""
    folder, keep = root / _FOLDER, set(keep)
    if folder.is_symlink() or not folder.is_dir():
        return
    for place in folder.iterdir():
        if _ID.fullmatch(place.name) and place.name not in keep and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise _damaged(path, "it is missing")
    return parse_json(path, read_text(path, accepted=_ACCEPTED), _ACCEPTED)


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is damaged: {why}.",
        "It holds what the classes were before they were merged.",
        "Put it back from a backup; without it the merge stays.",
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a name should")
    return value


def _place(value: object) -> int:
    if type(value) is not int or not 0 <= value < 254:
        raise ValueError(f"{value!r} is no class")
    return value


def _state(value: object) -> int:
    if type(value) is not int or value not in (-1, 0, 1):
        raise ValueError(f"{value!r} is no state")
    return value
