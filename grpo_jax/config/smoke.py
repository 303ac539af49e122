"""A configuration scaled down to a minimal run of all its parts: does it work here from end to end?"""

import dataclasses
import math
from typing import Any

from grpo_jax.config.schema import Config, QuestionsConfig, SourceConfig

STEPS = 3
PROMPTS = 8  # a step, or as many as batches that devices share must have
TOKENS = 32  # of a completion, unless it must have room for demonstrations
PROBLEMS = 4  # of an evaluation, and so many at once
SAMPLES = 2
BOOTSTRAP = 100
RECORDS = 1000  # read of each source
TIES = "grpo_jax.rewards.ties:lot"  # since completions so short are all wrong, and without signal there is no update


def smoke(config: Config, shards: int) -> Config:
    """The configuration with few steps, prompts, tokens, samples and problems.

    Model, mesh, objective, group size and length of prompts stay: they decide whether a run fits and compiles. So does
    the warm start, whose policy is kept for the run itself. Of questions, completions that are equally good are ranked
    by lot, so that there is something to learn.

    Args:
      config: of the run itself.
      shards: how many devices share a batch.
    """
    rollout, train, evaluation = config.rollout, config.train, config.evaluation
    minibatches = _divisor(train.minibatches, min(2, train.minibatches))
    microbatch = _divisor(train.microbatch_groups, 1, shards // math.gcd(shards, rollout.group_size))
    batch = _divisor(rollout.prompts_per_batch, PROMPTS, shards)
    unit = math.lcm(batch, minibatches * microbatch)
    prompts = min(rollout.prompts_per_step, unit * math.ceil(PROMPTS / unit))
    tokens = rollout.max_new_tokens if config.warm_start else min(rollout.max_new_tokens, TOKENS)
    return dataclasses.replace(
        config,
        task=_task(config.task, tokens),
        rollout=dataclasses.replace(
            rollout,
            prompts_per_step=prompts,
            prompts_per_batch=batch,
            max_new_tokens=tokens,
            max_rollouts=(prompts + batch) * rollout.group_size if rollout.max_rollouts else 0,
        ),
        optimizer=dataclasses.replace(
            config.optimizer, warmup_updates=min(config.optimizer.warmup_updates, STEPS * minibatches - 1)
        ),
        train=dataclasses.replace(train, steps=STEPS, minibatches=minibatches, microbatch_groups=microbatch),
        evaluation=dataclasses.replace(
            evaluation,
            every=STEPS if evaluation.every else 0,
            validation_problems=min(evaluation.validation_problems or 1, PROBLEMS),
            validation_samples=min(evaluation.validation_samples, SAMPLES),
            test_problems=min(evaluation.test_problems or 1, PROBLEMS),
            test_samples=min(evaluation.test_samples, SAMPLES),
            prompts_per_batch=_divisor(evaluation.prompts_per_batch, PROBLEMS, shards),
            bootstrap=min(evaluation.bootstrap, BOOTSTRAP),
        ),
        checkpoint=dataclasses.replace(config.checkpoint, every=STEPS),
        logging=dataclasses.replace(config.logging, arms_every=STEPS if config.logging.arms_every else 0),
    )


def _task(task: Any, tokens: int) -> Any:
    if not isinstance(task, QuestionsConfig):
        return task
    reward = dataclasses.replace(
        task.reward,
        terms={**task.reward.terms, TIES: 1e-3},
        workers=min(task.reward.workers, 2),
        overlong_tokens=min(task.reward.overlong_tokens, tokens),
    )
    return dataclasses.replace(task, train=_few(task.train), test=task.test and _few(task.test), reward=reward)


def _few(source: SourceConfig) -> SourceConfig:
    return dataclasses.replace(source, limit=min(source.limit or RECORDS, RECORDS))


def _divisor(number: int, least: int, of: int = 1) -> int:
    """The smallest divisor of a number that is a multiple of `of` and not below `least`; else the number itself."""
    return next((each for each in range(1, number) if number % each == 0 and each % of == 0 and each >= least), number)
