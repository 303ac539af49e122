"""The rollouts that are analysed: many of each of many prompts, from keys that nothing else uses."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.config import Config, ConfigError
from grpo_jax.data import Problem, Split, distinct
from grpo_jax.evaluation import rewards_of, right_of, sample_and_judge
from grpo_jax.objectives import AGGREGATIONS, make_objective
from grpo_jax.randomness import HostStream, generator
from grpo_jax.runs.groups import JudgedGroup
from grpo_jax.sampling import Counter, SamplingRequest, Stream
from grpo_jax.sharding import batch_shards
from grpo_jax.training import Experiment
from grpo_jax.types import Params, Rollouts


@dataclass(frozen=True)
class Sampled:
    """S rollouts of each of N prompts, judged; host arrays."""

    rollouts: Rollouts
    rewards: Float[np.ndarray, "N S"]
    scored: Bool[np.ndarray, "N S"]
    right: Bool[np.ndarray, "N S"] | None  # None: the reward does not say what is right


def sample(experiment: Experiment, params: Params, version: int, *, prompts: int, samples: int) -> Sampled:
    """Samples and judges `samples` rollouts of each of `prompts` problems of the training split.

    Which problems, and with which random numbers, depends on the run's seed and not on the step: two checkpoints of a
    run are compared on the same ones. The noise is independent: see `check_noise`.

    Args:
      params: of `experiment.programs.policy`.
      version: the step that they come after.

    Raises:
      ConfigError: if the task has too few problems, or the policy's log-probabilities are not finite.
    """
    config = experiment.config
    problems = _problems(experiment, prompts)
    request = SamplingRequest(
        sampling=config.rollout.sampling,
        group_size=samples,
        counter=Counter.of(config.seed, Stream.GRADIENTS, step=0),
        prompts_per_batch=_prompts_at_once(experiment, samples),
    )
    experiment.engine.load(experiment.programs.policy_weights(params), version)
    with closing(experiment.task.reward) as reward, closing(experiment.engine):
        reward.warm()
        found = sample_and_judge(experiment.engine, experiment.task, problems, request)
    if not np.isfinite(found.rollouts.logprobs).all():
        raise ConfigError("the policy's log-probabilities are not finite; name an earlier --step.")
    return _sampled(found.groups, found.rollouts)


def check_noise(noise: str) -> None:
    """Raises ConfigError if the run couples the completions of a group: products of them would be biased."""
    if noise != "independent":
        raise ConfigError(
            f"rollout.noise={noise!r}: gradients are analysed for groups of independent completions; name a run with "
            "independent noise."
        )


def check_weights(config: Config) -> None:
    """Raise ConfigError if the run's completions are not drawn from the policy itself, or not weighted on their own."""
    if config.rollout.sampling.truncated or config.objective.importance_cap:
        raise ConfigError(
            f"objective.importance_cap={config.objective.importance_cap:g}: gradients are analysed of completions that "
            "are drawn from the whole policy and not weighted; name a run without top_k, top_p, min_p and this cap."
        )
    aggregation = make_objective(config.objective, config.rollout.group_size).aggregation  # a `Recipe` may name it
    if aggregation is AGGREGATIONS["group_token"]:
        raise ConfigError(
            f"objective.aggregation={config.objective.aggregation!r}: gradients are analysed of completions whose "
            "weight is their own; with group_token it is their group's, so name a run with another aggregation."
        )


def _problems(experiment: Experiment, number: int) -> Sequence[Problem]:
    every = distinct(experiment.task.problems(Split.TRAIN))
    if number > len(every):
        raise ConfigError(f"--prompts={number}: the task has {len(every)} training problems; ask for no more.")
    chosen = generator(HostStream.ANALYSED_PROMPTS, experiment.config.seed).permutation(len(every))[:number]
    return [every[place] for place in chosen]


def _prompts_at_once(experiment: Experiment, samples: int) -> int:
    """So many that they have no more rows than what the run samples at once, which fits."""
    rollout, evaluation = experiment.config.rollout, experiment.config.evaluation
    rows = max(
        rollout.prompts_per_batch * rollout.group_size,
        evaluation.prompts_per_batch * max(evaluation.validation_samples, evaluation.test_samples),
    )
    shards = batch_shards(experiment.programs.mesh)
    return max(rows // samples // shards, 1) * shards


def _sampled(judged: Sequence[JudgedGroup], rollouts: Rollouts) -> Sampled:
    rewards, scored = rewards_of(judged)
    unknown = np.array([[one.verdict.right is None for one in group.completions] for group in judged]) & scored
    return Sampled(rollouts, rewards, scored, None if unknown.any() else right_of(judged))
