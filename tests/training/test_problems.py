"""The problems of a run, as its task gives them."""

from types import SimpleNamespace

from grpo_jax.data import Problem, Split
from grpo_jax.training.problems import problems_of, tell_leaks
from tests.helpers import make_config

CONFIG = make_config()
EVERY = [Problem(f"{number}=", str(number)) for number in range(60)]
PLACES = {Split.TRAIN: slice(0, 40), Split.VALIDATION: slice(40, 48), Split.TEST: slice(48, 56)}


def of(places):
    def problems(split, number=0, *, at_most=False):
        return EVERY[places[split]]

    found = problems_of(CONFIG, SimpleNamespace(problems=problems))
    tell_leaks(found)
    return found


def test_problems_that_are_trained_on_and_evaluated_are_told(caplog):
    assert {split: len(found) for split, found in of(PLACES).items()} == {
        Split.TRAIN: 40, Split.VALIDATION: 8, Split.TEST: 8
    }  # fmt: skip
    assert not caplog.records
    of(PLACES | {Split.TEST: slice(38, 46)})
    assert "task: 2 of the 8 problems of the test split are also trained on, such as '38='" in caplog.text
    assert "validation" not in caplog.text
