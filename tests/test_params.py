"""One field table for forms and flags: what is said of a parameter, and what is taken for one."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UserError
from engine.params import Field, Spec, as_settings, changed, convert, describe, parse, presets, text_of


@dataclass(frozen=True)
class Every:
    """One parameter of each kind."""

    on: Annotated[bool, Spec("A switch.", main=True)] = True
    count: Annotated[int, Spec("A count.", low=1, high=9, unit="images")] = 3
    rate: Annotated[float, Spec("A rate.", low=0)] = 0.5
    free: float = 0.0
    kind: Annotated[Literal["a", "b", "both"], Spec("A choice.")] = "a"
    scales: Annotated[tuple[float, ...], Spec("Scales.", low=0.1, high=4)] = (1.0, 0.5)
    steps: Annotated[tuple[int, ...], Spec("Steps.", low=0)] = (2, 4)
    label: Annotated[str, Spec("A name.")] = ""
    seeds: Annotated[str, Spec("A run.", picks="run")] = ""
    masks: Annotated[str, Spec("Labels.", picks="labels")] = ""
    file: Annotated[str, Spec("A file.", picks="path")] = ""
    perhaps: Annotated[int | None, Spec("A number or none.", low=1)] = None
    either: Annotated[Literal["x", "y"] | None, Spec("A choice or none.")] = None
    maybe: Annotated[bool | None, Spec("Yes, no or none.")] = None

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"scales": (1.0,), "kind": "b"},
        "wrong": {"count": 99},
    }

    def __post_init__(self) -> None:
        if self.kind == "both" and not self.on:
            raise UserError("kind = both needs on = true.", "Either of the two.", "Set on = true.")


TABLE = {f.name: f for f in describe(Every)}


def refused(**settings: Any) -> UserError:
    with pytest.raises(UserError) as raised:
        parse(Every, settings)
    assert raised.value.found and raised.value.accepted
    return raised.value


def test_the_table_says_it_all() -> None:
    assert [f.name for f in describe(Every)] == [f.name for f in dataclasses.fields(Every)]
    kinds = [
        "bool",
        "int",
        "float",
        "float",
        "choice",
        "numbers",
        "numbers",
        "text",
        "run",
        "labels",
        "path",
        "int",
        "choice",
        "bool",
    ]
    assert [f.kind for f in TABLE.values()] == kinds
    assert TABLE["count"] == Field("count", "int", 3, "A count.", 1, 9, "images")
    assert TABLE["on"].main and not TABLE["rate"].main
    assert TABLE["kind"].choices == ("a", "b", "both")
    assert TABLE["steps"].whole and not TABLE["scales"].whole
    assert [n for n, f in TABLE.items() if f.optional] == ["perhaps", "either", "maybe"]
    assert TABLE["free"].doc == "" and TABLE["free"].low is None
    json.dumps([dataclasses.asdict(f) for f in TABLE.values()], allow_nan=False)


@pytest.mark.parametrize(
    "hint", [list, dict[str, int], int | str, bytes, tuple[str, ...], Literal[1, 2], Any]
)
def test_types_without_a_form_field_are_a_mistake_of_the_programmer(hint: Any) -> None:
    cls = dataclasses.make_dataclass("Odd", [("x", hint, dataclasses.field(default=None))], frozen=True)
    with pytest.raises(TypeError, match="x: "):
        describe(cls)


def test_a_parameter_without_a_default_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(TypeError, match="has a default"):
        describe(dataclasses.make_dataclass("Bare", [("x", int)], frozen=True))


WORDS = {
    "on": [("no", False), ("TRUE", True), (" off ", False), ("1", True), (False, False)],
    "count": [("7", 7), (" 7 ", 7), (7, 7), (7.0, 7)],
    "rate": [("2e-05", 2e-05), (1, 1.0), ("1", 1.0), ("0", 0.0)],
    "kind": [(" b ", "b"), ("both", "both")],
    "scales": [
        ("1, 0.5,2", (1.0, 0.5, 2.0)),
        ("1", (1.0,)),
        (0.25, (0.25,)),
        ([1, 2], (1.0, 2.0)),
        ("1,", (1.0,)),
    ],
    "steps": [("2,3", (2, 3)), ((1,), (1,))],
    "label": [(" two words ", "two words"), ("none", "none")],
    "perhaps": [("none", None), ("", None), ("None", None), (None, None), ("4", 4)],
    "either": [("none", None), ("y", "y")],
    "maybe": [("none", None), ("yes", True)],
}


@pytest.mark.parametrize(
    ("name", "given", "wanted"), [(n, *pair) for n, pairs in WORDS.items() for pair in pairs]
)
def test_words_become_values(name: str, given: Any, wanted: Any) -> None:
    value = getattr(parse(Every, {name: given}), name)
    assert value == wanted and type(value) is type(wanted)


WRONG = {
    "on": ["perhaps", 1, 0, None, "", [True]],
    "count": ["0", "10", "2.5", 2.5, "three", True, None, "1e3", "", math.inf, math.nan, "9" * 400, "9" * 9999, 10**400],
    "rate": ["-1", "nan", "inf", "1e999", "", None, True, {}, 10**400],
    "kind": ["A", "", None, 3, ["a"], {}],
    "scales": ["", ",", "1,x", "0.01", "5", (), [True], [None], {"a": 1}, None, "1;2", [[1.0]]],
    "steps": ["1.5", "-1", [1.5], "1e2"],
    "label": [None, 3, ["a"]],
    "perhaps": ["0", "x", True],
    "either": ["z"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given"), [(n, v) for n, values in WRONG.items() for v in values], ids=lambda v: repr(v)[:20]
)
def test_what_is_no_value_is_refused_by_name(name: str, given: Any) -> None:
    assert name in refused(**{name: given}).found


def test_limits_units_and_the_default_are_told() -> None:
    error = refused(count=10)
    assert (
        error.accepted == "Accepted: a whole number from 1 to 9 (images)."
        and error.todo == "The default is 3."
    )
    assert "of at least 0" in refused(rate=-1).accepted
    assert "or none" in refused(perhaps=0).accepted


def test_unknown_names_suggest_the_nearest() -> None:
    assert "Did you mean 'scales'?" in str(refused(scale=1))
    assert "Did you mean 'count'?" in str(refused(COUNT=1))
    assert "Did you mean 'both'?" in str(refused(kind="Both"))
    assert "Did you mean 'paper'?" in str(refused(preset="papers"))
    assert "Parameters: on, count" in refused(zzz=1).accepted


def test_presets_fill_in_and_settings_win_over_them() -> None:
    assert parse(Every, {"preset": "paper"}) == Every(scales=(1.0,), kind="b")
    assert parse(Every, {"preset": "paper", "kind": "a"}) == Every(scales=(1.0,))
    assert "count" in refused(preset="wrong").found
    for other in ("none", "", 3, ["paper"], {}):
        assert "no preset" in refused(preset=other).found
    presets(Every)["paper"]["kind"] = "both"
    assert Every.PRESETS["paper"]["kind"] == "b", "a copy is handed out"
    assert presets(dataclasses.make_dataclass("Plain", [])) == {}


def test_checks_across_fields_speak_for_themselves() -> None:
    assert refused(kind="both", on=False).found == "kind = both needs on = true."
    assert parse(Every, {"kind": "both"}).on


def test_what_was_changed() -> None:
    assert changed(Every()) == {}
    assert changed(Every(scales=(2.0,), perhaps=4)) == {"scales": [2.0], "perhaps": 4}
    json.dumps(as_settings(Every()), allow_nan=False)


numbers = st.floats(0.1, 4, allow_nan=False)
every = st.builds(
    Every,
    on=st.just(True),
    count=st.integers(1, 9),
    rate=st.floats(0, allow_infinity=False),
    free=st.floats(allow_nan=False, allow_infinity=False),
    kind=st.sampled_from(["a", "b", "both"]),
    scales=st.lists(numbers, min_size=1, max_size=5).map(tuple),
    steps=st.lists(st.integers(0, 10**18), min_size=1, max_size=5).map(tuple),
    label=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])).map(str.strip),
    perhaps=st.none() | st.integers(1, 10**6),
    either=st.none() | st.sampled_from(["x", "y"]),
    maybe=st.none() | st.booleans(),
)


@settings(derandomize=True, deadline=None)
@given(every)
def test_values_survive_text_and_json(params: Every) -> None:
    settings = as_settings(params)
    assert parse(Every, json.loads(json.dumps(settings))) == params
    assert parse(Every, {k: text_of(v) for k, v in settings.items()}) == params
    assert parse(Every, changed(params)) == params


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda s: st.lists(s) | st.dictionaries(st.text(), s),
)


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(sorted(TABLE)), anything)
def test_whatever_is_given_is_a_checked_value_or_a_sentence(name: str, value: Any) -> None:
    field = TABLE[name]
    try:
        got = convert(field, value)
    except UserError as error:
        assert error.found and error.accepted
        return
    assert parse(Every, {name: text_of(got)}) == parse(Every, {name: got})
    if field.kind in ("int", "float") and got is not None:
        assert (field.low is None or got >= field.low) and (field.high is None or got <= field.high)
