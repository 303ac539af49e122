"""The analysed rollouts: many completions of many prompts, from random keys that nothing else uses."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.config import Config, ConfigError, counted
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
    """Sample and judge `samples` rollouts for each of `prompts` training problems.

    The problems and random numbers depend on the run's seed but not on the step, so two checkpoints of a run are
    compared on the same ones. The noise is independent: see `check_noise`.

    Args:
      params: of `experiment.programs.policy`.
      version: the step after which they were saved.

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
        version=version,
    )
    experiment.engine.load(experiment.programs.policy_weights(params), version)
    with closing(experiment.task.reward) as reward, closing(experiment.engine):
        reward.warm()
        found = sample_and_judge(experiment.engine, experiment.task, problems, request)
    if not np.isfinite(found.rollouts.logprobs).all():
        raise ConfigError("the policy's log-probabilities are not finite; name an earlier --step.")
    return _sampled(found.groups, found.rollouts)


def check_noise(noise: str) -> None:
    """Raise ConfigError if the run couples the completions of a group, which would bias the products."""
    if noise != "independent":
        raise ConfigError(
            f"rollout.noise={noise!r}: the analysis needs independent completions; name a run with independent noise."
        )


def check_weights(config: Config) -> None:
    """Raise ConfigError if the run truncates or reweights the policy, or weights a completion by its whole group."""
    if config.rollout.sampling.truncated or config.objective.importance_cap:
        raise ConfigError(
            f"objective.importance_cap={config.objective.importance_cap:g}: the analysis needs unweighted completions "
            "from the whole policy; name a run without top_k, top_p, min_p and this cap."
        )
    aggregation = make_objective(config.objective, config.rollout.group_size).aggregation  # a `Recipe` may name it
    if aggregation is AGGREGATIONS["group_token"]:
        raise ConfigError(
            f"objective.aggregation={config.objective.aggregation!r}: here the weight of a completion depends on its "
            "whole group, which the analysis does not support; name a run with another aggregation."
        )


def _problems(experiment: Experiment, number: int) -> Sequence[Problem]:
    every = distinct(experiment.task.problems(Split.TRAIN))
    if number > len(every):
        raise ConfigError(
            f"--prompts={number}: the task has {counted(len(every), 'training problem')}; lower it to that."
        )
    chosen = generator(HostStream.ANALYSED_PROMPTS, experiment.config.seed).permutation(len(every))[:number]
    return [every[place] for place in chosen]


def _prompts_at_once(experiment: Experiment, samples: int) -> int:
    """Return a number of prompts with no more rows than the run samples at once, since those fit into memory."""
    rollout, evaluation = experiment.config.rollout, experiment.config.evaluation
    rows = max(
        rollout.prompts_per_batch * rollout.group_size,
        evaluation.prompts_per_batch * max(evaluation.validation_samples, evaluation.test_samples),
    )
    shards = batch_shards(experiment.samplers.mesh)
    return max(rows // samples // shards, 1) * shards


def _sampled(judged: Sequence[JudgedGroup], rollouts: Rollouts) -> Sampled:
    rewards, scored = rewards_of(judged)
    unknown = np.array([[one.verdict.right is None for one in group.completions] for group in judged]) & scored
    return Sampled(rollouts, rewards, scored, None if unknown.any() else right_of(judged))
