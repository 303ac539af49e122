"""What one batch of rollouts says about the policy."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.evaluation import Judged
from grpo_jax.types import Rollouts, StopReason


def rollout_statistics(
    rollouts: Rollouts,
    rewards: Float[np.ndarray, "N G"],
    scored: Bool[np.ndarray, "N G"],
    advantages: Float[np.ndarray, "N G"],
) -> dict[str, float]:
    """Plain numbers for the log, from host arrays.

    valid_pair_share: the groups that carry signal (with two rollouts: one right, one wrong).
    valid_share_bound: 1 - p^G - (1-p)^G at the mean reward p, for pairs 2p(1-p): the expected share if all prompts
      were equally hard, and never less than the expected share (it is concave in p). Of rewards in {0, 1}.
    groups/...: how the others fail to: all of one reward at the top, at the bottom, or without enough verdicts.
    entropy: minus the mean log-probability of the sampled tokens; its expectation is the entropy per token of the
      distribution that was sampled from (the policy's, at temperature 1 and without filters).
    """
    lengths, group_size = rollouts.completion_lengths, rewards.shape[1]
    mean_reward = float(rewards[scored].mean()) if scored.any() else float("nan")
    valid = (advantages != 0).any(axis=1)
    judged = scored.sum(axis=1) >= 2
    top = np.where(scored, rewards, np.inf).min(axis=1) >= 1.0
    return {
        "reward": mean_reward,
        "valid_pair_share": float(valid.mean()),
        "valid_share_bound": 1 - mean_reward**group_size - (1 - mean_reward) ** group_size,
        "groups/all_right": float((~valid & judged & top).mean()),
        "groups/all_wrong": float((~valid & judged & ~top).mean()),
        "groups/unjudged": float((~valid & ~judged).mean()),
        "unscored": int((~scored).sum()),
        "completion_length": float(lengths.mean()),
        "truncated_share": float((rollouts.stop_reasons == StopReason.LENGTH).mean()),
        "entropy": float(-rollouts.logprobs.sum() / lengths.sum()),
        "tokens": int(lengths.sum()),
    }


def readable(
    judged: Sequence[Judged], rollouts: Rollouts, advantages: Float[np.ndarray, "N G"]
) -> list[dict[str, object]]:
    """Groups as a person reads them, for rollouts/*.jsonl."""
    return [
        {
            "id": one.problem.id,
            "prompt": one.problem.prompt,
            "gold": one.problem.answer,
            "completions": list(one.completions),
            "rewards": [verdict.reward if verdict.scored else None for verdict in one.verdicts],
            "stop_reasons": [reason.name.lower() for reason in one.stop_reasons],
            "lengths": list(one.lengths),
            "logprobs": [round(float(total), 4) for total in rollouts.logprobs[index].sum(axis=-1)],
            "advantages": [round(float(advantage), 6) for advantage in advantages[index]],
        }
        for index, one in enumerate(judged)
    ]
