"""The classes of a project and how they change: added, renamed, merged, and told apart again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import tomli_w

from engine.atomic import write_text
from engine.colours import class_colours
from engine.errors import UserError
from engine.store import tag_log
from engine.store.class_list import ClassList
from engine.store.image_list import Image
from engine.store.label_sets import label_sets
from engine.store.merging import Merge, drop
from engine.store.schema import SCHEMA
from engine.tags import UNKNOWN, Tags

__all__ = ["MERGES", "MERGING", "PARTING", "ProjectClasses", "TruthPlace", "project_facts"]

# In wsss.toml: the merges of classes in force; that the newest one is under way; the one that is being taken back.
MERGES, MERGING, PARTING = "merges", "merging", "parting"


@dataclass(frozen=True)
class TruthPlace:
    """Where truth masks lie and which class each index means; opened by `engine.store.truth` alone."""

    folder: Path
    classes: tuple[str, ...]


class ProjectClasses:
    """What wsss.toml says of a project; `Project` is what people use.

    Attributes:
        root: Folder of the project.
        name: Its name.
        class_list: The classes, with their former names and merges.
        image_folder: Where the images lie.
        truth_place: Where truth masks lie, or None.
        images: Stem -> facts of each image.
    """

    root: Path
    name: str
    class_list: ClassList
    image_folder: Path
    truth_place: TruthPlace | None
    images: dict[str, Image]
    _facts: dict[str, Any]
    # (modification time in ns, size) of tags.csv, and what it said.
    _tags: tuple[tuple[int, int], Tags] | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; class i is index i + 1 in masks."""
        return self.class_list.names

    @property
    def colours(self) -> tuple[str, ...]:
        """`#RRGGBB` of each class."""
        return self.class_list.colours

    def recolour(self, colours: Mapping[str, str]) -> None:
        """Give classes other colours (`#RRGGBB`)."""
        self._take(self.class_list.recoloured(colours))

    def add_class(self, name: str) -> None:
        """Add a class behind the others, unknown on every image; indexes of the others stay.

        Raises:
            UserError: The name cannot be used or stands already.
        """
        changed = self.class_list.added(name, class_colours(len(self.classes) + 1)[-1])
        self._free_name(name)
        # "All others absent" was never said of a class that nobody knew. These lines come first:
        # they say nothing until the class is there, so a kill in between does no harm.
        self._logged_tags()
        tag_log.append(self.root / "tags.csv", [(stem, name, UNKNOWN) for stem in self.images], tag_log.who())
        self._take(changed)

    def rename_class(self, old: str, new: str) -> None:
        """Give a class another name; masks, maps, tags and runs of before know it by its place.

        The truth's class of the old name is that class still. One write, so a kill leaves the
        old name or the new one.

        Raises:
            UserError: There is no such class, or the name cannot be used or stands already.
        """
        changed = self.class_list.renamed(old, new)
        if self.class_list.former.get(new, old) != old:
            self._free_name(new)
        self._rename_truth(old, new)
        self._take(changed)

    def merge_classes(self, old: str, into: str) -> list[str]:
        """Let one class stand for another one too, in tags, labels, maps and the truth.

        The places of the classes stay, so that runs, views and corrected masks keep their meaning;
        that of `old` is left empty. Corrected masks are a person's and are not touched here:
        `EditRoom.follow_merges` converts them, a named step on each. Killed in between, the next
        opening of the project ends the work. `take_back_merge` undoes it.

        Returns:
            Sentences on masks that could not be read and are left as they are.

        Raises:
            UserError: One of the classes is not in use, or they are the same.
        """
        changed = self.class_list.with_merged(old, into)
        truth = () if self.truth_place is None else self.truth_place.classes
        merge = Merge.of(self.root, self.class_list, old, into, truth, self._logged_tags())
        drop(self.root, self.merges)  # what a killed process left behind
        merge.save()
        self._rename_truth(old, into)
        self._facts[MERGES] = [*self.merges, merge.id]
        self._facts[MERGING] = True
        self._take(changed)
        return self.finish_merging()

    def finish_merging(self) -> list[str]:
        """Do what is left of the newest merge; doing it again changes nothing.

        Returns:
            Sentences on masks that could not be read and are left as they are.
        """
        merge = Merge.load(self.root, self.merges[-1], self.class_list)
        if changes := merge.tags_to_set(self._logged_tags()):
            tag_log.append(self.root / "tags.csv", changes, tag_log.who())
        table, said = merge.table(self.class_list), []
        for labels in label_sets(self.root, self.colours):
            if unread := labels.convert(table, merge.kept(labels)):
                said.append(f"Masks of '{labels.name}' cannot be read and stay: {', '.join(unread[:5])}.")
        self._end(MERGING)
        return said

    @property
    def merges(self) -> tuple[str, ...]:
        """Ids of the merges of classes in force that can be taken back, the newest last."""
        return tuple(self._facts.get(MERGES, ()))

    def newest_merge(self) -> Merge | None:
        """Return the merge that `take_back_merge` would take back; None where there is none.

        Raises:
            UserError: What it kept is missing or damaged.
        """
        return Merge.load(self.root, self.merges[-1], self.class_list) if self.merges else None

    def take_back_merge(self) -> list[str]:
        """Let the two classes of the newest merge be two again, as if it had not been.

        Tags, labels, maps and the truth are again what they were; what a person said and what was made since
        stays. As with merging, corrected masks are `EditRoom.follow_merges`' work, and the next
        opening of the project ends what was begun.

        Returns:
            Sentences on what stays although the merge is gone.

        Raises:
            UserError: There is no merge to take back, or what it kept is missing or damaged.
        """
        merge = self.newest_merge()
        if merge is None:
            raise UserError(
                "There is no merge of classes to take back.",
                "What a merge changed is kept until it is taken back.",
                "Merges that an older version made stay.",
            )
        merge.plan_back(self.class_list, self._logged_tags())
        changed = self.class_list.parted(merge.old, merge.followed)
        if self.truth_place is not None:
            old, names = changed.names[merge.old], self.truth_place.classes
            names = tuple(old if i in merge.truth else name for i, name in enumerate(names))
            self.truth_place = replace(self.truth_place, classes=names)
        self._facts[MERGES] = list(self.merges[:-1])
        self._facts[PARTING] = merge.id
        self._take(changed)
        return self.finish_parting()

    def finish_parting(self) -> list[str]:
        """Do what is left of taking a merge back; doing it again changes nothing.

        Returns:
            Sentences on what stays although the merge is gone.

        Raises:
            UserError: What the merge kept is missing or damaged.
        """
        merge = Merge.load(self.root, self._facts[PARTING], self.class_list)
        if changes := merge.tags_to_set_back(self._logged_tags()):
            tag_log.append(self.root / "tags.csv", changes, tag_log.who())
        sets = label_sets(self.root, self.colours)
        said = [text for labels in sets for text in merge.restore(labels, self.class_list)]
        self._end(PARTING)
        drop(self.root, self.merges)
        return said

    def _end(self, what: str) -> None:
        self._facts.pop(what, None)
        self._write_facts()
        self._tags = None

    def _logged_tags(self) -> Tags:
        """Return what tags.csv says of every image and class, set aside or merged ones too."""
        path = self.root / "tags.csv"
        return tag_log.load(path, tuple(self.images), self.classes, self.class_list.former)

    def current_names(self, names: Sequence[str]) -> list[str]:
        """Return what classes are called today that a run knew by these names."""
        former = self.class_list.former
        return [former.get(name, name) for name in names]

    def _take(self, classes: ClassList) -> None:
        self.class_list = classes
        self._write_facts()
        self._tags = None

    def _rename_truth(self, old: str, new: str) -> None:
        """Let the indexes of truth masks that mean a class mean it under its other name."""
        if self.truth_place is not None:
            names = tuple(new if name == old else name for name in self.truth_place.classes)
            self.truth_place = replace(self.truth_place, classes=names)

    def _free_name(self, name: str) -> None:
        """Make sure that no line of tags.csv means another class by a name that is given anew."""
        if name in self.class_list.former:
            tag_log.rename(self.root / "tags.csv", self.class_list.former)

    def _write_facts(self) -> None:
        truth = self.truth_place
        facts = project_facts(self.root, self.name, self.class_list, self.image_folder, truth)
        write_text(self.root / "wsss.toml", tomli_w.dumps({**self._facts, **facts}))


def project_facts(
    root: Path,
    name: str,
    classes: ClassList,
    image_folder: Path,
    truth: TruthPlace | None,
) -> dict[str, Any]:
    """Return what wsss.toml says of a project."""
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "images": {"folder": _relative(root, image_folder)},
        "classes": classes.as_facts(),
    }
    if truth is not None:
        facts["truth"] = {"folder": _relative(root, truth.folder), "classes": list(truth.classes)}
    return facts


def _relative(root: Path, folder: Path) -> str:
    try:
        return PurePosixPath(Path(os.path.relpath(folder.resolve(), root))).as_posix()
    except ValueError:  # another drive on Windows
        return folder.resolve().as_posix()
