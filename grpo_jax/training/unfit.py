"""Refuse rewards that do not fit the objective, instead of computing something else from them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.config import (
    Config,
    ConfigError,
    ModularExpressionsConfig,
    QuestionsConfig,
    WeightedSelectionConfig,
    reward_range,
)
from grpo_jax.evaluation import says_whether_right, unscored_of
from grpo_jax.objectives import Objective
from grpo_jax.rewards import Reward
from grpo_jax.runs.ending import TrainingError
from grpo_jax.runs.groups import JudgedGroup

SLACK = 0.01  # beyond 0 and 1, for rounding and for the ties that --smoke breaks


def check_range(config: Config, objective: Objective) -> None:
    """Raise ConfigError if the range of the configured reward does not fit the objective.

    It does not if rewards may lie outside of what the objective's formulas are for, or if they cannot differ by more
    than `objective.no_signal_tolerance`, which would show only at the end of the run. The range of a user's own reward
    is not known before it has judged; see `check_rewards`.
    """
    ends = _range(config)
    if ends is None:
        return
    tolerance = config.objective.no_signal_tolerance
    if objective.has_tolerance and tolerance >= ends[1] - ends[0]:
        raise ConfigError(
            f"objective.no_signal_tolerance={tolerance:g}: rewards are from {ends[0]:g} to {ends[1]:g}, so none differ "
            "by more, and no group would carry signal; lower it, for example to 1e-6."
        )
    if not objective.unit_rewards or (ends[0] >= -SLACK and ends[1] <= 1 + SLACK):
        return
    assert isinstance(config.task, QuestionsConfig)  # the embedded task's are from 0 to 1
    terms = " + ".join(f"{weight:g} x {name}" for name, weight in config.task.reward.terms.items())
    raise ConfigError(
        f"task.reward.terms: {terms} is from {ends[0]:g} to {ends[1]:g}, and the formulas of "
        f"objective.name={config.objective.name!r} are for rewards from 0 to 1; change the weights, or name an "
        "objective for any rewards, such as grpo."
    )


def _range(config: Config) -> tuple[float, float] | None:
    """Return the lowest and the highest reward of a task; None if only the rewards themselves tell."""
    if isinstance(config.task, ModularExpressionsConfig):
        return 0.0, 1.0
    return reward_range(config.task.reward) if isinstance(config.task, QuestionsConfig) else None


def check_rewards(
    config: Config,
    objective: Objective,
    groups: Sequence[JudgedGroup],
    rewards: Float[np.ndarray, "N G"],
    scored: Bool[np.ndarray, "N G"],
    step: int,
) -> None:
    """Raise TrainingError if rewards do not fit the objective, or do not say what is right where that is needed.

    An objective or a selection may need each prompt's chance to be right. If a verdict does not say whether its
    completion is right, the reward stands for it, and must then be from 0 to 1.
    """
    outside = scored & ((rewards < -SLACK) | (rewards > 1 + SLACK))
    if objective.unit_rewards and outside.any():
        raise TrainingError(
            f"step {step}: a completion has the reward {_first(rewards, outside)}, and the formulas of "
            f"objective.name={config.objective.name!r} are for rewards from 0 to 1; scale the reward, or name an "
            "objective for any rewards, such as grpo."
        )
    selects = isinstance(config.rollout.selection, WeightedSelectionConfig)
    unknown = outside & ~says_whether_right(groups)
    if (objective.needs_success or selects) and unknown.any():
        by = "rollout.selection.name='weighted'" if selects else f"objective.name={config.objective.name!r}"
        raise TrainingError(
            f"step {step}: a completion has the reward {_first(rewards, unknown)}, and nothing says whether it is "
            f"right, but {by} goes by each prompt's chance to be right; let the reward say it (`right` of its "
            "Verdict), keep the reward from 0 to 1, or choose another."
        )


def none_scored(what: str, reward: Reward) -> TrainingError:
    """Return the error of a step or an evaluation in which no completion has a reward."""
    reasons = ", ".join(f"{name}: {n}" for name, n in unscored_of(reward).items()) or "not finite, or too large"
    return TrainingError(
        f"{what}: none of its completions could be scored (so far {reasons}); correct the reward or the gold answers, "
        "and run the same command again."
    )


def _first(rewards: Float[np.ndarray, "N G"], which: Bool[np.ndarray, "N G"]) -> str:
    return f"{rewards[which][0]:g}"
