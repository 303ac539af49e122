"""Dataclasses as JSON objects: what is written is what is read, and what earlier versions wrote still is."""

import enum
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import pytest

from grpo_jax.json_record import Formerly, JsonRecord, plain


class Colour(enum.StrEnum):
    RED = "red"


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Inner(JsonRecord):
    number: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Outer(JsonRecord):
    name: Annotated[str, Formerly("title"), Formerly("heading")]
    inner: Inner | None
    rows: Sequence[Inner]
    sizes: Mapping[int, Mapping[Colour, Interval]]
    note: str | None = None


WHOLE = Outer(
    name="x",
    inner=Inner(1.5, Interval(-1.0, 2.0)),
    rows=[Inner(2.0)],
    sizes={2: {Colour.RED: Interval(0.0, 0.5)}},
    note="y",
)


@pytest.mark.parametrize("record", [WHOLE, Outer("x", None, [], {})])
def test_what_is_written_is_what_is_read(record):
    read = Outer.from_json(json.loads(json.dumps(record.to_json())))
    assert read == record
    assert all(isinstance(colour, Colour) for of_size in read.sizes.values() for colour in of_size)


def test_the_names_are_those_of_the_fields_and_defaults_are_left_out():
    assert WHOLE.to_json() == {
        "name": "x",
        "inner": {"number": 1.5, "interval": [-1.0, 2.0]},
        "rows": [{"number": 2.0}],
        "sizes": {"2": {"red": [0.0, 0.5]}},
        "note": "y",
    }
    assert Outer("x", None, [], {}).to_json() == {"name": "x", "inner": None, "rows": [], "sizes": {}}


@pytest.mark.parametrize("name", ["name", "title", "heading"])
def test_a_field_is_read_by_its_earlier_names(name):
    values = {name: "x", "inner": None, "rows": [], "sizes": {}}
    assert Outer.from_json(values) == Outer("x", None, [], {})


def test_numbers_that_are_not_finite():
    written = Inner(math.nan, Interval(-math.inf, 1.0)).to_json()
    assert written == {"number": None, "interval": [None, 1.0]}
    read = Inner.from_json(written)
    assert math.isnan(read.number)
    assert math.isnan(read.interval.low)
    assert plain({"a": [math.nan, (1, math.inf)], 2: None}) == {"a": [None, [1, None]], "2": None}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"number": 1.0, "later": 2},
        {"number": 1.0, "interval": [0.0]},
        {"number": "much"},
        [1.0],
    ],
)
def test_what_is_not_such_a_record_is_refused(values):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Inner.from_json(values)


def test_a_record_in_the_place_of_a_mapping_or_of_a_sequence_is_refused():
    values = WHOLE.to_json()
    for name, wrong in (("inner", 1), ("rows", 1), ("sizes", [1])):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Outer.from_json(values | {name: wrong})
