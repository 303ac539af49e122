"""A completion of a run, sampled again from its policy and its key.

Randomness is by counter, so the completion needs neither the batch that it was sampled in nor the steps before it: the
policy, the prompt and the completion's place in its group say it all. What step S sampled is of the policy after step
S - 1. The group's completions are sampled with it, because they share their prompt's keys and values; no other prompt
is.
"""

import dataclasses
from collections.abc import Sequence
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
from grpo_jax.sharding import batch_shards, make_mesh
from grpo_jax.training.experiment import Experiment, check_batches
from grpo_jax.training.requests import training_request
from grpo_jax.training.restore import read_config, restore
from grpo_jax.types import Params


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
    """A completion as the run has written it down, and as it is now."""

    group: TrainingGroup  # as it was written down
    policy_step: int  # of the policy that samples now
    place: int  # of the prompt in its step
    index: int  # of the completion in its group
    then: Sample
    now: Sample

    @property
    def alike(self) -> int:
        """How many tokens are the same, from the first on."""
        return alike([token.id for token in self.then.tokens], [token.id for token in self.now.tokens])

    @property
    def equal(self) -> bool:
        """Whether all tokens are the same."""
        return self.alike == len(self.then.tokens) == len(self.now.tokens)

    @property
    def largest_difference(self) -> float | None:
        """The largest |difference| of log-probabilities of the tokens that are alike; None if none is.

        Behind them it would compare different texts. What was written down is rounded to six digits.
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
) -> Replay:
    """Samples a completion of a run again. Nothing is written.

    Args:
      step: that sampled it, from 1.
      prompt: its prompt's text; or its place in the step, from 0; or its id. See `find_written`.
      sample: its place in its group, from 0.
      checkpoint: the step whose policy samples now; the one that sampled then, step - 1, if None.
      devices: where to compute; all if None. As those of the run, the numbers are too, but for the last digit.

    Raises:
      ConfigError: if the run has not written such a completion down, or cannot be built here.
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
    if not experiment.engine.capabilities.counter_exact:
        raise ConfigError(
            "the rollout engine cannot sample a completion again without its batch; replay with JaxEngine."
        )
    with closing(experiment.task.reward), closing(experiment.engine):
        now = _sample_again(experiment, restored.params, policy_step, group, sample)
    return Replay(
        group=group,
        policy_step=policy_step,
        place=written.place,
        index=sample,
        then=Sample(then, _tokens(experiment, then.tokens, then.token_logprobs)),
        now=now,
    )


def _mesh(config: Config, devices: Sequence[jax.Device]) -> MeshConfig:
    """The run's, so that sums are made in its order; on other devices, one over which no batch is cut."""
    try:
        check_batches(config, batch_shards(make_mesh(config.mesh, devices)))
    except ConfigError:
        return MeshConfig(data=1, fsdp=1, tensor=len(devices))
    return config.mesh


def _sample_again(
    experiment: Experiment, params: Params, policy_step: int, group: TrainingGroup, sample: int
) -> Sample:
    problem = Problem(group.prompt, group.gold).identified(group.id)
    request = training_request(experiment.config, group.step)
    request = dataclasses.replace(
        request, prompts_per_batch=batch_shards(experiment.programs.mesh)
    )  # one for each of them
    experiment.engine.load(experiment.programs.policy_weights(params), policy_step)
    found = sample_and_judge(experiment.engine, experiment.task, [problem], request)
    completion = found.groups[0].completions[sample]
    ids, logprobs = (
        array[0, sample, : completion.length].tolist()
        for array in (found.rollouts.completion_tokens, found.rollouts.logprobs)
    )
    return Sample(completion, _tokens(experiment, ids, logprobs))


def _tokens(experiment: Experiment, ids: Sequence[int], logprobs: Sequence[float]) -> list[SampledToken]:
    tokenizer = experiment.task.tokenizer.backend_tokenizer
    texts = tokenizer.decode_batch([[token] for token in ids], skip_special_tokens=False)
    return [SampledToken(*token) for token in zip(ids, texts, logprobs, strict=True)]
