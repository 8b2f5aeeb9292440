"""Tell which form a tag file has by what is in it, and read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import UserError
from engine.intake import Mistakes, Text, parse_json, read_bytes, read_text
from engine.names import check_class_names
from engine.pickled import MAGIC
from engine.tag_files import coco, json_lists, tables, voc_lists, voc_xml
from engine.tag_files.cls_labels import read_cls_labels
from engine.tag_files.sheet import Sheet, TagFile, settle

__all__ = ["read_tags"]

_ACCEPTED = (
    "CSV `image,tags` (tags separated by ';'), one-hot CSV, JSON {stem: [class, ...]}, a folder of VOC XML or "
    "VOC ImageSets/Main files, COCO instances JSON, or cls_labels.npy."
)
# Files that people take for tag lists, by their first bytes.
_OTHERS = {
    b"PK\x03\x04": ("a zip file or a spreadsheet", "In the spreadsheet, save as CSV UTF-8."),
    b"\xd0\xcf\x11\xe0": ("an old spreadsheet", "In the spreadsheet, save as CSV UTF-8."),
    b"\x80": ("a pickle, which could run programs", "Save it with numpy.save, or as JSON."),
    b"%PDF": ("a PDF", "Save the list as CSV."),
}


def read_tags(
    path: Path, *, stems: Sequence[str] | None = None, classes: Sequence[str] | None = None
) -> TagFile:
    """Return the tags of a file or folder of any known form.

    An image that is listed has the tags it is listed with and lacks all others; listed without
    tags it is all background; an image that is not listed is unknown in every class, and so is
    a class that the file's own class list lacks.

    Args:
        path: The file, or a folder of VOC XML annotations or VOC ImageSets/Main lists.
        stems: The images of the project, which become the rows in this order. Without them the
            images of the file, sorted.
        classes: The classes of the project in their order. Without them those of the file: in
            the order of its own class list, else by the alphabet.

    Raises:
        UserError: The form is not known, or the mistakes in it, with their lines.
    """
    if classes is not None:
        check_class_names(classes)
    if path.is_dir():
        mistakes = Mistakes(path, f"{voc_xml.ACCEPTED} {voc_lists.ACCEPTED}")
        return settle(path, _read_folder(path, mistakes), stems, classes, mistakes)
    data = read_bytes(path, accepted=_ACCEPTED)
    if data.startswith(MAGIC):
        mistakes = Mistakes(path, "One number per class for each image.")
        return settle(path, read_cls_labels(path, classes, mistakes), stems, classes, mistakes)
    for start, (what, todo) in _OTHERS.items():
        if data.startswith(start):
            raise UserError(f"{path} is {what}.", _ACCEPTED, todo)
    text = read_text(path, data, _ACCEPTED)
    del data
    known = None if stems is None else frozenset(stems)
    first = text.whole.lstrip()[:1]
    if first == "<":
        todo = "Give the folder of annotations, not one of them."
        raise UserError(f"{path} is an XML or HTML file.", _ACCEPTED, todo)
    if first in ("{", "["):
        mistakes = Mistakes(path, f"{json_lists.ACCEPTED} {coco.ACCEPTED}")
        sheet = _read_json(path, text, mistakes)
    elif voc_lists.is_class_list(path, text):
        mistakes = Mistakes(path, voc_lists.ACCEPTED)
        sheet = voc_lists.read_main([path], mistakes)
    else:
        mistakes = Mistakes(path, tables.ACCEPTED)
        sheet = tables.read_table(path, text, known, classes, mistakes)
    sheet.notes[:0] = text.notes
    return settle(path, sheet, stems, classes, mistakes)


def _read_json(path: Path, text: Text, mistakes: Mistakes) -> Sheet:
    value = parse_json(path, text, json_lists.ACCEPTED)
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON list.", json_lists.ACCEPTED, "Name the image of each entry.")
    if coco.is_coco(value):
        return coco.read_coco(value, text, mistakes)
    return json_lists.read_json_list(value, text, mistakes)


def _read_folder(path: Path, mistakes: Mistakes) -> Sheet:
    xml, lists = sorted(path.glob("*.xml")), voc_lists.main_files(path)
    if bool(xml) != bool(lists):
        return voc_xml.read_xml(xml, mistakes) if xml else voc_lists.read_main(lists, mistakes)
    if xml:
        found = f"{path} holds {len(xml):,} XML files and {len(lists):,} class lists."
        raise UserError(found, _ACCEPTED, "Put them into folders of their own.")
    below = [name for name in ("Annotations", "ImageSets/Main", "Main") if (path / name).is_dir()]
    todo = f"Give {path / below[0]}." if below else "Check the path."
    raise UserError(f"{path} holds neither VOC annotations (.xml) nor class lists.", _ACCEPTED, todo)
