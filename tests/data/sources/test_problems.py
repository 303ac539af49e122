"""Conversion of records to problems, and the problems of a source in a run."""

import datetime
import logging
import re
from decimal import Decimal

import numpy as np
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data import Problem, PromptSource
from grpo_jax.data.sources import open_records, read_problems
from grpo_jax.data.sources.fields import pick
from grpo_jax.data.sources.golds import Number, text, text_of_answer
from grpo_jax.data.sources.problems import after_hashes
from tests.data.sources.helpers import RECORDS, source, write_lines


@pytest.fixture
def read(tmp_path):
    """Return a function that reads the problems of records from a file."""

    def problems(records, **changes):
        return read_problems(source(path=str(write_lines(tmp_path / "a.jsonl", records)), **changes), "task.train")

    return problems


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"problem": "1+1", "answer": "2"}, "prompt_field='question': PLACE has no such field; it has problem, answer"),
        ({"question": "1+1", "gold": "2"}, "answer_field='answer': PLACE has no such field; it has question, gold"),
        ({"question": " \n", "answer": "2"}, "prompt_field='question': PLACE is empty there"),
        ({"question": "1+1", "answer": ""}, "answer_field='answer': PLACE is empty there"),
        ({"question": 11, "answer": "2"}, "prompt_field='question': PLACE holds the number 11 there, not text"),
        ({"question": ["1+1"], "answer": "2"}, "prompt_field='question': PLACE holds ['1+1'], of the type list, there"),
        ({"question": "1+1", "answer": None}, "answer_field='answer': PLACE holds nothing (null) there"),
        ({"question": "1+1", "answer": True}, "answer_field='answer': PLACE holds True, of the type bool, there"),
        (
            {"question": "1+1", "answer": ["2", "3"]},
            "answer_field='answer': PLACE holds a list of 2 answers there, but",
        ),
        (
            {"question": "1+1", "answer": {"value": 2}},
            "answer_field='answer': PLACE holds {'value': 2}, of the type dict, there; name one of",
        ),
        ({"question": "1+1\ud800", "answer": "2"}, "prompt_field='question': PLACE holds text there that is not Unico"),
    ],
)
def test_a_record_that_is_no_problem_is_told_with_its_place(read, tmp_path, record, sentence):
    with pytest.raises(ConfigError) as told:
        read([*RECORDS, record])
    place = f"{tmp_path}/a.jsonl:{len(RECORDS) + 1}"
    assert str(told.value).startswith("task.train." + sentence.replace("PLACE", place))
    assert "; " in str(told.value)  # the remedy
    assert str(told.value).endswith(".")


@pytest.mark.parametrize("answer_format", ["boxed", "after_hashes"])
def test_an_answer_in_another_format_is_told(read, answer_format):
    with pytest.raises(ConfigError, match=f"has no answer in the format '{answer_format}' there"):
        read(RECORDS, answer_format=answer_format)


def test_dots_go_into_records_and_numbers_into_lists():
    record = {"prompt": [{"content": "1+1"}], "reward": {"gold": np.array([b"2"])}}
    assert pick(record, "prompt.0.content") == "1+1"
    assert pick(record, "reward.gold.0") == b"2"
    for field, message in {
        "prompt.1.content": "the list has 1 element, numbered from 0, but no '1'",
        "prompt.first": "but no 'first'",
        "prompt.0.role": "it has content",
        "prompt.0.content.0": "'0' cannot be looked up in a value of the type str",
    }.items():
        with pytest.raises(ValueError, match=message):
            pick(record, field)


def test_a_name_may_have_dots_of_its_own():
    assert pick({"answer.value": "2"}, "answer.value") == "2"
    assert pick({"answer": {"value": "2"}, "answer.unit": "m"}, "answer.value") == "2"
    assert pick({"a.b": [{"c.d": {"e": "2"}}]}, "a.b.0.c.d.e") == "2"
    assert pick({"a": {"x": 1}, "a.b": {"c": "2"}}, "a.b.c") == "2"
    with pytest.raises(ValueError, match=r"can be read under 'answer.value' in 2 ways"):
        pick({"answer.value": "2", "answer": {"value": "3"}}, "answer.value")


