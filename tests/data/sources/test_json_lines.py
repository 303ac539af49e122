"""JSON files with one record per line, or with one list."""

import bz2
import gzip
import json
import lzma

import pyarrow
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
        (b'{"question": "1+1", "answer": 2, "answer": 3}', "has the field 'answer' twice"),
    ],
)
def test_a_bad_line_is_reported_with_its_place(tmp_path, line, reason):
    file = write_lines(tmp_path / "a.jsonl", RECORDS)
    file.write_bytes(file.read_bytes() + b"\n" + line + b"\n")
    with pytest.raises(ConfigError) as told:
        read_problems(source(path=str(file)), "task.train")
    assert str(told.value).startswith(f"task.train.path={str(file)!r}: {file}:{len(RECORDS) + 2} {reason}")
    assert str(told.value).endswith("; repair or remove it.")


def test_a_bad_list_is_reported_with_its_place(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('[{"question": "1+1",\n "answer": }]')
    with pytest.raises(ConfigError, match=r"a\.json:2 is not JSON \(Expecting value, column 12\)"):
        open_records(source(path=str(file)))
    file.write_text('[{"question": "1+1", "answer": "2"}, 3]')
    with pytest.raises(ConfigError, match=r"a\.json, element 1 is not a record with fields"):
        read_problems(source(path=str(file)), "task.train")


@pytest.mark.parametrize("name", ["none.jsonl", "*.jsonl", ""])
def test_a_missing_file_is_reported(tmp_path, name):
    with pytest.raises(ConfigError, match=r"task\.train\.path=.*: (no such file|is a directory); name a file, or "):
        read_problems(source(path=str(tmp_path / name)), "task.train")


def test_an_empty_file_is_reported(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="holds no records"):
        open_records(source(path=str(tmp_path / "a.jsonl")))


def test_brackets_within_brackets_are_reported_with_their_line(tmp_path):
    (tmp_path / "deep.jsonl").write_text('{"question": "1", "answer": "1"}\n' + '{"a":' * 100_000 + "\n")
    with pytest.raises(ConfigError, match=r"deep\.jsonl:2 holds brackets nested too deeply"):
        read_problems(source(path=str(tmp_path / "deep.jsonl")), "task.train")


def zstandard(contents):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(contents)
    return sink.getvalue().to_pybytes()


COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["a.jsonl.", "a.json.", "a"], ids=["lines", "list", "without an ending"])
def test_compressed_files_are_read(tmp_path, name, suffix):
    plain = write_lines(tmp_path / "plain.jsonl", [*RECORDS, {}])
    contents = json.dumps([*RECORDS, {}]).encode() if "json." in name else plain.read_bytes()
    file = tmp_path / f"{name}{suffix}"
    file.write_bytes(COMPRESS[suffix](contents))
    records = open_records(source(path=str(file)))
    assert list(records) == [*RECORDS, {}]
    with pytest.raises(ConfigError, match=rf"{file}(:5|, element 4) has no such field; it has none"):
        read_problems(source(path=str(file)), "task.train")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_file_that_is_cut_off_is_reported(tmp_path, suffix):
    file = tmp_path / "a.jsonl"
    file.write_bytes(COMPRESS[suffix](json.dumps(RECORDS).encode())[:-20])
    with pytest.raises(ConfigError, match=r"task\.train\.path=.*a\.jsonl cannot be decompressed .*; fetch it again"):
        read_problems(source(path=str(file)), "task.train")


@pytest.mark.parametrize(
    ("magic", "reason"), [(b"PAR1", "is a Parquet file; set kind"), (b"PK\3\4", "is a ZIP archive")]
)
def test_a_file_of_another_kind_is_reported(tmp_path, magic, reason):
    (tmp_path / "a.jsonl").write_bytes(magic + b"rest")
    with pytest.raises(ConfigError, match=rf"task\.train\.path=.*a\.jsonl {reason}"):
        read_problems(source(path=str(tmp_path / "a.jsonl")), "task.train")


def test_numbers_keep_their_digits(tmp_path):
    """As floats, these would be other numbers, or infinite."""
    written = ["0.10", "1e400", "12345678901234567890.5", "123456789012345678901234567890", "-4.0", "7", "9" * 5000]
    lines = [f'{{"question": "{place}", "answer": {number}}}' for place, number in enumerate(written)]
    expected = [*written[:4], "-4", *written[5:]]
    for name, contents in (("a.jsonl", "\r\n\r\n".join(lines) + "\r\n"), ("a.json", f"[{','.join(lines)}]")):
        (tmp_path / name).write_bytes(contents.encode())
        problems = read_problems(source(path=str(tmp_path / name)), "task.train")
        assert [problem.answer for problem in problems] == expected


def test_a_list_behind_much_white_space_is_a_list(tmp_path):
    (tmp_path / "a.json").write_text("\n" * 1000 + json.dumps(RECORDS))
    assert list(open_records(source(path=str(tmp_path / "a.json")))) == RECORDS
