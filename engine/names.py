"""What an image stem and a class name may look like, and how names in files become stems."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable

from engine.errors import UserError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_CLASSES",
    "check_class_names",
    "class_fault",
    "collision_key",
    "nfc",
    "quote",
    "stem_fault",
    "stem_of",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif")
# Masks are uint8: 0 is the background and 255 is unsure.
MAX_CLASSES = 254

_CUT = 1_000
_MAX_CLASS = 64
_MAX_STEM = 200
_JOINERS = "\u200c\u200d"  # spelling of Persian and Indic words needs them
_RESERVED = ("background", "unsure")


def nfc(name: str) -> str:
    """Return the name in Unicode form NFC, as macOS writes the same name in another form.

    No name is as long as 1000 letters; what follows is cut, as folding megabytes takes gigabytes.
    """
    return unicodedata.normalize("NFC", name[:_CUT])


def collision_key(name: str) -> str:
    """Return what two names share that some file systems take for one."""
    return nfc(nfc(name).casefold())


def quote(value: object) -> str:
    """Return a name of unknown make for a message: quoted, escaped, and cut where it is long."""
    text = repr(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:76] + "..." + text[-1]


def stem_of(name: str, known: Collection[str] = ()) -> str:
    """Return the image stem that a name in a file means: without folders and image suffix, in NFC.

    `photo.v2` keeps its dot, as `.v2` is no image suffix. A name that is in `known` as it stands
    is that stem, so that the image `a.png.jpg` can be named `a.png`.
    """
    base = nfc(name[-4 * _CUT :].replace("\\", "/").rsplit("/", 1)[-1]).strip()
    if base in known:
        return base
    start, dot, suffix = base.rpartition(".")
    return start.rstrip() if start and dot + suffix.lower() in IMAGE_SUFFIXES else base


def stem_fault(stem: str) -> str:
    """Return why a name cannot be an image stem ("has ..."), or an empty string."""
    if not stem:
        return "is empty"
    if stem != stem.strip():
        return "begins or ends with a space"
    if stem in (".", "..") or "/" in stem or "\\" in stem:
        return "is a path, not a name"
    return _letters_fault(stem, _MAX_STEM)


def class_fault(name: str) -> str:
    """Return why a name cannot be a class of a project ("has ..."), or an empty string."""
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "begins or ends with a space"
    if name.casefold() in _RESERVED:
        return "is reserved: the background and unsure pixels are no classes"
    for letter in ";,/\\":
        if letter in name:
            return f"holds the separator '{letter}'"
    if name == "*":
        return "is *, which stands for all classes"
    if name[0] in "?=+-@":
        # "?dog" means unknown in a tag list, and spreadsheets run the others as formulas.
        return f"begins with '{name[0]}'"
    return _letters_fault(name, _MAX_CLASS)


def check_class_names(names: Iterable[str], source: str = "The class list") -> None:
    """Check the class names of a project: each one usable, no two alike.

    Args:
        names: The names in their order.
        source: What they came from, to begin the message with.

    Raises:
        UserError: With the first name that cannot be used.
    """
    accepted = f"1 to {MAX_CLASSES} names of at most {_MAX_CLASS} characters, without ; , / \\ and line ends."
    seen: dict[str, str] = {}
    for name in names:
        fault = class_fault(name)
        twin = seen.get(collision_key(name))
        if twin is not None:
            fault = f"is too like {quote(twin)}: they differ in case or Unicode form only"
            if twin == name:
                fault = "is there twice"
        if fault:
            raise UserError(f"{source}: the class name {quote(name)} {fault}.", accepted, "Rename the class.")
        seen[collision_key(name)] = name
    if len(seen) > MAX_CLASSES:
        raise UserError(f"{source}: {len(seen):,} names are too many.", accepted, "Leave classes out.")
    if not seen:
        raise UserError(f"{source}: there is no class name.", accepted, "Name at least one class.")


def _letters_fault(name: str, longest: int) -> str:
    if len(name) > longest:
        return f"has more than {longest} characters"
    for letter in name:
        kind = unicodedata.category(letter)
        # Cf: direction marks and zero-width spaces make two names look the same.
        if kind in ("Cc", "Cs", "Zl", "Zp") or (kind == "Cf" and letter not in _JOINERS):
            return f"holds the control character U+{ord(letter):04X}"
    return ""
