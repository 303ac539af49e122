"""Replay: sample a completion of a run again, from its policy and its random key.

Random numbers depend on a counter alone. So the policy, the prompt and the completion's place in its group determine
the completion, and neither its batch nor the steps before it are needed. Each group is written with the step after
which its policy was saved. The whole group is sampled again, because its completions share the keys and values of their
prompt. No other prompt is sampled.
"""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax

from grpo_jax.config import Config, ConfigError, MeshConfig
from grpo_jax.data import Problem
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.runs.groups import Completion, TrainingGroup
from grpo_jax.runs.written import alike, find_written
from grpo_jax.sampling import RolloutEngine, SamplingWeights
from grpo_jax.sharding import batch_shards, make_meshes
from grpo_jax.training.experiment import Experiment, check_batches
from grpo_jax.training.requests import training_request
from grpo_jax.training.restore import read_config, restore


class SampledToken(NamedTuple):
    """One token of a completion."""

    id: int
    text: str
    logprob: float  # under the distribution that it was drawn from


@dataclass(frozen=True)
class Sample:
    """A completion with its tokens, the stop token included."""

    completion: Completion
    tokens: Sequence[SampledToken]


@dataclass(frozen=True)
class Replay:
    """A completion as the run wrote it, and as it is sampled now."""

    group: TrainingGroup  # as the run wrote it
    policy_step: int  # the step after which the policy that samples now was saved
    place: int  # of the prompt in its step
    index: int  # of the completion in its group
    then: Sample
    now: Sample

    @property
    def alike(self) -> int:
        """The number of tokens before the first difference."""
        return alike([token.id for token in self.then.tokens], [token.id for token in self.now.tokens])

    @property
    def equal(self) -> bool:
        """Whether all tokens are equal."""
        return self.alike == len(self.then.tokens) == len(self.now.tokens)

    @property
    def largest_difference(self) -> float | None:
        """The largest |difference| of log-probabilities over the equal tokens from the first on; None if there is none.

        Later tokens follow different texts, so their log-probabilities are not compared. The written ones are rounded
        to six digits.
        """
        pairs = zip(self.then.tokens[: self.alike], self.now.tokens, strict=False)
        return max((abs(then.logprob - now.logprob) for then, now in pairs), default=None)


def replay(
    workdir: Path,
    *,
    step: int,
    prompt: str,
    sample: int,
    checkpoint: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    make_engine: Callable[[Experiment], RolloutEngine] | None = None,
) -> Replay:
    """Sample a completion of a run again. Nothing is written.

    Args:
      step: the training step that sampled it, from 1.
      prompt: its prompt's text; or its place in the step, from 0; or its id. See `find_written`.
      sample: its place in its group, from 0.
      checkpoint: the step whose policy samples now; None: that of the policy that sampled then.
      devices: where to compute; all if None. On the run's own devices, numbers agree up to the last digit.
      make_engine: makes the rollout engine of a run that did not sample with `JaxEngine`.

    Raises:
      ConfigError: if the run has not written such a completion, if it cannot be built here, or if the engine cannot
        sample a completion without its batch.
      FileNotFoundError: if the directory holds no run, or not the policy; its text says which steps can be replayed.
      ValueError: if the checkpoint is damaged.
    """
    config = read_config(workdir)
    written = find_written(workdir, config, step=step, prompt=prompt, sample=sample, checkpoint=checkpoint)
    group, policy_step = written.group, written.policy_step
    then = group.completions[sample]
    assert then.tokens is not None  # `find_written` has looked
    assert then.token_logprobs is not None
    devices = jax.devices() if devices is None else devices
    experiment, restored = restore(workdir, devices, _mesh(config, devices), step=policy_step)
    if make_engine is not None:
        experiment = dataclasses.replace(experiment, engine=make_engine(experiment))
    if not experiment.engine.capabilities.counter_exact:
        raise ConfigError(
            "the rollout engine cannot sample a completion without its batch; replay with one that can, such as "
            "JaxEngine."
        )
    with closing(experiment.task.reward), closing(experiment.engine):
        weights = experiment.programs.sampling_weights(restored.state.params)  # quantised, if the run's were
        now = _sample_again(experiment, weights, policy_step, group, sample)
    return Replay(
        group=group,
        policy_step=policy_step,
        place=written.place,
        index=sample,
        then=Sample(then, _tokens(experiment, then.tokens, then.token_logprobs)),
        now=now,
    )


def _mesh(config: Config, devices: Sequence[jax.Device]) -> MeshConfig:
    """Return the run's mesh, on which sums have the same order; on other devices, a mesh that splits no batch."""
    try:
        check_batches(config, *map(batch_shards, make_meshes(config.mesh, devices)))
    except ConfigError:
        return MeshConfig(data=1, fsdp=1, tensor=len(devices))
    return config.mesh


def _sample_again(
    experiment: Experiment, weights: SamplingWeights, policy_step: int, group: TrainingGroup, sample: int
) -> Sample:
    problem = Problem(group.prompt, group.gold).identified(group.id)
    request = dataclasses.replace(
        training_request(experiment.config, group.step, version=policy_step),
        prompts_per_batch=batch_shards(experiment.samplers.mesh),  # the smallest batch that these devices can share
    )
    experiment.engine.load(weights, policy_step)
    found = sample_and_judge(experiment.engine, experiment.task, [problem], request)
    completion = found.groups[0].completions[sample]
    ids, logprobs = (
        array[0, sample, : completion.length].tolist()
        for array in (found.rollouts.completion_tokens, found.rollouts.logprobs)
    )
    return Sample(completion, _tokens(experiment, ids, logprobs))


def _tokens(experiment: Experiment, ids: Sequence[int], logprobs: Sequence[float]) -> list[SampledToken]:
    texts = experiment.task.tokenizer.decode_batch([[token] for token in ids], skip_special_tokens=False)
    return [SampledToken(*token) for token in zip(ids, texts, logprobs, strict=True)]
