"""JSON files with a record a line, or one list."""

import json

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data.sources import open_records, read_problems
from tests.data.sources.helpers import RECORDS, source, write_lines


def test_lines_are_records(tmp_path):
    records = open_records(source(path=str(write_lines(tmp_path / "a.jsonl", RECORDS))))
    assert list(records) == RECORDS
    assert records[-1] == RECORDS[-1]
    assert records[1:3] == RECORDS[1:3]
    with pytest.raises(IndexError):
        records[len(RECORDS)]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + b"\n \n".join(json.dumps(record).encode() for record in RECORDS))
    records = open_records(source(path=str(file)))
    assert list(records) == RECORDS
    assert records.where(1) == f"{file}:3"


def test_a_list_is_records(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(RECORDS, indent=2))
    assert list(open_records(source(path=str(file)))) == RECORDS


def test_a_pattern_is_its_files_in_the_order_of_their_names(tmp_path):
    write_lines(tmp_path / "b.jsonl", RECORDS[1:])
    write_lines(tmp_path / "a.jsonl", RECORDS[:1])
    records = open_records(source(path=str(tmp_path / "*.jsonl")))
    assert list(records) == RECORDS
    assert records.where(2) == f"{tmp_path}/b.jsonl:2"


def test_lines_are_read_when_they_are_asked_for(tmp_path):
    file = write_lines(tmp_path / "a.jsonl", RECORDS)
    records = open_records(source(path=str(file)))
    file.write_text(file.read_text().replace(RECORDS[2]["answer"], "9"))
    assert records[2]["answer"] == "9"


def test_the_limit_cuts_before_what_comes_later_is_read(tmp_path):
    file = write_lines(tmp_path / "a.jsonl", RECORDS)
    file.write_text(file.read_text() + "not JSON\n")
    assert len(read_problems(source(path=str(file), limit=2), "task.train")) == 2
    with pytest.raises(ConfigError, match="not JSON"):
        read_problems(source(path=str(file)), "task.train")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"question": "1+1", answer: 2}', "is not JSON (Expecting property name enclosed in double quotes, column"),
        (b"[1, 2]", "is not a record with fields"),
        (b'{"question": "\xff"}', "is not UTF-8 (invalid start byte)"),
    ],
)
def test_a_bad_line_is_told_with_its_place(tmp_path, line, reason):
    file = write_lines(tmp_path / "a.jsonl", RECORDS)
    file.write_bytes(file.read_bytes() + b"\n" + line + b"\n")
    with pytest.raises(ConfigError) as told:
        read_problems(source(path=str(file)), "task.train")
    assert str(told.value).startswith(f"task.train.path={str(file)!r}: {file}:{len(RECORDS) + 2} {reason}")
    assert str(told.value).endswith("; repair or remove it.")


def test_a_bad_list_is_told_with_its_place(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('[{"question": "1+1",\n "answer": }]')
    with pytest.raises(ConfigError, match=r"a\.json:2 is not JSON \(Expecting value, column 12\)"):
        open_records(source(path=str(file)))
    file.write_text('[{"question": "1+1", "answer": "2"}, 3]')
    with pytest.raises(ConfigError, match=r"a\.json, element 1 is not a record with fields"):
        read_problems(source(path=str(file)), "task.train")


@pytest.mark.parametrize("name", ["none.jsonl", "*.jsonl", ""])
def test_a_missing_file_is_told(tmp_path, name):
    with pytest.raises(ConfigError, match=r"task\.train\.path=.*: no such file; name a file, or several by a pattern"):
        read_problems(source(path=str(tmp_path / name)), "task.train")


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="holds no records"):
        open_records(source(path=str(tmp_path / "a.jsonl")))


def test_brackets_within_brackets_are_told_with_their_line(tmp_path):
    (tmp_path / "deep.jsonl").write_text('{"question": "1", "answer": "1"}\n' + '{"a":' * 100_000 + "\n")
    with pytest.raises(ConfigError, match=r"deep\.jsonl:2 holds brackets within brackets, too many to read"):
        read_problems(source(path=str(tmp_path / "deep.jsonl")), "task.train")
