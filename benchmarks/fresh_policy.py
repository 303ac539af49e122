"""Build an experiment, a fresh policy and prompts for a benchmark."""

import argparse
from typing import NamedTuple

import jax

from grpo_jax.config import Config, ConfigError, load
from grpo_jax.data import Split, encode_prompts
from grpo_jax.policy import Policy
from grpo_jax.processes import put
from grpo_jax.training import Experiment, build
from grpo_jax.types import Params, PromptBatch


class FreshPolicy(NamedTuple):
    """Everything that sampling needs, on the devices."""

    config: Config
    policy: Policy
    weights: Params
    prompts: PromptBatch  # of a batch


def built(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Experiment:
    """Return the experiment of a configuration.

    Args:
      parser: its `error` ends the program if the configuration has a mistake.
      arguments: `config` and `overrides` name the configuration.
    """
    try:
        return build(load(arguments.config, arguments.overrides))
    except ConfigError as error:
        parser.error(str(error))


def fresh_policy(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> FreshPolicy:
    """Return the policy of a configuration as it is before any training, and a batch of training prompts.

    Args:
      parser, arguments: as `built` takes them.
    """
    experiment = built(parser, arguments)
    config, programs, task = experiment.config, experiment.programs, experiment.task
    weights = programs.policy_weights(programs.init_params(jax.random.key(0)))
    problems = task.problems(Split.TRAIN, config.rollout.prompts_per_batch)
    return FreshPolicy(config, programs.policy, weights, put(encode_prompts(task, problems), programs.shardings.batch))
