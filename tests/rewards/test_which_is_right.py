"""Which term of a sum says whether an answer is right: a rule, and not the order in which the terms are written."""

import pytest

from grpo_jax.config import RewardConfig
from grpo_jax.rewards import Attempt, make_reward

RIGHT = Attempt("1+1=", "2", "It is 2.", stopped=True, tokens=4)
WRONG = Attempt("1+1=", "2", "It is 3.", stopped=True, tokens=4)
HERE = "tests.rewards.test_which_is_right"


def always(attempt):
    return 1.0


def never(attempt):
    return 0.0


def broken(attempt):
    raise KeyError("x")


def judged(*attempts, **terms):
    config = RewardConfig(terms, r"(\d+)", 100, 1, 1.0, 256, 0)
    return [verdict.right for verdict in make_reward(config, 20).judge(attempts)]


@pytest.mark.parametrize("own", ["always", "never"])
@pytest.mark.parametrize("weight", [0.1, 10.0, -1.0])
def test_a_term_of_ours_goes_first(own, weight):
    terms = {f"{HERE}:{own}": weight, "exact": 1.0}
    assert judged(RIGHT, WRONG, **terms) == judged(RIGHT, WRONG, **dict(reversed(terms.items()))) == [True, False]


def test_of_the_users_own_the_heaviest_does():
    heavy, light = f"{HERE}:always", f"{HERE}:never"
    assert judged(WRONG, **{light: 0.1, heavy: 1.0}) == judged(WRONG, **{heavy: 1.0, light: 0.1}) == [True]
    assert judged(WRONG, **{light: 1.0, heavy: 0.1}) == [False]


@pytest.mark.trap(16)
def test_what_is_not_scored_is_not_right():
    assert judged(RIGHT, **{"exact": 1.0, f"{HERE}:broken": 0.1}) == [None]
