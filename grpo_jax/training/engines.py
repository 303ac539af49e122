"""The rollout engines that a configuration can name."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax

from grpo_jax.config import Config
from grpo_jax.data import Task
from grpo_jax.policy.huggingface import describe, read_config_file
from grpo_jax.sampling import Earlier, JaxEngine, RolloutEngine, VllmEngine
from grpo_jax.training.programs import Programs


def make_engine(config: Config, programs: Programs, samplers: Programs, task: Task) -> RolloutEngine:
    """Return the engine that a configuration names, without weights.

    Args:
      samplers: the programs for the devices that sample.
    """
    section = config.rollout.engine
    return ENGINES["jax" if section is None else section.name](config, programs, samplers, task)


def _jax(config: Config, programs: Programs, samplers: Programs, task: Task) -> RolloutEngine:
    return JaxEngine(
        sampler=samplers.sampler,
        continuous=samplers.continuous,
        lanes=samplers.lanes,
        vocab_size=samplers.policy.vocab_size,
        batch=samplers.shardings.batch,
        replicated=samplers.shardings.replicated,
        weights=None if samplers is programs else samplers.shardings.weights,
        earlier=Earlier(config.rollout.max_new_tokens) if config.rollout.speculation else None,
    )


def _vllm(config: Config, programs: Programs, samplers: Programs, task: Task) -> RolloutEngine:
    settings, policy, checkpoint = config.rollout.engine, programs.policy, config.model.checkpoint
    assert settings is not None
    longest = task.max_prompt_tokens + config.rollout.max_new_tokens
    return VllmEngine(
        settings,
        policy=policy,
        config_json=read_config_file(Path(checkpoint)).values if checkpoint else describe(policy.architecture, longest),
        stop_tokens=task.stop_tokens,
        max_new_tokens=config.rollout.max_new_tokens,
        score=jax.jit(policy.completion_logprobs, static_argnames="temperature"),
        batch=programs.shardings.batch,
    )


# By the `name` of its section of the configuration; without a section it is "jax".
ENGINES: Mapping[str, Callable[[Config, Programs, Programs, Task], RolloutEngine]] = {"jax": _jax, "vllm": _vllm}
