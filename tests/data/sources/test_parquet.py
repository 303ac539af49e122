"""Parquet files, by row groups."""

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


def test_what_is_not_parquet_is_told(tmp_path):
    (tmp_path / "a.parquet").write_text("PAR")
    with pytest.raises(ConfigError, match=r"^task\.train\.path=.*a\.parquet cannot be read as Parquet .*fetch it anew"):
        read_problems(source(kind="parquet", path=str(tmp_path / "a.parquet")), "task.train")


def test_a_damaged_page_is_told(file, tmp_path):
    """The footer is whole, so it shows when the rows are read."""
    damaged = tmp_path / "damaged.parquet"
    contents = bytearray(file.read_bytes())
    contents[4:40] = b"\xff" * 36
    damaged.write_bytes(contents)
    with pytest.raises(ConfigError, match=r"damaged\.parquet cannot be read as Parquet .*fetch it anew"):
        read_problems(source(kind="parquet", path=str(damaged)), "task.train")


def test_a_bad_row_is_told_with_its_place(file, tmp_path):
    rows = [*RECORDS, {"question": "5+5", "answer": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=3)
    with pytest.raises(ConfigError, match=r"task\.train\.answer_field='answer': .*a\.parquet, row 4 holds nothing"):
        read_problems(source(kind="parquet", path=str(file)), "task.train")
