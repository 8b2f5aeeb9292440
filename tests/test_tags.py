"""Tags with three states, and the names that may stand in them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.class_names import BUILT_IN, COCO, VOC
from engine.errors import UserError
from engine.names import MAX_CLASSES, check_class_names, class_fault, stem_fault, stem_of
from engine.tags import ABSENT, PRESENT, UNKNOWN, Counts, Tags


@pytest.fixture
def tags() -> Tags:
    return Tags(("cat", "dog"), ("a", "b", "c"), np.array([[1, 0], [-1, -1], [1, -1]], np.int8))


def test_states_of_an_image(tags: Tags) -> None:
    assert (PRESENT, ABSENT, UNKNOWN) == (1, 0, -1)
    assert tags.row("a").tolist() == [PRESENT, ABSENT]
    assert tags.present("a") == (0,)
    assert tags.present("b") == ()
    assert tags.untagged == ("b",)
    assert tags.counts() == (Counts(2, 0, 1), Counts(0, 1, 2))
    assert len(tags) == 3


def test_counts_add_up_to_the_images() -> None:
    states = np.random.default_rng(0).integers(-1, 2, (50, 7)).astype(np.int8)
    made = Tags(tuple("abcdefg"), tuple(map(str, range(50))), states)
    for column, count in enumerate(made.counts()):
        assert sum(count) == 50
        assert count.present == sum(column in made.present(stem) for stem in made.stems)


def test_nothing_is_changed_in_place(tags: Tags) -> None:
    source = np.zeros((1, 1), np.int8)
    made = Tags(("x",), ("a",), source)
    source[0, 0] = 1
    assert made.row("a").tolist() == [0]
    with pytest.raises(ValueError, match="read-only"):
        tags.states[0, 0] = 0
    changed = tags.with_state("b", "dog", PRESENT)
    assert tags.row("b").tolist() == [UNKNOWN, UNKNOWN]
    assert changed.row("b").tolist() == [UNKNOWN, PRESENT]
    assert changed != tags
    assert changed.with_state("b", "dog", UNKNOWN) == tags


def test_equality_is_of_values(tags: Tags) -> None:
    assert tags == Tags(("cat", "dog"), ("a", "b", "c"), tags.states.copy())
    assert tags != Tags(("dog", "cat"), ("a", "b", "c"), tags.states)
    assert tags != Tags(("cat", "dog"), ("a", "b", "d"), tags.states)
    assert tags != "tags"


def test_subset_takes_the_order_given(tags: Tags) -> None:
    part = tags.subset(["c", "a"])
    assert part.stems == ("c", "a")
    assert part.states.tolist() == [[1, -1], [1, 0]]
    assert tags.subset(tags.stems) == tags
    assert tags.subset([]).states.shape == (0, 2)


def test_blank_is_all_unknown() -> None:
    blank = Tags.blank(["cat"], ["a", "b"])
    assert blank.untagged == ("a", "b")
    assert blank.states.dtype == np.int8


def test_unknown_names_suggest_the_nearest(tags: Tags) -> None:
    with pytest.raises(UserError, match="Did you mean 'dog'"):
        tags.with_state("a", "dgo", PRESENT)
    with pytest.raises(UserError, match="Did you mean 'a'"):
        tags.row("A")


@pytest.mark.parametrize(
    ("classes", "stems", "states"),
    [
        (("cat",), ("a",), [[2]]),
        (("cat",), ("a",), [[0, 1]]),
        (("cat",), ("a", "b"), [[0]]),
        (("cat", "cat"), ("a",), [[0, 1]]),
        (("cat",), ("a", "a"), [[0], [1]]),
    ],
)
def test_impossible_tags_are_refused(
    classes: tuple[str, ...], stems: tuple[str, ...], states: object
) -> None:
    with pytest.raises(ValueError, match=r"states|once"):
        Tags(classes, stems, np.array(states))


def test_class_names_of_a_project() -> None:
    check_class_names(["dog", "traffic light", "Löwe", "猫", "T-shirt", "n°1"])
    for names in BUILT_IN.values():
        check_class_names(names)
    assert (len(VOC), len(COCO)) == (20, 80)
    assert VOC[14] == "person"
    assert COCO[0] == "person"


@pytest.mark.parametrize(
    "name",
    ["", " ", "a;b", "a,b", "a/b", "a\\b", "background", "Unsure", "a\tb", "a\nb", "a\0b", "x" * 65, " a", "a ",
     "?dog", "=1+1", "+x", "-x", "@x", "a\u202eb", "a\u200bb", "a\ud800b", "a\u2028b", "a\ufeff"],
)  # fmt: skip
def test_class_names_that_are_refused(name: str) -> None:
    assert class_fault(name)
    with pytest.raises(UserError) as error:
        check_class_names(["good", name])
    assert error.value.found.isprintable()
    assert error.value.accepted


@pytest.mark.parametrize(
    "names", [["cat", "cat"], ["Cat", "cat"], ["caf\u00e9", "cafe\u0301"], [], ["ß", "ss"]]
)
def test_class_names_must_differ(names: list[str]) -> None:
    with pytest.raises(UserError):
        check_class_names(names)


def test_masks_limit_the_number_of_classes() -> None:
    check_class_names(f"c{i}" for i in range(MAX_CLASSES))
    with pytest.raises(UserError, match="255 names"):
        check_class_names(f"c{i}" for i in range(MAX_CLASSES + 1))


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("2007_000032", "2007_000032"),
        ("JPEGImages/2007_000032.jpg", "2007_000032"),
        ("/JPEGImages/2007_000032.JPG", "2007_000032"),
        ("C:\\data\\a b.TIFF", "a b"),
        ("photo.v2", "photo.v2"),
        ("photo.v2.png", "photo.v2"),
        (".png", ".png"),
        ("cafe\u0301.png", "caf\u00e9"),
        (" a.png ", "a"),
    ],
)
def test_stem_of_a_name(name: str, stem: str) -> None:
    assert stem_of(name) == stem


def test_a_known_stem_wins_over_its_suffix() -> None:
    assert stem_of("x/a.png", ["a.png"]) == "a.png"
    assert stem_of("x/a.png", ["a"]) == "a"


@pytest.mark.parametrize("stem", ["", ".", "..", "a/b", "a\\b", "a\0", " a", "a\udcff", "x" * 201])
def test_stems_that_are_refused(stem: str) -> None:
    assert stem_fault(stem)
    assert not stem_fault("a b.c-d_ä")
