"""Tags from a folder of VOC XML annotations: a class is on an image if one of its objects is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from engine.errors import UserError
from engine.intake import Mistakes, read_bytes
from engine.names import quote
from engine.tag_files.sheet import Row, Sheet
from engine.tags import ABSENT, PRESENT, UNKNOWN

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["ACCEPTED", "read_xml"]

ACCEPTED = (
    "VOC annotations: one XML file per image, `<annotation>` with `<object><name>`, at most 4 MiB each."
)

_MAX_BYTES = 4 * 2**20


def read_xml(files: Sequence[Path], mistakes: Mistakes) -> Sheet:
    """Return the classes of the objects of each file; the file's name gives the stem.

    Only objects directly below the root count: parts of a person have names as well. A class of
    which every object is marked difficult is unknown, as 0 is in VOC's own class lists.
    """
    rows = []
    difficult = 0
    for path in files:
        try:
            root: Element = fromstring(read_bytes(path, _MAX_BYTES, ACCEPTED), forbid_dtd=True)
        except UserError as error:
            mistakes.add(path.name, error.found.removeprefix(f"{path} ").rstrip("."))
            continue
        except ParseError as error:
            mistakes.add(f"{path.name}, line {error.position[0]}", f"it is no XML ({error})")
            continue
        except DefusedXmlException as error:
            mistakes.add(path.name, f"it defines a document type or entities ({type(error).__name__})")
            continue
        except (ValueError, LookupError) as error:
            mistakes.add(path.name, f"its encoding is not known ({error})")
            continue
        if root.tag != "annotation":
            mistakes.add(path.name, f"its root is {quote(root.tag)}, not 'annotation'")
            continue
        states: dict[str, int] = {}
        for thing in root.findall("object"):
            name = (thing.findtext("name") or "").strip()
            if not name:
                mistakes.add(path.name, "an object has no name")
                continue
            hard = (thing.findtext("difficult") or "").strip() == "1"
            states[name] = max(states.get(name, UNKNOWN), UNKNOWN if hard else PRESENT)
        difficult += sum(state == UNKNOWN for state in states.values())
        rows.append(Row(path.name, path.stem, list(states.items()), ABSENT))
    notes = [f"{difficult:,} tags stand on difficult objects alone: they are unknown."] if difficult else []
    return Sheet("VOC XML annotations", rows, public=True, notes=notes)
