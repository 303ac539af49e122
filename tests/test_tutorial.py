"""The code of docs/tutorial.md works."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from grpo_jax.config import ConfigError, RewardConfig, load
from grpo_jax.objectives import Outcomes, Terms, make_objective
from grpo_jax.rewards import Attempt, make_reward
from grpo_jax.training import train_config
from tests.helpers import ROOT, TINY, make_config
from tests.rewards.scripted_service import Scripted

FILES = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL)
ONE_DEVICE = jax.devices()[:1]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write the files of the page into a directory on Python's path, with configs/ beside them."""
    for name, text in FILES:
        (tmp_path / name).write_text(text)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_an_objective_of_ones_own(written):
    changes = {"objective__name": "strict:STRICT", "objective__parameters__penalty": 3.0}
    made = make_objective(make_config(**changes).objective, 2)
    outcomes = Outcomes(rewards=jnp.array([[1.0, 0.0], [0.0, 0.0]], jnp.float32), scored=jnp.ones((2, 2), bool))
    assert made.advantages(outcomes).tolist() == [[1.0, -3.0], [0.0, 0.0]]


def test_a_surrogate_of_ones_own(written):
    made = make_objective(make_config(objective__name="power:POWER").objective, 2)
    mask, ones = jnp.ones((1, 2, 1), bool), jnp.ones((1, 2, 1), jnp.float32)
    terms = Terms(
        mask=mask,
        plain_weights=ones,
        correction=ones,
        prompt_weights=ones[:, 0, 0],
        logprobs=-ones,
        log_ratio=jnp.log(4) * ones,
        reference_logprobs=None,
        advantages=jnp.array([[1.0, -0.5]], jnp.float32),
    )
    assert float(made.surrogate(terms)) == pytest.approx(-(4**0.5 / 0.5) * (1 - 0.5))


def test_a_reward_of_ones_own(written):
    """It stands beside a term of ours, which decides what is right."""
    config = load(ROOT / "configs" / "smollm2_135m.py", [("task.reward.terms.brevity:brevity", "0.1")])
    reward = make_reward(dataclasses.replace(config.task.reward, answer_pattern=r"(\d)"), max_new_tokens=8)
    right, cut_off = reward.judge([Attempt("2+2=", "4", "4", True, 2), Attempt("2+2=", "4", "5", False, 8)])
    assert (right.reward, right.right) == (pytest.approx(1.05), True)
    assert (cut_off.reward, cut_off.right) == (0.0, False)


def test_a_reward_by_a_service(written, monkeypatch):
    """Here it scores a text by its last character."""
    served = Scripted(lambda request: {"scores": [int(text[-1]) for text in request["texts"]]})
    with served.serving() as address:
        monkeypatch.setenv("SCORE_URL", f"http://{address}/score")
        reward = make_reward(RewardConfig(terms={"served:SCORE": 0.5}, answer_pattern=r"(\d)"), max_new_tokens=8)
        verdicts = reward.judge([Attempt("2+2=", "4", str(digit), True, 2) for digit in range(10)])
    assert [verdict.reward for verdict in verdicts] == [digit / 2 for digit in range(10)]
    assert [verdict.right for verdict in verdicts] == [digit >= 1 for digit in range(10)]
    assert sorted(len(request["texts"]) for request in served.requests) == [2, 8]


def test_a_task_of_ones_own(written):
    tiny = {field: value for field, value in TINY.items() if not field.startswith("task.")}
    tiny |= {"rollout.max_new_tokens": 2, "evaluation.validation_problems": 4, "evaluation.test_problems": 4}
    config = load(written / "configs_larger.py", [(field, str(value)) for field, value in tiny.items()])
    summary = train_config(config, written / "run", devices=ONE_DEVICE)
    assert summary.updates > 0
    assert summary.final.problems == 4


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        ("nowhere:Larger", r"task.factory='nowhere:Larger': cannot be imported"),
        ("larger:verify", r"task.factory='larger:verify': cannot be called with task.parameters="),
        ("builtins:dict", r"task.factory='builtins:dict': its result has no tokenizer, "),
        (
            "wordless:Wordless",
            r"task.factory='wordless:Wordless': its tokenizer is a str; return a tokenizers.Tokenizer",
        ),
        ("larger.Larger", r"task.factory='larger.Larger': names no part of a module; write package.module:NAME"),
        (
            "wordless:Lazy",
            r"task.factory='wordless:Lazy': its problems, .* cannot be used \(TypeError: object of type 'gen",
        ),
        ("wordless:Silent", r"task.factory='wordless:Silent': .* or demonstrations cannot be used \(ZeroDivisionError"),
    ],
)
def test_what_is_not_a_task_is_refused(written, factory, sentence):
    (written / "wordless.py").write_text(
        "from larger import Larger\n\n\nclass Wordless(Larger):\n    tokenizer = 'all'\n\n\n"
        "class Lazy(Larger):\n    def problems(self, split, number=0, *, at_most=False):\n        yield\n\n\n"
        "class Silent(Larger):\n    def demonstration(self, problem, skip_probability, rng):\n        1 / 0\n"
    )
    tiny = [(field, str(value)) for field, value in TINY.items() if not field.startswith("task.")]
    tiny += [
        ("rollout.max_new_tokens", "2"),
        ("evaluation.validation_problems", "4"),
        ("evaluation.test_problems", "4"),
    ]
    config = load(written / "configs_larger.py", [*tiny, ("task.factory", factory)])
    with pytest.raises(ConfigError, match=sentence):
        train_config(config, written / "run", devices=ONE_DEVICE)
