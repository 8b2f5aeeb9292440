"""The project folder: images, classes, tags, splits, and the way to everything else.

project/
  wsss.toml     schema, name, classes with colours, where the images and the truth lie
  images.csv    one line an image: file, size, orientation, digest, splits, why set aside
  tags.csv      see `engine.store.tag_log`
  runs/ labels/ edited/ exports/
"""

from __future__ import annotations

import functools
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine import images as pixels
from engine.atomic import clear_parts, write_bytes
from engine.errors import UserError, nearest
from engine.intake import read_bytes
from engine.store import tag_log
from engine.store.class_list import ClassList, text
from engine.store.image_list import Image, image_lines, inside, read_images
from engine.store.merging import check_merges
from engine.store.project_classes import MERGES, MERGING, PARTING, ProjectClasses, TruthPlace, project_facts
from engine.store.schema import migrate
from engine.tags import UNKNOWN, Tags

__all__ = ["Image", "Project", "TruthPlace", "open_once", "open_project", "project_facts"]


class Project(ProjectClasses):
    """An open project. Cheap to make; reads files when asked, and again when they changed."""

    def __init__(self, root: Path, facts: Mapping[str, Any]) -> None:
        self.root = root
        self.name = str(facts["name"])
        self.class_list = ClassList.of(facts["classes"])
        self.image_folder = _placed(root, facts["images"]["folder"])
        truth = facts.get("truth")
        self.truth_place = None if truth is None else _truth_place(root, truth)
        self._facts = dict(facts)
        check_merges(self._facts.get(MERGES, []), self._facts.get(PARTING), bool(self._facts.get(MERGING)))
        self._tags: tuple[tuple[int, int], Tags] | None = None
        self.images: dict[str, Image] = {i.stem: i for i in read_images(root / "images.csv")}

    def __repr__(self) -> str:
        return f"Project({self.name!r}, {len(self.images)} images, {len(self.classes)} classes)"

    @property
    def usable(self) -> tuple[str, ...]:
        """Stems of the images that are not set aside, in the order of images.csv."""
        return tuple(s for s, i in self.images.items() if not i.aside)

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """Split name -> stems in use."""
        found: dict[str, list[str]] = {}
        for stem, image in self.images.items():
            for name in image.splits:
                found.setdefault(name, [])
                if not image.aside:
                    found[name].append(stem)
        return {name: tuple(stems) for name, stems in found.items()}

    def stems(self, split: str | None = None, images: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the images a job works on.

        Args:
            split: Name of a split; None or "all" means every image. In a project
                without any split, "train" means every image too.
            images: Stems; they win over `split`.

        Raises:
            UserError: There is no such split or image, or nothing is left.
        """
        if images:
            for stem in images:
                self.image(stem)
            chosen = tuple(s for s in dict.fromkeys(images) if not self.images[s].aside)
        elif split is None or split == "all":
            chosen = self.usable
        else:
            splits = self.splits
            if split in splits:
                chosen = splits[split]
            elif split == "train" and not splits:
                chosen = self.usable
            else:
                raise UserError(
                    f"The project has no split '{split}'.",
                    f"Splits: {', '.join([*splits, 'all'])}.",
                    nearest(split, [*splits, "all"]),
                )
        if not chosen:
            raise UserError(
                "There is no image to work on.", "", "Choose another split; `wsss status` lists them."
            )
        return chosen

    def image(self, stem: str) -> Image:
        """Return the facts of one image.

        Raises:
            UserError: There is no such image.
        """
        try:
            return self.images[stem]
        except KeyError:
            raise UserError(
                f"The project has no image '{stem}'.",
                "Images are named without extension.",
                nearest(stem, self.images),
            ) from None

    def path(self, stem: str) -> Path:
        """Return the path of an image's file.

        Raises:
            UserError: There is no such image, or its file would lie outside the image folder.
        """
        return inside(self.image_folder, self.image(stem).file)

    def read(self, stem: str) -> pixels.Picture:
        """Return the upright pixels of one image.

        Raises:
            UserError: The file is missing (the relink command is named) or unreadable.
        """
        path = self.path(stem)
        if not path.exists():
            raise UserError(
                f"{path} is missing.",
                "",
                f"If the folder moved, run `wsss relink {self.root.name} --images NEW_FOLDER`.",
            )
        return pixels.read(path)

    def tags(self) -> Tags:
        """Return the tags of the images in use, read again when the file changed."""
        path = self.root / "tags.csv"
        try:
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            mark = (0, 0)
        if self._tags is None or self._tags[0] != mark or self._tags[1].stems != self.usable:
            tags = tag_log.load(path, self.usable, self.classes, self.class_list.former)
            if merged := self.class_list.merged:
                states = tags.states.copy()
                states[:, list(merged)] = UNKNOWN  # nobody is asked about a class that is another one now
                tags = Tags(tags.classes, tags.stems, states)
            self._tags = (mark, tags)
        return self._tags[1]

    def set_tags(self, changes: Iterable[tuple[str, str, int]], author: str | None = None) -> None:
        """Record (stem, class name or `*`, state) for each change, durable when this returns."""
        listed = list(changes)
        for stem, tag, _ in listed:
            self.image(stem)
            if tag != "*":
                self.class_list.index(tag)
        tag_log.append(self.root / "tags.csv", listed, author or tag_log.who())

    def set_aside(self, stem: str, reason: str) -> None:
        """Keep an image out of all further work, and say why; its tags stay."""
        self.images[stem] = replace(self.image(stem), aside=reason)
        self._write_images()

    def relink(self, images: Path | None = None, truth: Path | None = None) -> list[str]:
        """Point the project at the new place of its images or truth, after looking at them.

        Returns:
            Sentences on what differs there (files that changed since the project was made).

        Raises:
            UserError: Images of the project are missing there; nothing is changed.
        """
        if truth is not None:
            if self.truth_place is None:
                raise UserError(
                    "The project has no truth masks to relink.",
                    "A project made with --truth has a folder of them.",
                    "Leave --truth away, or make the project again with it.",
                )
            if not truth.is_dir():
                raise UserError(
                    f"{truth} is no folder.", "A folder of truth masks is accepted.", "Check the path."
                )
        said = []
        if images is not None:
            said = self._look_at(images)
            self.image_folder = images.resolve()
        if truth is not None and self.truth_place is not None:
            self.truth_place = replace(self.truth_place, folder=truth.resolve())
        self._write_facts()
        return said

    def _look_at(self, folder: Path) -> list[str]:
        """Compare the images in a folder with those of the project, and take over what changed."""
        used = [i for i in self.images.values() if not i.aside]
        missing = [i.file for i in used if not inside(folder, i.file).is_file()]
        if missing:
            raise UserError(
                f"{folder} lacks {len(missing)} of the project's {len(used)} images: {', '.join(missing[:3])}"
                f"{' …' if len(missing) > 3 else ''}.",
                "The folder that the project was made from is accepted, wherever it lies now.",
                "Give the folder that holds these files.",
            )
        changed: dict[str, Image] = {}
        for image in used:
            path = inside(folder, image.file)
            found = pixels.digest(path)
            if found != image.sha256:
                facts = pixels.probe(path)
                changed[image.stem] = replace(
                    image,
                    height=facts.height,
                    width=facts.width,
                    orientation=facts.orientation,
                    mode=facts.mode,
                    sha256=found,
                )
        if not changed:
            return []
        self.images |= changed
        self._write_images()
        return [
            f"{len(changed)} image(s) differ from those the project was made with: {', '.join(list(changed)[:5])}"
            f"{' …' if len(changed) > 5 else ''}. Runs that used them are stale."
        ]

    def _write_images(self) -> None:
        write_bytes(self.root / "images.csv", image_lines(self.images.values()))


def open_project(path: str | Path) -> Project:
    """Open the project in a folder (or by its wsss.toml), migrating older schemas in memory.

    Raises:
        UserError: There is no project, it is damaged, or a newer version made it.
    """
    root = Path(path).expanduser()
    if root.name == "wsss.toml":
        root = root.parent
    root = root.resolve()
    file = root / "wsss.toml"
    if not file.is_file():
        raise UserError(
            f"{root} is no project: it has no wsss.toml.",
            "A folder made by `wsss new` is accepted.",
            "Make one with `wsss new PROJECT --images DIR --tags FILE`.",
        )
    data = read_bytes(file, 1 << 22, "A project file of a few kB is accepted.")
    try:
        facts = migrate(tomllib.loads(data.decode("utf-8")))
        for folder in (root, root / "labels", root / "exports", *_and_below(root / "runs")):
            clear_parts(folder, older_than=_abandoned)
        project = Project(root, facts)
    except KeyError as error:
        raise _damaged(file, f"it lacks {error.args[0]!r}") from None
    except (UnicodeDecodeError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(file, str(error)) from None
    if facts.get(MERGING):
        project.finish_merging()
    if facts.get(PARTING):
        project.finish_parting()
    return project


@functools.lru_cache(maxsize=1)
def open_once(path: str) -> Project:
    """Return a project that a worker process keeps open: one of ten thousand images takes 0.3 s to read."""
    return open_project(path)


def _placed(root: Path, folder: str) -> Path:
    return (root / folder).resolve()


def _truth_place(root: Path, truth: Mapping[str, Any]) -> TruthPlace:
    classes = tuple(text(name) for name in truth["classes"])
    if len(classes) > 254:
        raise ValueError(f"{len(classes)} truth classes, and a mask holds at most 254")
    return TruthPlace(_placed(root, truth["folder"]), classes)


def _damaged(file: Path, why: str) -> UserError:
    return UserError(
        f"{file} is damaged: {why}.",
        "What `wsss new` wrote is read.",
        "Put it back from a backup, or make the project anew beside it.",
    )


def _and_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return [folder]
    return [folder, *(f for f in folder.iterdir() if f.is_dir() and not f.is_symlink())]


def _abandoned(part: Path) -> bool:
    """Return whether a half-written file is old enough that no live writer holds it."""
    try:
        return time.time() - part.stat().st_mtime > 600
    except FileNotFoundError:
        return False
