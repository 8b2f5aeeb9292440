"""Pseudo-labels: `labels/<name>/<image>.png` and the rule that made them; engine output only.

rule.json says what made the masks: source, made_by (rule, CRF, saliency), weights, drawn. Masks
that were made otherwise, one by one, stand in its `images` with facts of their own.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from engine import images as pixels
from engine.atomic import write_bytes, write_json
from engine.colours import rgb_of
from engine.errors import UserError, nearest
from engine.images.opening import opened
from engine.store.facts import read_facts
from engine.store.names import check_name, is_name

__all__ = ["LabelSet", "indexed_png", "label_set", "label_sets"]

_DIGEST = "wsss-digest"
# The last chunk of every PNG.
_END = b"\0\0\0\0IEND\xaeB`\x82"
# `wsss export --labels corrected` means a person's masks.
_TAKEN = ("corrected",)


@dataclass(frozen=True)
class LabelSet:
    """One set of masks of a project."""

    folder: Path
    colours: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def facts(self) -> dict[str, Any]:
        """Content of rule.json; empty when there is none, or it is damaged."""
        return read_facts(self.folder / "rule.json") or {}

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """Facts of the masks that were made otherwise than the set says; image -> its facts."""
        found = self.facts.get("images")
        if not isinstance(found, dict):
            return {}
        return {stem: dict(record) for stem, record in found.items() if isinstance(record, dict)}

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Replace rule.json."""
        write_json(self.folder / "rule.json", facts)

    def prepare(
        self, made: dict[str, Any], stems: Sequence[str], own: dict[str, Any] | None = None
    ) -> list[str]:
        """Make the set ready for the masks of a call, so that what it says of each mask stays true.

        Masks that are about to be made in another way than before go first, and the facts change
        after them: killed in between, old masks are missing; never do they pass for new ones.

        Args:
            made: Facts of the masks of this call.
            stems: The images of the call.
            own: Facts of just these images, for a call that leaves the masks of others as they
                are; None for a call that decides for the set.

        Returns:
            Sentences on what goes.

        Raises:
            UserError: The set is an import, or nobody knows what made its masks.
        """
        facts, records = self.facts, self.records
        if facts.get("imported") or (not facts and self.stems()):
            raise UserError(
                f"The labels '{self.name}' were {'imported' if facts else 'not made by this command'}.",
                "Labels made by this command can be made again.",
                "Choose another --name.",
            )
        base = {key: value for key, value in facts.items() if key != "images"} or made
        told = []
        if own is None:
            own = made
            others = sum(stem in records for stem in stems)
            if base != made:
                told.append(f"The labels '{self.name}' had another source or rule; they are replaced.")
                self.clear()
                base, records = made, {}
            elif others:
                told.append(
                    f"{others} of the labels '{self.name}' were made in their own way; they are replaced."
                )
        for stem in stems:
            if records.get(stem, base) != own:
                self.remove(stem)
                records[stem] = own
        there = {*self.stems(), *stems}
        if not there - set(records):
            base = made  # no mask is left that follows what the set said before
        records = {stem: record for stem, record in records.items() if stem in there and record != base}
        changed = {**base, "images": records} if records else base
        if changed != facts:
            self.write_facts(changed)
        return told

    def path(self, stem: str) -> Path:
        return self.folder / f"{stem}.png"

    def stems(self) -> tuple[str, ...]:
        """Return the images that have a mask, sorted."""
        if not self.folder.is_dir():
            return ()
        return tuple(sorted(p.stem for p in self.folder.glob("*.png") if not p.name.startswith(".")))

    def read(self, stem: str) -> NDArray[np.uint8]:
        """Return a mask, [H, W] uint8: 0 background, class + 1, 255 unsure.

        Raises:
            FileNotFoundError: There is none.
            UserError: It is damaged.
        """
        path = self.path(stem)
        if not path.is_file():
            raise FileNotFoundError(path)
        return pixels.read_mask(path)

    def write(self, stem: str, mask: NDArray[np.uint8], digest: str = "") -> None:
        """Write a mask atomically, with the digest of what made it."""
        write_bytes(self.path(stem), indexed_png(mask, self.colours, {_DIGEST: digest}))

    def digest(self, stem: str) -> str:
        """Return the digest that a whole mask was written with, or an empty string."""
        path = self.path(stem)
        if not path.is_file():
            return ""
        try:
            with path.open("rb") as file:
                file.seek(-len(_END), os.SEEK_END)
                if file.read() != _END:
                    return ""  # cut short: its header may be whole, and its pixels are not
            with opened(path, forms=("PNG",)) as (image, _):
                return str(image.info.get(_DIGEST, ""))
        except (OSError, UserError):
            return ""

    def convert(self, table: NDArray[np.uint8], kept: LabelSet) -> list[str]:
        """Give every pixel of every mask the value that a table says; doing it again changes nothing
        where what it gives is given back.

        Args:
            table: [256] uint8.
            kept: Where the masks that change are kept as they were; those there stay.

        Returns:
            The images whose mask is damaged and stays as it is.
        """
        unread = []
        for stem in self.stems():
            try:
                mask = self.read(stem)
            except UserError:
                unread.append(stem)
                continue
            if (table[mask] != mask).any():
                if not kept.path(stem).is_file():
                    kept.write(stem, mask, self.digest(stem))
                self.write(stem, table[mask], self.digest(stem))
        return unread

    def remove(self, stem: str) -> None:
        """Remove one mask, if it is there; what made it is about to change."""
        self.path(stem).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove every mask; what made them is about to change."""
        for stem in self.stems():
            self.remove(stem)


def label_sets(root: Path, colours: tuple[str, ...]) -> list[LabelSet]:
    """Return the label sets of a project, sorted by name."""
    folder = root / "labels"
    if not folder.is_dir():
        return []
    return [LabelSet(f, colours) for f in sorted(folder.iterdir()) if f.is_dir() and is_name(f.name)]


def label_set(root: Path, colours: tuple[str, ...], name: str, *, new: bool = False) -> LabelSet:
    """Return a label set by name; with `new` it need not exist.

    Raises:
        UserError: There is none of that name, or the name cannot be used.
    """
    check_name(name, "labels")
    if new and name in _TAKEN:
        raise UserError(
            f"'{name}' cannot name labels.",
            "It stands for the masks that people corrected.",
            "Choose another name.",
        )
    found = LabelSet(root / "labels" / name, colours)
    if not new and not found.folder.is_dir():
        known = [s.name for s in label_sets(root, colours)]
        raise UserError(
            f"The project has no labels '{name}'.",
            f"Labels: {', '.join(known) or 'none yet'}.",
            nearest(name, known) or "Make them with `wsss label -p PROJECT --source RUN --name NAME`.",
        )
    return found


def indexed_png(
    mask: NDArray[np.uint8], colours: tuple[str, ...], texts: dict[str, str] | None = None
) -> bytes:
    """Return an 8-bit palette PNG of a mask: index 0 black, class i in its colour, 255 grey-beige.

    Args:
        mask: [H, W] uint8.
        colours: `#RRGGBB` of the project's classes.
        texts: PNG text chunks to add.
    """
    palette = bytearray(768)
    for i, colour in enumerate(colours[:254], start=1):
        palette[3 * i : 3 * i + 3] = bytes(rgb_of(colour))
    palette[765:768] = bytes((224, 224, 192))
    image = Pillow.fromarray(mask)
    image.putpalette(bytes(palette), "RGB")  # turns L into P, the indexes stay
    info = PngInfo()
    for key, value in (texts or {}).items():
        info.add_text(key, value)
    out = io.BytesIO()
    # bits=8: Pillow would write 1 bit a pixel for two colours, which many readers refuse.
    image.save(out, "PNG", bits=8, pnginfo=info, compress_level=4)
    return out.getvalue()
