"""The public formats of the sets that the paper trains and evaluates on, with problems of our own."""

from pathlib import Path

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data.sources import read_problems
from grpo_jax.suites import SUITES, suite_source
from tests.data.sources.helpers import source

FILES = Path(__file__).parent.parent / "suites"
ANSWERS = {
    "math_500": ["3", r"\frac{3}{8}"],
    "amc_2023": ["27", "4"],
    "minerva": ["20", r"\sqrt{\frac{k}{m}}"],
    "aime_2025": ["30", "48"],
    "olympiad_bench": ["2", "1,-1"],
}


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_is_read_by_its_name(name):
    problems = read_problems(suite_source(name, FILES), "evaluation.suites")
    assert [problem.answer for problem in problems] == ANSWERS[name]
    assert all(problem.prompt[-1] in "?." for problem in problems)


@pytest.mark.parametrize(
    ("name", "prompt_field", "answer_field", "answer_format", "answers"),
    [
        ("aimo_amc", "problem", "answer", "plain", ["18.5"]),
        ("aime_opencompass", "question", "answer", "plain", ["129"]),
        ("math", "problem", "solution", "boxed", [r"\frac{2}{3}"]),
        ("gsm8k", "question", "answer", "after_hashes", ["1200"]),
        ("dapo", "prompt.0.content", "reward_model.ground_truth", "plain", ["32"]),
    ],
)
def test_other_public_formats_are_read_by_their_fields(name, prompt_field, answer_field, answer_format, answers):
    fields = {"prompt_field": prompt_field, "answer_field": answer_field, "answer_format": answer_format}
    problems = read_problems(source(path=str(FILES / f"{name}.jsonl"), **fields), "task.train")
    assert [problem.answer for problem in problems] == answers


def test_an_unknown_suite_and_a_missing_file_are_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"--suite=math500: unknown; did you mean math_500\?"):
        suite_source("math500", tmp_path)
    with pytest.raises(ConfigError, match=r"--suite=minerva: .* has none of minerva\.jsonl, minerva\.json, "):
        suite_source("minerva", tmp_path)
