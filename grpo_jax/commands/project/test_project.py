"""The tests of this project. Run them in its folder, with `python -m pytest`."""

from grpo_jax.config import QuestionsConfig, load
from grpo_jax.data.sources import read_problems
from grpo_jax.rewards import Attempt, make_reward


def test_the_reward_and_the_questions_fit_each_other() -> None:
    """The reward accepts every gold answer, and neither another one nor one that was cut off."""
    config = load("config.py")
    assert isinstance(config.task, QuestionsConfig)
    reward = make_reward(config.task.reward, config.rollout.max_new_tokens)
    for problem in read_problems(config.task.train, "task.train"):
        right = Attempt(problem.prompt, problem.answer, f"It is {problem.answer}.", stopped=True, tokens=5)
        wrong = Attempt(problem.prompt, problem.answer, "It is 1000001.", stopped=True, tokens=5)
        cut_off = Attempt(problem.prompt, problem.answer, f"It is {problem.answer}", stopped=False, tokens=16)
        assert [verdict.right for verdict in reward.judge([right, wrong, cut_off])] == [True, False, False]
