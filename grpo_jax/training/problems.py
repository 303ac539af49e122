"""Take a run's problems from its task, and check that there are enough, before a model is read."""

import logging
from collections.abc import Mapping, Sequence

from grpo_jax.config import Config, ConfigError, Mistakes, agreeing, counted
from grpo_jax.data import Problem, Split, Task, distinct

logger = logging.getLogger(__name__)


def problems_of(config: Config, task: Task) -> dict[Split, Sequence[Problem]]:
    """Return all training problems, and the problems of the evaluations that the configuration asks for.

    Raises:
      ConfigError: with a sentence for each split that has too few problems.
    """
    step, settings = config.rollout.prompts_per_step, config.evaluation
    mistakes, found = Mistakes(), {}
    with mistakes:
        take(task, Split.TRAIN, step, "rollout.prompts_per_step")
        found[Split.TRAIN] = distinct(task.problems(Split.TRAIN))
        if step > len(found[Split.TRAIN]):
            raise ConfigError(
                f"rollout.prompts_per_step={step}: the prompts of a step are distinct, and the task has "
                f"{len(found[Split.TRAIN])}; lower it, or name a larger source."
            )
    if settings.every:
        with mistakes:
            field = "evaluation.validation_problems"
            found[Split.VALIDATION] = take(task, Split.VALIDATION, settings.validation_problems, field)
    with mistakes:
        found[Split.TEST] = take(task, Split.TEST, settings.test_problems, "evaluation.test_problems")
    mistakes.tell()
    return found


def tell_leaks(found: Mapping[Split, Sequence[Problem]]) -> None:
    """Warn of problems that are both trained on and evaluated, as in a task of the user's own that ignores splits.

    The doctor has a wider check of its own.
    """
    trained = {problem.key for problem in found[Split.TRAIN]}
    for split, problems in found.items():
        shared = [problem for problem in problems if split is not Split.TRAIN and problem.key in trained]
        if shared:
            logger.warning(
                "task: %d of the %s of the %s split %s also trained on, such as %r, so scores there say little about "
                "new problems; give the splits different problems",
                len(shared),
                counted(len(problems), "problem"),
                split.name.lower(),
                agreeing(len(shared), "is", "are"),
                shared[0].prompt[:80],
            )


def take(task: Task, split: Split, number: int, field: str) -> Sequence[Problem]:
    """Take a number of problems of a split; 0 means all.

    Args:
      field: the configuration field that holds the number, for messages.

    Raises:
      ConfigError: if there are fewer, or none at all.
    """
    found = task.problems(split, number)
    if len(found) < max(number, 1):
        raise ConfigError(
            f"{field}={number}: the task has {counted(len(found), 'problem')} in the {split.name.lower()} split; lower "
            "it, or give the task more."
        )
    return distinct(found)
