"""Sources that a configuration names by import path, and names that are not sources."""

import sys

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data.sources import open_records, read_problems
from tests.data.sources.helpers import RECORDS, source

MINE = """
from grpo_jax.data.sources import Records

RECORDS = {records}


def lazy(source):
    return Records(len(RECORDS), RECORDS.__getitem__, lambda index: f"row {{index}} of {{source.split}}")


def nothing(source):
    return []


def generator(source):
    yield from RECORDS


def raises(source):
    return RECORDS[source.path]


def late(source):
    return Records(3, lambda index: 1 / index, str)


def table(source):
    return {{"question": ["1+1="], "answer": [2]}}


def ends(source):
    raise SystemExit(3)


def texts(source):
    return ["1+1=2"]
"""


@pytest.fixture(autouse=True)
def _mine(tmp_path, monkeypatch):
    (tmp_path / "mine_of_test_own.py").write_text(MINE.format(records=RECORDS))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine_of_test_own", None)


def test_records_are_taken_as_they_are():
    """`Records` keep their places, and split and limit apply."""
    found = open_records(source(kind="mine_of_test_own:lazy", split="train", limit=2))
    assert list(found) == RECORDS[:2]
    assert found.where(1) == "row 1 of train"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("jsonlines", r"x\.kind='jsonlines': unknown; did you mean jsonl\? A function of your own is named package\.m"),
        ("nowhere:rows", r"x\.kind='nowhere:rows': cannot be imported \(ModuleNotFoundError"),
        ("mine_of_test_own:absent", r"x\.kind='mine_of_test_own:absent': .* has no 'absent'; define it there"),
        (
            "mine_of_test_own:late",
            r"cannot read record 0 of path='a' \(ZeroDivisionError: .*, in .*own\.py:\d+\); corr",
        ),
        ("mine_of_test_own:table", r"cannot read path='a' \(TypeError: it returned a dict\); .* a list of records"),
        ("mine_of_test_own:ends", r"cannot read path='a' \(SystemExit: 3, in .*own\.py:\d+\)"),
        ("mine_of_test_own:nothing", r"x\.path='a': holds no records"),
        ("mine_of_test_own:generator", r"x\.kind='mine_of_test_own:generator': cannot read path='a' \(TypeError"),
        ("mine_of_test_own:raises", r"x\.kind='mine_of_test_own:raises': cannot read path='a' \(TypeError"),
        ("mine_of_test_own:texts", r"x\.prompt_field='question': a, 0 has no such field; .* a value of the type str;"),
    ],
)
def test_what_is_not_a_source_is_reported(kind, sentence):
    with pytest.raises(ConfigError, match=sentence) as told:
        read_problems(source(kind=kind, path="a"), "x")
    assert str(told.value).endswith(".")
