"""The rollout engines that a configuration can name."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax
from jaxtyping import Array

from grpo_jax.config import Config, VllmConfig
from grpo_jax.data import Task
from grpo_jax.policy import has_adapters
from grpo_jax.policy.huggingface import ConfigFile, describe, read_config_file
from grpo_jax.sampling import EarlierCompletions, JaxEngine, RolloutEngine, VllmEngine
from grpo_jax.training.programs import Programs
from grpo_jax.types import Params


def make_engine(config: Config, programs: Programs, samplers: Programs, task: Task) -> RolloutEngine:
    """Return the engine that a configuration names, without weights.

    Args:
      samplers: the programs for the devices that sample.
    """
    section = config.rollout.engine
    return ENGINES["jax" if section is None else section.name](config, programs, samplers, task)


def _jax(config: Config, programs: Programs, samplers: Programs, task: Task) -> RolloutEngine:
    return JaxEngine(
        samplers.sampling,
        vocab_size=samplers.policy.vocab_size,
        batch=samplers.shardings.batch,
        replicated=samplers.shardings.replicated,
        exact_logprobs=config.rollout.quantization == "none",
        to_devices=None if samplers is programs else samplers.to_devices,
        earlier=EarlierCompletions(config.rollout.max_new_tokens) if config.rollout.speculation else None,
    )


def _vllm(config: Config, programs: Programs, samplers: Programs, task: Task) -> RolloutEngine:
    settings, checkpoint = config.rollout.engine, config.model.checkpoint
    assert isinstance(settings, VllmConfig)
    longest = task.max_prompt_tokens + config.rollout.max_new_tokens
    if checkpoint:
        config_file = read_config_file(Path(checkpoint))
    else:
        config_file = ConfigFile("config.json", describe(programs.policy.architecture, longest))

    def score(weights: Params, *of_rows: Array, temperature: float) -> Array:
        policy = programs.adapted if has_adapters(weights) else programs.policy
        return policy.completion_logprobs(weights, *of_rows, temperature=temperature)

    return VllmEngine(
        settings,
        policy=programs.adapted,
        config_file=config_file,
        stop_tokens=task.stop_tokens,
        max_new_tokens=config.rollout.max_new_tokens,
        score=jax.jit(score, static_argnames="temperature"),
        batch=programs.shardings.batch,
    )


# By the `name` of its section of the configuration; without a section it is "jax".
ENGINES: Mapping[str, Callable[[Config, Programs, Programs, Task], RolloutEngine]] = {"jax": _jax, "vllm": _vllm}
