"""The project folder: images, classes, tags, splits, and the way to everything else.

project/
  wsss.toml     schema, name, classes with colours, where the images and the truth lie
  images.csv    one line an image: file, size, orientation, digest, splits, why set aside
  tags.csv      see `engine.store.tag_log`
  runs/ labels/ edited/ exports/
"""

from __future__ import annotations

import functools
import os
import re
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import tomli_w

from engine import images as pixels
from engine.atomic import clear_parts, new_folder, write_bytes, write_text
from engine.colours import class_colours
from engine.errors import UserError, nearest
from engine.intake import read_bytes
from engine.names import check_class_names, stem_fault
from engine.store import tag_log
from engine.store.image_list import Image, image_lines, inside, read_images
from engine.store.schema import SCHEMA, migrate
from engine.tags import UNKNOWN, Tags

__all__ = ["Image", "Project", "TruthPlace", "check_place", "create", "open_once", "open_project"]

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class TruthPlace:
    """Where truth masks lie and which class each index means; opened by `engine.store.truth` alone."""

    folder: Path
    classes: tuple[str, ...]


class Project:
    """An open project. Cheap to make; reads files when asked, and again when they changed."""

    def __init__(self, root: Path, facts: Mapping[str, Any]) -> None:
        self.root = root
        self.name = str(facts["name"])
        self.classes = _class_names([c["name"] for c in facts["classes"]], "wsss.toml")
        self.colours = _colours([c["colour"] for c in facts["classes"]])
        self.image_folder = _placed(root, facts["images"]["folder"])
        truth = facts.get("truth")
        self.truth_place = None if truth is None else _truth_place(root, truth)
        self._facts = dict(facts)
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
            self._tags = (mark, tag_log.load(path, self.usable, self.classes))
        return self._tags[1]

    def set_tags(self, changes: Iterable[tuple[str, str, int]], author: str | None = None) -> None:
        """Record (stem, class name or `*`, state) for each change, durable when this returns."""
        listed = list(changes)
        for stem, tag, _ in listed:
            self.image(stem)
            if tag != "*" and tag not in self.classes:
                raise UserError(
                    f"The project has no class '{tag}'.",
                    f"Classes: {', '.join(self.classes)}.",
                    nearest(tag, self.classes),
                )
        tag_log.append(self.root / "tags.csv", listed, author or tag_log.who())

    def set_aside(self, stem: str, reason: str) -> None:
        """Keep an image out of all further work, and say why; its tags stay."""
        self.images[stem] = replace(self.image(stem), aside=reason)
        self._write_images()

    def add_class(self, name: str) -> None:
        """Add a class behind the others, unknown on every image; indexes of the others stay.

        Raises:
            UserError: The name cannot be used or stands already.
        """
        names = _class_names([*self.classes, name])
        # "All others absent" was never said of a class that nobody knew. These lines come first:
        # they say nothing until the class is there, so a kill in between does no harm.
        self.tags()
        tag_log.append(self.root / "tags.csv", [(stem, name, UNKNOWN) for stem in self.images], tag_log.who())
        self.classes = names
        self.colours = (*self.colours, class_colours(len(names))[-1])
        self._write_facts()
        self._tags = None

    def recolour(self, colours: Mapping[str, str]) -> None:
        """Give classes other colours (`#RRGGBB`)."""
        chosen = [colours.get(n, c) for n, c in zip(self.classes, self.colours, strict=True)]
        self.colours = _colours(chosen)
        self._write_facts()

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

    def _write_facts(self) -> None:
        truth = self.truth_place
        facts = _facts(self.root, self.name, self.classes, self.colours, self.image_folder, truth)
        write_text(self.root / "wsss.toml", tomli_w.dumps({**self._facts, **facts}))

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
        return Project(root, facts)
    except KeyError as error:
        raise _damaged(file, f"it lacks {error.args[0]!r}") from None
    except (UnicodeDecodeError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(file, str(error)) from None


@functools.lru_cache(maxsize=1)
def open_once(path: str) -> Project:
    """Return a project that a worker process keeps open: one of ten thousand images takes 0.3 s to read."""
    return open_project(path)


def create(
    root: Path,
    *,
    images: Sequence[Image],
    image_folder: Path,
    tags: Tags,
    truth: TruthPlace | None = None,
    name: str | None = None,
    author: str = "import",
) -> Project:
    """Make a project folder, whole or not at all.

    Args:
        root: Folder to make; it must not exist, or be empty.
        images: All images, those set aside included.
        image_folder: Folder that the images' files are relative to.
        tags: Tags of the images; its classes are the project's, in mask order.
        truth: Where truth masks lie, if there are any.
        name: Name shown to people; the folder's name by default.
        author: Who the tags are recorded under.

    Raises:
        UserError: Something stands at `root`.
    """
    root = check_place(root)
    _class_names(tags.classes)
    colours = class_colours(len(tags.classes))
    with new_folder(root, replace=True) as part:
        facts = _facts(root, name or root.name, tags.classes, colours, image_folder.resolve(), truth)
        write_text(part / "wsss.toml", tomli_w.dumps(facts))
        write_bytes(part / "images.csv", image_lines(images))
        tag_log.create(part / "tags.csv", tags, author)
        for folder in ("runs", "labels", "exports"):
            (part / folder).mkdir()
    return open_project(root)


def check_place(root: Path) -> Path:
    """Return the resolved folder if a project can be made there.

    Raises:
        UserError: Something stands there, or a folder of that name is asking for trouble.
    """
    root = root.expanduser().resolve()
    accepted, todo = "A new or empty folder is accepted.", "Choose another name."
    if (root / "wsss.toml").exists():
        raise UserError(f"{root} is a project already.", accepted, todo)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} is not empty.", accepted, todo)
    if fault := stem_fault(root.name):
        raise UserError(f"A project's folder name {fault}.", "A plain folder name is accepted.", todo)
    return root


def _facts(
    root: Path,
    name: str,
    classes: Sequence[str],
    colours: Sequence[str],
    image_folder: Path,
    truth: TruthPlace | None,
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "images": {"folder": _relative(root, image_folder)},
        "classes": [{"name": n, "colour": c} for n, c in zip(classes, colours, strict=True)],
    }
    if truth is not None:
        facts["truth"] = {"folder": _relative(root, truth.folder), "classes": list(truth.classes)}
    return facts


def _relative(root: Path, folder: Path) -> str:
    try:
        return PurePosixPath(Path(os.path.relpath(folder.resolve(), root))).as_posix()
    except ValueError:  # another drive on Windows
        return folder.resolve().as_posix()


def _placed(root: Path, folder: str) -> Path:
    return (root / folder).resolve()


def _class_names(names: Iterable[Any], source: str = "The class list") -> tuple[str, ...]:
    """Return class names that are fit for a project; `*` means all classes in tags.csv."""
    found = tuple(_text(name) for name in names)
    check_class_names(found, source)
    if "*" in found:
        raise UserError(
            "A class cannot be named '*'.", "In tags.csv it means all classes.", "Rename the class."
        )
    return found


def _colours(colours: Sequence[Any]) -> tuple[str, ...]:
    for colour in colours:
        if not _COLOUR.fullmatch(_text(colour)):
            raise ValueError(f"the colour {colour!r} is not #RRGGBB")
    return tuple(colours)


def _truth_place(root: Path, truth: Mapping[str, Any]) -> TruthPlace:
    classes = tuple(_text(name) for name in truth["classes"])
    if len(classes) > 254:
        raise ValueError(f"{len(classes)} truth classes, and a mask holds at most 254")
    return TruthPlace(_placed(root, truth["folder"]), classes)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a name should")
    return value


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
