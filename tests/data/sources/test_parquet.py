"""Parquet files, read by row groups."""

import datetime
import json
from decimal import Decimal

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from grpo_jax.config import ConfigError
from grpo_jax.data.sources import open_records, read_problems
from tests.data.sources.helpers import RECORDS, source


@pytest.fixture
def file(tmp_path):
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), tmp_path / "a.parquet", row_group_size=3)
    return tmp_path / "a.parquet"


def test_rows_are_records(file):
    records = open_records(source(kind="parquet", path=str(file)))
    assert [records[index] for index in (3, 0, 2, 1)] == [RECORDS[index] for index in (3, 0, 2, 1)]
    assert [problem.answer for problem in read_problems(source(kind="parquet", path=str(file)), "x")] == list("2468")


def test_several_files_are_one_sequence(file, tmp_path):
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS[:1]), tmp_path / "b.parquet")
    records = open_records(source(kind="parquet", path=str(tmp_path / "?.parquet")))
    assert list(records) == [*RECORDS, RECORDS[0]]


def test_nested_columns_are_nested_records(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": "2+2"}], "reward_model": {"ground_truth": 4}}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    fields = {"prompt_field": "prompt.0.content", "answer_field": "reward_model.ground_truth"}
    problems = read_problems(source(kind="parquet", path=str(tmp_path / "a.parquet"), **fields), "x")
    assert (problems[0].prompt, problems[0].answer) == ("2+2", "4")


def test_what_is_not_parquet_is_reported(tmp_path):
    (tmp_path / "a.parquet").write_text("PAR")
    with pytest.raises(ConfigError, match=r"^task\.train\.path=.*a\.parquet cannot be read as Parquet .*fetch it"):
        read_problems(source(kind="parquet", path=str(tmp_path / "a.parquet")), "task.train")


def test_a_damaged_page_is_reported(file, tmp_path):
    """The footer is intact, so the damage appears only when the rows are read."""
    damaged = tmp_path / "damaged.parquet"
    contents = bytearray(file.read_bytes())
    contents[4:40] = b"\xff" * 36
    damaged.write_bytes(contents)
    with pytest.raises(ConfigError, match=r"damaged\.parquet cannot be read as Parquet .*fetch it again"):
        read_problems(source(kind="parquet", path=str(damaged)), "task.train")


def test_a_bad_row_is_reported_with_its_place(file, tmp_path):
    rows = [*RECORDS, {"question": "5+5", "answer": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=3)
    with pytest.raises(ConfigError, match=r"task\.train\.answer_field='answer': .*a\.parquet, row 4 holds nothing"):
        read_problems(source(kind="parquet", path=str(file)), "task.train")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0.1, 3, 1e-7], pyarrow.float32(), ["0.1", "3", "0.0000001"]),
        ([0.1, 3, 1e-7], pyarrow.float64(), ["0.1", "3", "0.0000001"]),
        ([np.float16(0.1), np.float16(3)], pyarrow.float16(), ["0.1", "3"]),
        ([2**63 + 1], pyarrow.uint64(), ["9223372036854775809"]),
        ([-5], pyarrow.int8(), ["-5"]),
        ([Decimal("4.50"), Decimal("7.00")], pyarrow.decimal128(10, 2), ["4.5", "7"]),
        (["x", "y", "x"], pyarrow.large_string(), ["x", "y", "x"]),
        (["x", "y", "x"], pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), ["x", "y", "x"]),
        ([0.1], pyarrow.dictionary(pyarrow.int8(), pyarrow.float32()), ["0.1"]),
        ([b"x"], pyarrow.binary(), ["x"]),
        ([[0.1]], pyarrow.list_(pyarrow.float32()), ["0.1"]),
        ([[0.1]], pyarrow.large_list(pyarrow.float32()), ["0.1"]),
        ([[0.1]], pyarrow.list_(pyarrow.float32(), 1), ["0.1"]),
    ],
    ids=str,
)
def test_golds_have_the_digits_of_their_column(tmp_path, values, kind, expected):
    table = pyarrow.table({"question": list(map(str, range(len(values)))), "answer": pyarrow.array(values, kind)})
    parquet.write_table(table, tmp_path / "a.parquet")
    problems = read_problems(source(kind="parquet", path=str(tmp_path / "a.parquet")), "x")
    assert [problem.answer for problem in problems] == expected


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (True, pyarrow.bool_(), "holds True, of the type bool, there; write it as text"),
        (datetime.date(2024, 3, 5), pyarrow.date32(), "holds a value of the type date32.* there; write it as text"),
        (1, pyarrow.timestamp("ns"), r"holds a value of the type timestamp\[ns\] there; write it as text"),
        (2**50, pyarrow.timestamp("ms"), r"holds a value of the type timestamp\[ms\] there; write it as text"),
        (1, pyarrow.duration("ns"), r"holds a value of the type duration\[ns\] there; write it as text"),
        (1, pyarrow.time64("ns"), r"holds a value of the type time64\[ns\] there; write it as text"),
        (float("nan"), pyarrow.float32(), "holds nan there, which no answer equals"),
        ([0.1, 0.2], pyarrow.list_(pyarrow.float32()), "holds a list of 2 answers there"),
        ({"gold": 2}, pyarrow.struct([("gold", pyarrow.int8())]), r"holds \{'gold': 2\}, of the type dict, there;"),
        (None, pyarrow.string(), r"holds nothing \(null\) there; name another field"),
    ],
    ids=str,
)
def test_a_type_without_a_gold_is_refused_with_its_row(tmp_path, value, kind, said):
    table = pyarrow.table({"question": ["1+1"], "answer": pyarrow.array([value], kind)})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=rf"^task\.train\.answer_field='answer': .*a\.parquet, row 0 {said}"):
        read_problems(source(kind="parquet", path=str(tmp_path / "a.parquet")), "task.train")


