"""Procedural problems of reasoning-gym."""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data.sources import open_records, read_problems
from tests.data.sources.helpers import source
from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="the extra reasoning_gym is not installed")


def gym(path, limit=30):
    return source(kind="reasoning_gym", path=path, limit=limit)


def test_a_problem_is_a_function_of_seed_and_index():
    first = open_records(gym("chain_sum?seed=3"))
    second = open_records(gym("chain_sum?seed=3", limit=10**6))
    assert [first[index] for index in (7, 0, 29)] == [second[index] for index in (7, 0, 29)]
    assert len(second) == 10**6


@pytest.mark.slow
def test_another_process_makes_the_same_problems():
    program = "from tests.data.sources.test_reasoning_gym import made; print(made())"
    environment = os.environ | {"PYTHONHASHSEED": "1"}  # decides in what order a set of texts is run through
    run = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.splitlines()[-1:] == [made()], run.stderr


def made():
    """Return a hash of some problems of some tasks."""
    tasks = ("chain_sum", "letter_counting", "number_filtering", "simple_equations")
    problems = [list(read_problems(gym(f"{task}?seed=0", limit=10), "x")) for task in tasks]
    return hashlib.sha256(repr(problems).encode()).hexdigest()


def test_seeds_next_to_each_other_share_no_problems():
    """In reasoning-gym itself, problem i + 1 of seed 3 equals problem i of seed 4."""
    prompts = [{problem.prompt for problem in read_problems(gym(f"chain_sum?seed={seed}"), "x")} for seed in (3, 4)]
    assert not prompts[0] & prompts[1]


def test_options_make_a_task_easier():
    problems = read_problems(gym("chain_sum?seed=0&max_digits=1&min_terms=2&max_terms=2"), "task.train")
    expressions = [problem.prompt.partition(": ")[2] for problem in problems]
    assert {len(expression) for expression in expressions} == {len("1 + 2 =")}
    for expression, problem in zip(expressions, problems, strict=True):
        left, sign, right, _ = expression.split()
        assert int(problem.answer) == (int(left) + int(right) if sign == "+" else int(left) - int(right))


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("chain_sums?seed=0", r"unknown task chain_sums; did you mean chain_sum\?"),
        ("word_ladder?seed=0", "reasoning-gym makes other problems of word_ladder in every process, so no run could"),
        ("chain_sum", r"has no whole number as its seed; add one, as in chain_sum\?seed=0\."),
        ("chain_sum?seed=x", "has no whole number as its seed"),
        ("chain_sum?seed", "bad query field"),
        ("chain_sum?seed=0&max_digit=1", r"unknown option max_digit; did you mean max_digits\?"),
        ("chain_sum?seed=0&size=1", "unknown option size"),
        ("chain_sum?seed=0&min_terms=9", r"impossible options \(max_terms must be >= min_terms\)"),
        ("chain_sum?seed=0&min_terms=x", "impossible options"),
    ],
)
def test_a_mistake_in_the_path_is_reported(path, sentence):
    with pytest.raises(ConfigError, match=r"^task\.train\.path=.*: " + sentence):
        read_problems(gym(path), "task.train")


def test_there_is_a_limit():
    with pytest.raises(ConfigError, match=r"^task\.train\.limit=0: reasoning_gym makes any number of problems"):
        read_problems(gym("chain_sum?seed=0", limit=0), "task.train")
