"""Statistics of the rollouts of a step, and the form in which rollouts are written."""

import math

import numpy as np

from grpo_jax.evaluation import right_of, says_whether_right
from grpo_jax.runs.groups import Completion, TrainingCompletion, TrainingGroup
from grpo_jax.runs.lines import SampleStatistics
from grpo_jax.training.collect import Collected
from grpo_jax.training.visits import comparable_of, signal_chance
from grpo_jax.types import StopReason

# Digits of a token's log-probability in rollouts/: about as many as float32 has, so that replays can compare them.
LOGPROB_DIGITS = 6


def rollout_statistics(collected: Collected, step: int) -> SampleStatistics:
    """Compute the statistics of all groups that were sampled for a step."""
    outcomes, rollouts, signal = collected.outcomes, collected.rollouts, collected.signal
    rewards, scored, success = outcomes.rewards, outcomes.scored, outcomes.success
    assert success is not None
    lengths, group_size = rollouts.completion_lengths, rewards.shape[1]
    right, judged = right_of(collected.judged), says_whether_right(collected.judged) & scored
    accuracy = float(right[judged].mean()) if judged.any() else math.nan
    comparable = comparable_of(scored)
    truncated = rollouts.stop_reasons == StopReason.LENGTH
    all_right = judged.any(axis=1) & (right | ~scored).all(axis=1)
    all_wrong = judged.any(axis=1) & ~all_right

    def known(share: float) -> float:
        """Return a share that depends on which completions are right; NaN if the reward does not say it of any."""
        return share if judged.any() else math.nan

    return SampleStatistics(
        reward=float(rewards[scored].mean()) if scored.any() else math.nan,
        terms=_terms(collected),
        accuracy=accuracy,
        signal_share=float(signal.mean()),
        signal_share_bound=1 - accuracy**group_size - (1 - accuracy) ** group_size,
        signal_share_expected=known(float(signal_chance(success, group_size).mean())),
        all_right=known(float((~signal & comparable & all_right).mean())),
        all_wrong=known(float((~signal & comparable & all_wrong).mean())),
        unjudged=float((~signal & ~comparable).mean()),
        truncated=float((~signal & truncated.all(axis=1)).mean()),
        without_signal=float(lengths[~signal].sum() / lengths.sum()),
        replaced=int((~collected.chosen & ~signal).sum()),
        surplus=int((~collected.chosen & signal).sum()),
        unscored=int((~scored).sum()),
        completion_length=float(lengths.mean()),
        truncated_share=float(truncated.mean()),
        entropy=float(-rollouts.logprobs.sum() / lengths.sum()),
        tokens=int(lengths.sum()),
        staleness=step - 1 - collected.version,
    )


def _terms(collected: Collected) -> dict[str, float]:
    every: dict[str, list[float]] = {}
    for group in collected.judged:
        for one in group.completions:
            for name, reward in one.verdict.terms.items():
                every.setdefault(name, []).append(reward)
    return {name: float(np.mean(rewards)) for name, rewards in sorted(every.items())}


def training_groups(collected: Collected, step: int) -> list[TrainingGroup]:
    """Return the groups of a step as they are written: with rounded numbers, and without padding."""
    outcomes = collected.outcomes
    assert outcomes.expected is not None
    assert outcomes.evidence is not None
    return [
        TrainingGroup(
            group.id,
            group.prompt,
            group.gold,
            [_completion(collected, (index, sample), one) for sample, one in enumerate(group.completions)],
            step=step,
            chosen=bool(collected.chosen[index]),
            expected=round(float(outcomes.expected[index]), 6),
            weight=float(collected.prompt_weights[index]),
            evidence=round(float(outcomes.evidence[index]), 6),
            policy_step=collected.version,
        )
        for index, group in enumerate(collected.judged)
    ]


def _completion(collected: Collected, index: tuple[int, int], completion: Completion) -> TrainingCompletion:
    tokens, logprobs = collected.rollouts.completion_tokens[index], collected.rollouts.logprobs[index]
    return TrainingCompletion(
        completion.text,
        completion.length,
        completion.stopped,
        completion.verdict,
        advantage=round(float(collected.advantages[index]), 6),
        logprob=round(float(logprobs.sum()), 4),
        tokens=tokens[: completion.length].tolist(),
        token_logprobs=logprobs[: completion.length].astype(np.float64).round(LOGPROB_DIGITS).tolist(),
    )
