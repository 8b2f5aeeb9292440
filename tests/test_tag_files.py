"""Tag files in every form, and the sentences for what is wrong in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.class_names import COCO, VOC
from engine.errors import UserError
from engine.tag_files import TagFile, read_classes, read_split, read_tags

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "tags.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def states(read: TagFile) -> dict[str, dict[str, int]]:
    """Return stem -> class -> state."""
    return {
        stem: dict(zip(read.tags.classes, row.tolist(), strict=True))
        for stem, row in zip(read.tags.stems, read.tags.states, strict=True)
    }


SAID = {"a": {"cat": 1, "dog": 1}, "b": {"cat": 0, "dog": 0}, "c": {"cat": 0, "dog": 1}}


def coco(**changes: object) -> str:
    value: dict[str, object] = {
        "images": [
            {"id": 7, "file_name": "val/a.jpg"},
            {"id": 9, "file_name": "b.jpg"},
            {"id": 4, "file_name": "c"},
        ],
        "annotations": [
            {"image_id": 7, "category_id": 18},
            {"image_id": 7, "category_id": 18, "iscrowd": 1},
            {"image_id": 7, "category_id": 3},
            {"image_id": 4, "category_id": 18},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    return json.dumps(value | changes, indent=1)


FORMS = {
    "list": ("image,tags\na,cat;dog\nb,\nc,dog\n", "CSV list"),
    "names with folders": ("file,labels\nx/a.jpg,dog;cat\ny\\b.PNG,\nc.tif,dog\n", "CSV list"),
    "semicolons": ('image;tags\na;"cat;dog"\nb;\nc;dog\n', "CSV with semicolons list"),
    "semicolons and commas": ("image;tags\na;cat,dog\nb;\nc;dog\n", "CSV with semicolons list"),
    "tabs": ("image\ttags\na\tcat;dog\nb\t\nc\tdog\n", "TSV list"),
    "no header": ("a.jpg,cat;dog\nb.jpg,\nc.jpg,dog\n", "CSV list without header"),
    "windows": ("\ufeffimage,tags\r\na,cat;dog\r\nb,\r\n\r\nc,dog,,\r\n", "CSV list"),
    "old mac": ("image,tags\ra,cat;dog\rb,\rc,dog\r", "CSV list"),
    "one-hot": ("image,cat,dog\na,1,1\nb,0,0\nc,0,1\n", "one-hot CSV"),
    "one-hot of pandas": ("name,cat,dog\na,1.0,True\nb,0.0,False\nc,0,1\n", "one-hot CSV"),
    "json": ('{"a": ["cat", "dog"], "b": [], "c": ["dog"]}', "JSON"),
    "json with labels": ('{"labels": {"a": ["cat", "dog"], "b": [], "c": ["dog"]}}', "JSON with labels"),
    "coco": (coco(), "COCO instances JSON"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(write: Write, form: str) -> None:
    text, name = FORMS[form]
    read = read_tags(write(text), stems=["c", "b", "a"], classes=["dog", "cat"])
    assert read.form == name
    assert read.tags.stems == ("c", "b", "a")
    assert read.tags.classes == ("dog", "cat")
    assert states(read) == {"c": {"dog": 1, "cat": 0}, "b": {"dog": 0, "cat": 0}, "a": {"dog": 1, "cat": 1}}
    alone = read_tags(write(text))
    assert states(alone) == SAID
    assert alone.tags.stems == ("a", "b", "c")
    assert alone.tags.classes == (("dog", "cat") if form == "coco" else ("cat", "dog"))


def test_listed_unlisted_and_unknown(write: Write) -> None:
    read = read_tags(
        write("image,tags\na,dog;?cat\nb,\n"), stems=["a", "b", "z"], classes=["cat", "dog", "cow"]
    )
    assert states(read) == {
        "a": {"cat": -1, "dog": 1, "cow": 0},
        "b": {"cat": 0, "dog": 0, "cow": 0},
        "z": {"cat": -1, "dog": -1, "cow": -1},
    }
    assert read.tags.untagged == ("z",)
    assert any("1 of 3 images are not in the file" in w for w in read.warnings)


def test_one_hot_cells(write: Write) -> None:
    read = read_tags(write("image,cat,dog,cow\na,1,0,-1\nb,?,,1\nc,-1.0,NaN,0.0\n"))
    assert read.tags.states.tolist() == [[1, 0, -1], [-1, -1, 1], [-1, -1, 0]]
    assert read.warnings == []
    signs = read_tags(write("image,cat,dog\na,1,-1\nb,-1,1\n"))
    assert signs.tags.states.tolist() == [[1, -1], [-1, 1]]
    assert "never 0" in signs.warnings[0]


def test_one_hot_without_a_column_is_unknown_there(write: Write) -> None:
    read = read_tags(write("image,cat\na,1\n"), classes=["cat", "dog"])
    assert states(read) == {"a": {"cat": 1, "dog": -1}}
    assert any("'dog'" in w for w in read.warnings)


def test_class_order(write: Write) -> None:
    assert read_tags(write("image,tags\na,dog;Cat\nb,ant\n")).tags.classes == ("ant", "Cat", "dog")
    assert read_tags(write("image,dog,ant\na,1,1\n")).tags.classes == ("dog", "ant")
    text = '{"labels": {"a": ["dog"]}, "classes": ["background", "dog", "cat", "ant"]%s}'
    assert read_tags(write(text % "")).tags.classes == ("dog", "cat", "ant")
    assert read_tags(write(text % ', "used": ["ant", "dog"]')).tags.classes == ("ant", "dog")


def test_json_classes_beside_the_used_ones_are_passed_over(write: Write) -> None:
    text = '{"labels": {"a": ["dog", "cat"]}, "classes": ["dog", "cat"], "used": ["dog"]}'
    read = read_tags(write(text))
    assert states(read) == {"a": {"dog": 1}}
    assert any("cat (1)" in w for w in read.warnings)
    with pytest.raises(UserError, match="'cow' is no class"):
        read_tags(write(text.replace('"dog", "cat"]}', '"cow"]}')))


def test_what_was_put_right_is_said(write: Write) -> None:
    read = read_tags(write("\ufeffimage,tags\n a1 ,dog ;dog\nb,cafe\u0301\n"))
    assert read.tags.stems == ("a1", "b")
    assert read.tags.classes == ("caf\u00e9", "dog")
    said = " ".join(read.warnings)
    assert "byte order mark" in said
    assert "around 1 image names" in said
    assert "Spaces around class names" in said
    assert "NFC" in said
    assert "1 tags are there twice" in said


def test_stems_match_in_any_unicode_form(write: Write) -> None:
    read = read_tags(write("image,tags\ncafe\u0301.jpg,dog\n"), stems=["caf\u00e9"])
    assert states(read) == {"caf\u00e9": {"dog": 1}}


def test_other_columns_are_passed_over_and_said(write: Write) -> None:
    read = read_tags(write("image,who,tags\na,me,dog\n"))
    assert states(read) == {"a": {"dog": 1}}
    assert "'who'" in read.warnings[0]


MISTAKES = {
    "image,tags\na,dog\na.jpg,dog\n": "line 3: the image 'a' is listed twice (first: line 2)",
    "image,tags\nx1,dog\n": "line 2: there is no image 'x1'",
    "image,tags\nA,dog\n": "line 2: there is no image 'A'",
    "image,tags\n\na,dgo\n": "line 3: 'dgo' is no class",
    "image,tags\na,Dog\n": "line 2: 'Dog' is no class",
    "image,tags\na,dog|cat\n": "line 2: 'dog|cat': tags are separated by ';', not by '|'",
    'image,tags\na,"dog,cat"\n': "line 2: the class name 'dog,cat' holds the separator ','",
    "image,tags\na,dog,cat\n": "line 2: 3 cells where 2 belong; tags of one image are separated by ';'",
    "image;tags\na;dog;cat\n": "line 2: 3 cells where 2 belong; several tags stand in quotes",
    "image,tags\na\n": "line 2: 1 cells where 2 belong; an image without tags ends in ','",
    "image,tags\n,dog\n": "line 2: the image name '' is empty",
    "image,tags\na,dog;?dog\n": "line 2: 'dog' is there twice, with different states",
    'image,tags\na,"dog\nb,cat\n': "the cells cannot be told apart",
    "image,tags\n": "it lists no image",
    "image,tags\na,do\x07g\n": "line 2: there is a control character 0x07",
    "image,tags\na,d\x00g\n": "line 2: there is a NUL byte",
    "a,dog\nb,cat\nimage,tags\n": "line 3: there is no image 'image'",
    "picture,labels\na,dog\n": "line 1: 'picture,labels' is no header",
    "a,1,0\nb,0,1\n": "line 1: 'a,1,0' is no header",
    "a,1\nb,0\n": "line 1: 'a,1' is no header",
    "image,tags,labels\na,dog,cat\n": "line 1: 2 columns could hold the tags",
    "image,dog,cat\na,1,2\n": "line 2: '2' in column 'cat' is none of 1, 0, -1, ?",
    "image,dog,cat\na,1\n": "line 2: 2 cells where the header has 3",
    "image,dog,dgo\na,1,0\n": "line 1: the column 'dgo' is no class",
    "image,dog,dog\na,1,0\n": "line 1: the column 'dog' is there twice",
    "image,dog,,cat\na,1,0,1\n": "line 1: column 3 has no name",
    "image,tag,state,who,when\na,*,absent,me,now\n": "is the tag log of a project",
    '{"a": ["dog"],\n "a": ["cat"]}': "line 2: the key 'a' is there twice (first in line 1)",
    '{"a": ["dog"],\n "b": "cat"}': "line 2: the tags of 'b' are no list of names",
    '{"a": ["dog"],\n "x": ["cat"]}': "line 2: there is no image 'x'",
    '{"a": ["dog"],\n "b": ["dgo"]}': "line 2: 'dgo' is no class",
    '{"a": ["dog"],\n "b": [3]}': "line 2: the tags of 'b' are no list of names",
    '{"a": NaN}': "holds NaN",
    '{"a": ["dog"]': "line 1, column 14",
    "{}": "it lists no image",
    '["a"]': "holds a JSON list",
    '{"labels": {"a": []}, "classes": "dog"}': "line 1: 'classes' is no list of names",
    "a\tx\nb\tx\n": "line 1: 'x' is no class (and 1 times more)",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_told_with_their_line(write: Write, text: str) -> None:
    path = write(text)
    with pytest.raises(UserError) as error:
        read_tags(path, stems=["a", "b"], classes=["dog", "cat"])
    assert MISTAKES[text] in error.value.found
    assert str(path) in error.value.found
    assert error.value.accepted
    assert error.value.todo


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,tags\na,Cat\nb,cat\n", "line 3: 'cat' differs from 'Cat' (line 2) in case only"),
        (
            "image,tags\na001,dog\nA001,dog\n",
            "line 3: the image 'A001' differs from 'a001' (line 2) in case only",
        ),
        ("image,tags\na,=cmd()\n", "line 2: the class name '=cmd()' begins with '='"),
        ("image,tags\na,background\n", "line 2: the class name 'background' is reserved"),
        ("image,tags\n../..,dog\n", "is a path, not a name"),
    ],
)
def test_collisions_without_a_project(write: Write, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        read_tags(write(text))
    assert words in error.value.found


def test_the_nearest_name_is_suggested(write: Write) -> None:
    with pytest.raises(UserError, match="Did you mean 'dog'") as error:
        read_tags(write("image,tags\na0O1,dgo\n"), stems=["a001"], classes=["dog"])
    assert "Did you mean 'a001'" in error.value.todo


def test_the_first_ten_mistakes_and_the_number_of_the_others(write: Write) -> None:
    text = "image,tags\n" + "".join(f"x{i},dog\n" for i in range(37))
    with pytest.raises(UserError) as error:
        read_tags(write(text), stems=["a"], classes=["dog"])
    lines = error.value.found.splitlines()
    assert lines[0].endswith("has 37 mistakes:")
    assert len(lines) == 12
    assert lines[10].strip() == "line 11: there is no image 'x9'."
    assert lines[11].strip() == "and 27 more."


def test_utf16_and_latin1_are_refused(write: Write) -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with pytest.raises(UserError, match=r"UTF-16|NUL"):
            read_tags(write("image,tags\na,dog\n".encode(encoding)))
    with pytest.raises(UserError, match="line 2: the byte 0xf6 is not UTF-8"):
        read_tags(write("image,tags\na,Löwe\n".encode("latin-1")))


def test_project_classes_are_checked(write: Write) -> None:
    with pytest.raises(UserError, match="is there twice"):
        read_tags(write("image,tags\na,dog\n"), classes=["dog", "dog"])


# --- forms that describe a whole data set -------------------------------------------------------


def save_main(write: Write, folder: str = "Main") -> Path:
    write("a  1\nb -1\nc  0\n", f"{folder}/dog_train.txt")
    write("d -1\n", f"{folder}/dog_val.txt")
    write("a  1\nb -1\nc  0\nd -1\n", f"{folder}/dog_trainval.txt")
    write("a -1\nb -1\nc  1\n", f"{folder}/dining_table_train.txt")
    return write("a\nb\nc\n", f"{folder}/train.txt").parent


def test_voc_class_lists(write: Write) -> None:
    read = read_tags(save_main(write))
    assert read.form == "VOC ImageSets/Main"
    assert states(read) == {
        "a": {"dining_table": 0, "dog": 1},
        "b": {"dining_table": 0, "dog": 0},
        "c": {"dining_table": 1, "dog": -1},
        "d": {"dining_table": -1, "dog": 0},
    }
    part = read_tags(save_main(write), stems=["c", "a", "z"], classes=["dog", "cat"])
    assert part.tags.states.tolist() == [[-1, -1], [1, -1], [-1, -1]]
    assert any("dining_table" in w for w in part.warnings)
    assert any("no class 'cat'" in w for w in part.warnings)
    assert any("2 entries" in w for w in part.warnings)


def test_one_voc_class_list(write: Write) -> None:
    read = read_tags(write("a  1\nb -1\n", "dog_train.txt"))
    assert states(read) == {"a": {"dog": 1}, "b": {"dog": 0}}


def test_voc_class_lists_that_contradict(write: Write) -> None:
    folder = save_main(write)
    write("a -1\nz 5\n", "Main/dog_test.txt")
    with pytest.raises(UserError) as error:
        read_tags(folder)
    assert "dog_train.txt, line 1: 'a' has another state in another list of 'dog'" in error.value.found
    assert "dog_test.txt, line 2: 'z 5' is no stem followed by 1, -1 or 0" in error.value.found


def thing(name: str, inside: str = "", difficult: int = 0) -> str:
    return f"<object><name>{name}</name><difficult>{difficult}</difficult>{inside}</object>"


def test_voc_xml(write: Write) -> None:
    part = "<part><name>head</name></part>"
    body = thing("person", part) + thing("dog") + thing("dog", difficult=1)
    write(f"<annotation><filename>x.jpg</filename>{body}</annotation>", "x/a.b.xml")
    write(f"<annotation>{thing('dog', difficult=1)}</annotation>", "x/b.xml")
    folder = write("<annotation></annotation>", "x/c.xml").parent
    read = read_tags(folder)
    assert read.form == "VOC XML annotations"
    assert states(read) == {
        "a.b": {"dog": 1, "person": 1},
        "b": {"dog": -1, "person": 0},
        "c": {"dog": 0, "person": 0},
    }
    assert any("1 tags stand on difficult" in w for w in read.warnings)
    used = read_tags(folder, stems=["c", "a.b"], classes=["person", "cat"])
    assert used.tags.states.tolist() == [[0, 0], [1, 0]]
    assert any("dog (2)" in w for w in used.warnings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>\n<object></annotation>", "a.xml, line 2: it is no XML"),
        ("<html></html>", "a.xml: its root is 'html'"),
        ("<annotation><object></object></annotation>", "a.xml: an object has no name"),
        ("", "a.xml: is empty (0 bytes)"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "a.xml"),
    ],
)
def test_voc_xml_mistakes(write: Write, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        read_tags(write(text, "x/a.xml").parent)
    assert words in error.value.found


def test_folders_in_doubt(write: Write, tmp_path: Path) -> None:
    folder = save_main(write)
    write("<annotation/>", "Main/a.xml")
    with pytest.raises(UserError, match="1 XML files and 4 class lists"):
        read_tags(folder)
    write("<annotation/>", "voc/Annotations/a.xml")
    with pytest.raises(UserError, match="Annotations"):
        read_tags(tmp_path / "voc")
    with pytest.raises(UserError, match="does not exist"):
        read_tags(tmp_path / "no.csv")


def test_coco_mistakes(write: Write) -> None:
    for changes, words in [
        ({"annotations": [{"image_id": 1, "category_id": 18}]}, "annotations[0]: there is no image_id 1"),
        ({"annotations": [{"image_id": 7, "category_id": 1}]}, "annotations[0]: there is no category_id 1"),
        ({"annotations": [{"image_id": [], "category_id": {}}]}, "annotations[0]: there is no image_id []"),
        ({"annotations": [3]}, "annotations[0]: there is no image_id None"),
        ({"categories": None}, "there is no list 'categories'"),
        ({"images": [{"id": True, "file_name": "a"}]}, "images[0]: it has no whole number 'id'"),
        ({"images": [{"id": 1, "file_name": "a"}] * 2}, "images[1]: the id 1 is there twice"),
    ]:
        with pytest.raises(UserError) as error:
            read_tags(write(coco(**changes)))
        assert words in error.value.found


def test_coco_background_category_is_no_class(write: Write) -> None:
    categories = [{"id": 18, "name": "background"}, {"id": 3, "name": "cat"}]
    read = read_tags(write(coco(categories=categories)))
    assert states(read) == {"a": {"cat": 1}, "b": {"cat": 0}, "c": {"cat": 0}}


def save_npy(path: Path, value: object) -> Path:
    np.save(path, value, allow_pickle=True)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("key", [str, int, np.int32, np.int64])
def test_cls_labels_with_every_key_and_type(tmp_path: Path, key: type, kind: type) -> None:
    hot = np.zeros(20, kind)
    hot[[7, 14]] = 1
    name = "2007_000032" if key is str else key(2007000032)
    read = read_tags(save_npy(tmp_path / "cls_labels.npy", {name: hot}))
    assert read.form == "cls_labels.npy"
    assert read.tags.classes == VOC
    assert read.tags.stems == ("2007_000032",)
    assert [VOC[i] for i in read.tags.present("2007_000032")] == ["cat", "person"]


def test_cls_labels_columns(tmp_path: Path) -> None:
    value = {"a": np.eye(3, dtype=np.float32)[1], "b": np.array([1, 0, -1.0])}
    path = save_npy(tmp_path / "x.npy", value)
    read = read_tags(path, classes=["x", "y", "z"])
    assert read.tags.states.tolist() == [[0, 1, 0], [1, 0, -1]]
    for classes in (None, ["x", "y"]):
        with pytest.raises(UserError, match="3 values per image"):
            read_tags(path, classes=classes)
    wide = save_npy(tmp_path / "coco.npy", {"COCO_val2014_000000000042": np.eye(80)[16]})
    assert read_tags(wide).tags.classes == COCO
    part = read_tags(wide, classes=["dog", "cat"], stems=["COCO_val2014_000000000042"])
    assert part.tags.states.tolist() == [[COCO[16] == "dog", COCO[16] == "cat"]]
    with pytest.raises(UserError, match="21 values") as error:
        read_tags(save_npy(tmp_path / "bg.npy", {"a": np.zeros(21)}))
    assert "background" in error.value.todo


def test_cls_labels_mistakes(tmp_path: Path) -> None:
    zero = np.zeros(20, np.float32)
    value = {"a": zero, 17: zero, "b": np.zeros(19), "c": zero + 0.5, "d": np.zeros((4, 5))}
    with pytest.raises(UserError) as error:
        read_tags(save_npy(tmp_path / "x.npy", value))
    for words in (
        "entry 17: the number",
        "entry 'b': it has the shape [19]",
        "entry 'c': a value",
        "entry 'd'",
    ):
        assert words in error.value.found
    with pytest.raises(UserError, match="none of its 1 images"):
        read_tags(save_npy(tmp_path / "x.npy", {"a": zero}), stems=["z"])
    for other in ({}, [zero], {"a": "dog"}, {"a": None}, {"a": {"b": zero}}, {(1, 2): zero}):
        with pytest.raises(UserError):
            read_tags(save_npy(tmp_path / "x.npy", other))


@pytest.mark.real
def test_real_cls_labels_agree(shared_data: Path) -> None:
    numbers = read_tags(shared_data / "voc_meta" / "cls_labels.npy")
    words = read_tags(shared_data / "voc_meta" / "cls_labels_psa.npy")
    assert numbers.tags == words.tags
    assert len(numbers.tags) == 12_031
    assert numbers.tags.classes == VOC
    listed = read_split(shared_data / "voc_meta" / "train_aug.txt", numbers.tags.stems)
    assert len(listed) == 10_582
    assert not numbers.tags.subset(listed).untagged


@pytest.mark.real
def test_real_labels_json(shared_data: Path) -> None:
    path = shared_data / "voc_mini" / "labels.json"
    value = json.loads(path.read_text())
    read = read_tags(path)
    assert read.tags.classes == tuple(value["used"])
    assert len(read.tags) == 450
    for stem, names in value["labels"].items():
        assert {read.tags.classes[i] for i in read.tags.present(stem)} == set(names)
    splits = [
        read_split(shared_data / "voc_mini" / "ImageSets" / f"{s}.txt", read.tags.stems)
        for s in ("train", "val")
    ]
    assert [len(s) for s in splits] == [300, 150]


# --- class lists and split lists ----------------------------------------------------------------


def test_read_classes(write: Write) -> None:
    notes: list[str] = []
    path = write("\ufeffbackground\r\ndog\r\n\r\n traffic light \r\n", "classes.txt")
    assert read_classes(path, notes) == ("dog", "traffic light")
    assert len(notes) == 2
    assert read_classes(path) == ("dog", "traffic light")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dog\ncat\ndog\n", "line 3: 'dog' is there twice (first: line 1)"),
        ("Dog\ndog\n", "line 2: 'dog' differs from 'Dog' in case only (first: line 1)"),
        ("dog\nbackground\n", "line 2: the class name 'background' is reserved"),
        ("dog,cat\n", "line 1: the class name 'dog,cat' holds the separator ','"),
        ("background\n", "it names no class"),
        ("\n \n", "nothing but blanks"),
    ],
)
def test_read_classes_mistakes(write: Write, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        read_classes(write(text, "classes.txt"))
    assert words in error.value.found


def test_read_split(write: Write) -> None:
    stems = ["2007_000032", "2007_000039", "a b", "c.d", "cafe\u0301"[:3] + "\u00e9", "e"]
    text = (
        "/JPEGImages/2007_000039.jpg /SegmentationClassAug/2007_000039.png\n\n"
        "  JPEGImages/2007_000032.jpg  \nfolder/a b.png\nc.d\n/JPEGImages/e.jpg\r\ncafe\u0301\n"
    )
    assert read_split(write(text), stems) == ("2007_000039", "2007_000032", "a b", "c.d", "e", "caf\u00e9")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\na\n", "line 2: the image 'a' is there twice (first: line 1)"),
        ("a\n\nx\n", "line 3: there is no image 'x'"),
        ("A\n", "line 1: there is no image 'A'"),
        ("../a\n", "line 1: '../a' is a path outside the image folder"),
        ("x/../../a.jpg\n", "outside"),
        ("/etc/a\n", "outside"),
        ("/a.jpg\n", "outside"),
        ("/x/y/a.jpg\n", "outside"),
        ("C:\\a.jpg\n", "outside"),
        ("C:a.jpg\n", "outside"),
        ("\\\\host\\share\\a.jpg\n", "outside"),
        ("/JPEGImages/a.jpg /Masks/b.png\n", "there is no image"),
        ("JPEGImages/a.jpg Masks/b.png\n", "there is no image"),
        ("/../a.jpg /Masks/a.png\n", "outside"),
        ("a 1\n", "there is no image 'a 1'"),
        ("\n", "nothing but blanks"),
        ("a\x1b[31m\n", "control character"),
    ],
)
def test_read_split_mistakes(write: Write, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        read_split(write(text, "train.txt"), ["a", "b"])
    assert words in error.value.found
    assert "train.txt" in error.value.found
