"""The project on disk. `engine.store.truth` is imported by those who may open truth masks."""

from engine.store.digests import digest_of, file_digest, image_set_digest, stale, tag_digest
from engine.store.label_sets import LabelSet, indexed_png, label_set, label_sets
from engine.store.making import check_place, create
from engine.store.names import check_name, free_name, is_name
from engine.store.project import Image, Project, TruthPlace, open_once, open_project
from engine.store.runs import Run, Views, new_run, run_of, runs_of, source_of
from engine.store.stacks import maps_digest, read_pixels, read_stack, with_maps

__all__ = [
    "Image",
    "LabelSet",
    "Project",
    "Run",
    "TruthPlace",
    "Views",
    "check_name",
    "check_place",
    "create",
    "digest_of",
    "file_digest",
    "free_name",
    "image_set_digest",
    "indexed_png",
    "is_name",
    "label_set",
    "label_sets",
    "maps_digest",
    "new_run",
    "open_once",
    "open_project",
    "read_pixels",
    "read_stack",
    "run_of",
    "runs_of",
    "source_of",
    "stale",
    "tag_digest",
    "with_maps",
]
