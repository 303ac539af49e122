"""Take a run's problems from its task, and check that there are enough, before a model is read."""

from collections.abc import Sequence

from grpo_jax.config import Config, ConfigError, Mistakes, counted
from grpo_jax.data import Problem, Split, Task, distinct


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
