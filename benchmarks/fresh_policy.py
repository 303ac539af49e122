"""A fresh policy and prompts for it: the start of the benchmarks of sampling."""

import argparse
from typing import NamedTuple

import jax

from grpo_jax.config import Config, ConfigError, load
from grpo_jax.data import Split, encode_prompts
from grpo_jax.policy import Policy
from grpo_jax.processes import put
from grpo_jax.training import build
from grpo_jax.types import Params, PromptBatch


class FreshPolicy(NamedTuple):
    """All that sampling takes, on the devices."""

    config: Config
    policy: Policy
    weights: Params
    prompts: PromptBatch  # of a batch


def fresh_policy(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> FreshPolicy:
    """Return the policy of a configuration as it is before any training, and a batch of training prompts.

    Args:
      parser: its `error` ends the program if the configuration has a mistake.
      arguments: `config` and `overrides` name the configuration.
    """
    try:
        config = load(arguments.config, arguments.overrides)
        experiment = build(config)
    except ConfigError as error:
        parser.error(str(error))
    programs, task = experiment.programs, experiment.task
    weights = programs.sampling_weights(programs.adapt(programs.init_params(jax.random.key(0))))
    problems = task.problems(Split.TRAIN, config.rollout.prompts_per_batch)
    return FreshPolicy(config, programs.policy, weights, put(encode_prompts(task, problems), programs.shardings.batch))
