"""Scale a configuration down to a minimal run of all its parts, to see whether it works here from end to end."""

import dataclasses
import math
from typing import Any

from grpo_jax.config.schema import Config, QuestionsConfig, SourceConfig

STEPS = 3
PROMPTS = 8  # per step; more if the devices share larger batches
TOKENS = 32  # of a completion, unless demonstrations need more
PROBLEMS = 4  # of an evaluation, all in one batch
SAMPLES = 2
BOOTSTRAP = 100
RECORDS = 1000  # read from each source
TIES = "grpo_jax.rewards.terms:tie_breaker"  # so short completions are all wrong, and without signal there is no update


def smoke(config: Config, shards: int) -> Config:
    """Return the configuration with few steps, prompts, tokens, samples and problems.

    Model, mesh, objective, group size and prompt length stay, because they decide whether a run fits and compiles. The
    warm start stays, because the run itself can use its policy. For questions, equally good completions are ranked at
    random, so that there is something to learn.

    Args:
      config: the configuration of the run itself.
      shards: the number of devices that share a batch.
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
    """Return the smallest proper divisor that is a multiple of `of` and at least `least`, or else the number."""
    return next((each for each in range(1, number) if number % each == 0 and each % of == 0 and each >= least), number)
