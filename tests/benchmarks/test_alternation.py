"""Alternatives are measured in turn, and compared turn by turn."""

import argparse

import pytest

from benchmarks.alternation import in_turn, ratio, several


def test_ways_take_turns_and_the_first_turn_is_not_measured():
    calls = []
    ways = {name: lambda turn, name=name: calls.append((turn, name)) for name in "ab"}
    found = in_turn(ways, 3)
    assert calls == [(turn, name) for turn in range(4) for name in "ab"]
    assert {name: len(runs) for name, runs in found.items()} == {"a": 3, "b": 3}


def test_ratios_are_those_of_turns_and_their_quartiles_lie_among_them():
    assert str(ratio([1.0, 6.0], [2.0, 4.0])) == "1.000, quartiles 0.750 and 1.250"


@pytest.mark.parametrize("text", ["1", "-3", "2.5", "many"])
def test_one_turn_has_no_quartiles(text):
    assert several("2") == 2
    with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number of at least 2"):
        several(text)