def test_columns_that_nobody_asks_for_are_no_obstacle(tmp_path):
    """pyarrow cannot convert these to Python values: beyond the year 9999, and in nanoseconds."""
    table = pyarrow.table(
        {
            "question": ["1+1"],
            "answer.value": pyarrow.array([0.1], pyarrow.float32()),
            "far": pyarrow.array([2**50], pyarrow.timestamp("ms")),
            "nano": pyarrow.array([1], pyarrow.time64("ns")),
            "tags": pyarrow.array([[("a", 0.1)]], pyarrow.map_(pyarrow.string(), pyarrow.float32())),
            "broken": pyarrow.Array.from_buffers(  # a string that is not UTF-8
                pyarrow.string(), 1, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")]
            ),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")

    def read(**fields):
        return read_problems(source(kind="parquet", path=str(tmp_path / "a.parquet"), **fields), "x")[0].answer

    assert read(answer_field="answer.value") == "0.1"
    assert read(answer_field="tags.a") == "0.1"
    with pytest.raises(ConfigError, match=r"answer_field='broken': .* holds text there that is not Unicode"):
        read(answer_field="broken")


def test_two_columns_of_one_name_are_reported(tmp_path):
    table = pyarrow.Table.from_arrays([["1+1"], ["2"], ["3"]], ["question", "answer", "answer"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"a\.parquet, row 0 has two columns 'answer'; repair the file"):
        read_problems(source(kind="parquet", path=str(tmp_path / "a.parquet")), "task.train")


def test_a_column_of_json_keeps_the_digits_of_its_numbers(tmp_path):
    written = json.dumps({"gold": 1}).replace("1", "0.10")
    column = pyarrow.ExtensionArray.from_storage(pyarrow.json_(), pyarrow.array([written]))
    parquet.write_table(pyarrow.table({"question": ["1+1"], "answer": column}), tmp_path / "a.parquet")
    config = source(kind="parquet", path=str(tmp_path / "a.parquet"), answer_field="answer.gold")
    assert read_problems(config, "x")[0].answer == "0.10"