TENTH = "0.1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "3"),
        (10**30, "1" + 30 * "0"),
        (27.0, "27"),
        (18.5, "18.5"),
        (-0.25, "-0.25"),
        (1e23, "1" + 23 * "0"),  # whose exact value is 99999999999999991611392
        (1e300, "1e+300"),
        (0.1, TENTH),
        (Number("27.0"), "27"),
        (Number("0.10"), "0.10"),
        (Number("4.00"), "4.00"),
        (Number("1e400"), "1e400"),
        (Number("12345678901234567890.5"), "12345678901234567890.5"),
        (Decimal("4.500"), "4.5"),
        (Decimal("4.00"), "4"),
        (Decimal("400"), "400"),
        (Decimal("1E+3"), "1000"),
        (["2"], "2"),
        ((7,), "7"),
        ([[7]], "7"),
        (b"5", "5"),
        (np.bytes_(b"5"), "5"),
        (np.str_("5"), "5"),
        (np.int64(4), "4"),
        (np.uint8(4), "4"),
        (np.float16(0.1), TENTH),
        (np.float32(0.1), TENTH),
        (np.float64(0.1), TENTH),
        (np.float32(3), "3"),
        (np.array(0.1, np.float32), TENTH),
        (np.array([0.1], np.float32), TENTH),
        (np.array([b"6"], object), "6"),
    ],
)
def test_answers_become_text(value, expected):
    assert text_of_answer(value) == expected
    assert type(text_of_answer(value)) is str


@pytest.mark.parametrize(
    "value",
    [
        *(float("nan"), float("inf"), np.float32("nan"), Decimal("NaN"), Decimal("Infinity")),
        *(None, False, True, np.bool_(True), np.array([True])),
        *([], [[]], {}, {"value": 1}, {1}, np.array([1, 2])),
        *(datetime.date(2024, 3, 5), datetime.datetime(2024, 3, 5), datetime.time(3), datetime.timedelta(1)),
        *(np.datetime64("2024-03-05"), np.timedelta64(1, "s"), 1j, np.complex64(1), b"\xff", object()),
    ],
    ids=lambda value: type(value).__name__,  # a repr may hold an address, which differs between pytest's processes
)
def test_what_is_no_answer_does_not_become_text(value):
    with pytest.raises(ValueError, match=r"there.*; "):  # and a remedy
        text_of_answer(value)


def test_bytes_are_utf8():
    assert text("π".encode()) == "π"
    with pytest.raises(ValueError, match="not Unicode"):
        text("π".encode("utf-16"))


def test_hashes_come_before_the_answer_and_digit_groups_are_closed():
    assert after_hashes("1200 #### 3\n#### -1,234,567") == " -1234567"
    assert after_hashes("#### 1,2 and 3,4000") == " 1,2 and 3,4000"
    assert after_hashes("1200") is None


def test_a_prompt_is_kept_once_and_the_others_are_counted(read, caplog):
    spaced = RECORDS[0] | {"question": "1+1 \n"}
    problems = read([RECORDS[0], RECORDS[1], RECORDS[0], RECORDS[2], spaced, spaced])
    assert [problem.prompt for problem in problems] == ["1+1", "2+2", "3+3"]
    exact, blanks = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "1 of 6 records repeats the prompt of an earlier one and is left out" in exact
    assert re.search(r"such as \S*:3, which repeats \S*:1\.$", exact)
    assert "2 of 6 records repeat the prompt of an earlier one but for white space and are left out" in blanks
    assert re.search(r"such as \S*:5, which repeats \S*:1\.$", blanks)


def test_contradictions_are_warned_of(read, caplog):
    problems = read([RECORDS[0], RECORDS[0] | {"answer": "3"}])
    assert [problem.answer for problem in problems] == ["2"]
    assert "1 record has the prompt of an earlier one and another answer" in caplog.text


@pytest.mark.trap(41)
def test_a_cursor_is_enough_to_continue_across_epochs(read):
    records = [{"question": f"{number}+1", "answer": str(number + 1)} for number in range(10)]
    first, second = PromptSource(read(records), seed=5), PromptSource(read(records), seed=5)
    epochs = [first.take(cursor, 10) for cursor in (0, 10, 20, 30)]
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [second.take(cursor, 5) for cursor in (15, 20)] == [epochs[1][5:], epochs[2][:5]]


@pytest.mark.parametrize(("kind", "split"), [("tfds", ""), ("huggingface", ""), ("jsonl", "train")])
def test_a_split_is_named_where_there_are_splits(kind, split):
    with pytest.raises(ConfigError, match=f"^split={split!r}: kind '{kind}'"):
        open_records(source(kind=kind, split=split))


@pytest.mark.parametrize("value", [2, np.float32(0.1), None, b"2"])
def test_a_task_of_ones_own_has_texts(value):
    with pytest.raises(ConfigError, match=r"^task: the answer of a problem is .*; make it a text"):
        Problem("1+1", value)
