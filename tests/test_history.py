"""One undo for everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_napari.history import History


class Book:
    """A list of numbers that deeds add to."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self.history = History(limit=50)

    def add(self, value: int) -> None:
        self.history.do(
            f"add {value}", lambda: self.values.append(value), lambda: self.values.remove(value) or None
        )


def test_undo_and_redo_walk_back_and_forth():
    book = Book()
    for value in (1, 2, 3):
        book.add(value)
    assert book.history.undo() == "add 3" and book.history.undo() == "add 2"
    assert book.values == [1]
    assert book.history.names == ("add 1",) and book.history.undone_names == ("add 3", "add 2")
    assert book.history.redo() == "add 2"
    assert book.values == [1, 2]


def test_a_new_deed_ends_what_could_be_redone():
    book = Book()
    book.add(1)
    book.history.undo()
    book.add(2)
    assert book.history.redo() is None and book.values == [2]


def test_nothing_to_undo_is_no_error():
    history = History()
    assert history.undo() is None and history.redo() is None


def test_a_deed_that_fails_is_not_kept():
    history = History()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        history.do("fail", fail, lambda: None)
    assert history.names == ()


def test_an_undo_that_fails_can_be_tried_again():
    tries = []

    def revert() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("disk full")

    history = History()
    history.do("write", lambda: None, revert)
    with pytest.raises(OSError, match="disk full"):
        history.undo()
    assert history.names == ("write",) and history.undo() == "write"


def test_old_deeds_are_forgotten_and_changes_are_told():
    history = History(limit=3)
    told = []
    history.changed.connect(lambda: told.append(history.names))
    for n in range(5):
        history.do(str(n), lambda: None, lambda: None)
    assert history.names == ("2", "3", "4") and len(told) == 5
    history.clear()
    assert told[-1] == ()


@given(
    st.lists(
        st.one_of(st.integers(0, 9).map(lambda v: ("do", v)), st.just(("undo", 0)), st.just(("redo", 0)))
    )
)
def test_any_walk_ends_where_the_list_of_deeds_says(steps):
    state = [0]
    done: list[tuple[int, int]] = []
    undone: list[tuple[int, int]] = []
    history = History(limit=1000)
    for what, value in steps:
        if what == "do":
            old = state[0]
            history.do("set", lambda v=value: state.__setitem__(0, v), lambda o=old: state.__setitem__(0, o))
            done.append((old, value))
            undone.clear()
        elif what == "undo" and history.undo() is not None:
            undone.append(done.pop())
        elif what == "redo" and history.redo() is not None:
            done.append(undone.pop())
        assert state[0] == (done[-1][1] if done else 0)
