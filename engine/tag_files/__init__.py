"""Tag files: read image tags, class lists and split lists in the forms of the field.

read = read_tags(Path("tags.csv"), stems=stems, classes=None)
read.tags.states  # [N, C] int8: 1 present, 0 absent, -1 unknown
read.form, read.warnings
"""

from engine.names import check_class_names
from engine.tag_files.detect import read_tags
from engine.tag_files.name_lists import read_classes, read_split
from engine.tag_files.sheet import TagFile

__all__ = ["TagFile", "check_class_names", "read_classes", "read_split", "read_tags"]
