"""Problems with the same first 32 bits, which occur among 77,000 with probability one half."""

import numpy as np
import pytest

from grpo_jax.data import Problem, distinct
from grpo_jax.training.visits import DecayedMeans

TWINS = [Problem("54428 + 1 =", "54429"), Problem("91199 + 1 =", "91200")]  # found by trying
OTHERS = [Problem("60469 + 1 =", "60470"), Problem("1 + 1 =", "2")]


def test_ids_are_distinct_whatever_the_order():
    assert TWINS[0].id == TWINS[1].id
    problems = [*TWINS, *OTHERS]
    found = distinct(problems)
    assert [(problem.prompt, problem.answer) for problem in found] == [
        (problem.prompt, problem.answer) for problem in problems
    ]
    ids = {problem.prompt: problem.id for problem in found}
    assert len(set(ids.values())) == 4
    assert {problem.prompt: problem.id for problem in distinct(problems[::-1])} == ids
    assert [ids[problem.prompt] for problem in OTHERS] == [problem.id for problem in OTHERS]
    assert sum(ids[problem.prompt] == problem.id for problem in TWINS) == 1  # one of them keeps its own


def test_problems_without_twins_are_left_as_they_are():
    assert distinct(OTHERS) is OTHERS


def test_twins_have_records_of_their_own():
    first, second = (problem.id for problem in distinct(TWINS))
    successes = DecayedMeans(half_life=10.0, start=0.5)
    successes.observe([first, 0], np.array([[1, 1], [0, 0]], np.float32), np.ones((2, 2), bool), step=1)
    np.testing.assert_allclose(successes.expected([first, second], step=1), [0.75, 0.5])
    assert len(successes.record()["prompts"]) == 2


def test_an_id_is_known_again():
    """The id from a run's record, which replay needs."""
    for problem in distinct(TWINS):
        assert Problem(problem.prompt, problem.answer).identified(problem.id) == problem
    with pytest.raises(ValueError, match="7 is not an id of the prompt '1 \\+ 1 ='"):
        OTHERS[1].identified(7)


def test_a_prompt_that_comes_twice_is_one_prompt(caplog):
    """This occurs in many data sets. It is reported and keeps its id, even in a collision; nothing is left out."""
    again = [Problem("54428  + 1 =", "54429.0"), Problem("91199 + 1 =", "91200"), *OTHERS]
    found = distinct([*TWINS, *again])
    assert [(problem.prompt, problem.answer) for problem in found] == [
        (problem.prompt, problem.answer) for problem in [*TWINS, *again]
    ]
    ids = [problem.id for problem in found]
    assert ids[:2] == ids[2:4]
    assert len(set(ids)) == 4
    assert ids[:2] == [problem.id for problem in distinct(TWINS)]
    assert "2 of 6 problems repeat an earlier prompt, such as '54428  + 1 ='" in caplog.text
