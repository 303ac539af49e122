"""Run a case's steps with the project: `begin_collecting` and `learn`, as grpo_jax/training/loop.py calls them.

    python benchmarks/peers/run_ours.py CASE [--config.FIELD=VALUE ...]

benchmarks/peers/compare.py starts this with a case as JSON; `turns.py` says how the two talk.
"""

import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
from turns import Turns
from work import CLIP, CLIP_NORM, LEARNING_RATE, NEW_TOKENS, NORM_EPSILON, ROPE_THETA, Case

from grpo_jax.config import Config, command_line, load
from grpo_jax.data import PromptSource, Split
from grpo_jax.training import Experiment, build
from grpo_jax.training.clock import Clock
from grpo_jax.training.collect import Collected, begin_collecting
from grpo_jax.training.compile_ahead import UPDATE, compiling_ahead
from grpo_jax.training.loop import learn
from grpo_jax.training.visits import Visits

ROWS = 8  # completions of a micro-batch: as many as stay in a CPU's caches


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    turns = Turns("jax")
    parser = command_line.parser(__doc__, config="two_grpo")
    parser.add_argument("case")
    arguments = command_line.parse(parser, argv)
    case = Case.from_json(json.loads(arguments.case))
    experiment = build(configuration(case, arguments.config, arguments.overrides))
    with compiling_ahead(experiment, problems={}) as compiled:
        for step in steps(experiment, compiled):
            tokens = int(step.collected.rollouts.completion_lengths.sum())
            if not turns.finished(rollout_seconds=step.rollout_seconds, tokens=tokens):
                return


class Step(NamedTuple):
    """A finished step."""

    rollout_seconds: float
    collected: Collected


def steps(experiment: Experiment, compiled: Callable[[str], None] = lambda name: None) -> Iterator[Step]:
    """Yield training steps from a random policy on, without end, each when its update has been computed.

    Args:
      compiled: waits for programs; see `compiling_ahead`.
    """
    config, programs, engine = experiment.config, experiment.programs, experiment.engine
    source = PromptSource(experiment.task.problems(Split.TRAIN), config.seed)
    visits, clock = Visits.empty(config.rollout.success_half_life, config.rollout.max_new_tokens), Clock()
    state = programs.init_state(programs.adapt(programs.init_params(jax.random.key(config.seed))))
    cursor = 0
    for step in itertools.count(1):
        began = time.perf_counter()
        engine.load(programs.sampling_weights(state.params), version=step - 1)
        cursor = source.start_of_step(cursor, config.rollout.prompts_per_step)
        with jax.transfer_guard("disallow"):
            collected = begin_collecting(
                experiment, source, visits, clock, cursor=cursor, step=step, version=step - 1
            )()
            engine.unload()
            rollout_seconds = time.perf_counter() - began
            compiled(UPDATE)
            state = jax.block_until_ready(learn(experiment, state, None, collected, step).state)
        cursor += collected.consumed
        rewards, scored = collected.outcomes.rewards, collected.outcomes.scored
        known = rewards, collected.successes, scored, collected.rollouts.completion_lengths
        visits.observe(collected.prompt_ids, *known, collected.signal, step)
        yield Step(rollout_seconds, collected)


def configuration(case: Case, path: str, overrides: Sequence[tuple[str, str]]) -> Config:
    """Return the configuration of a case: that of a config file with the case's fields, and then the overrides."""
    shape = case.model
    fields: dict[str, object] = {
        "task.name": "own",
        "task.factory": "random_tokens:RandomTokens",
        "task.parameters.vocabulary": shape.vocabulary,
        "task.parameters.stops": case.stops,
        "task.parameters.prompts": case.prompts,
        "task.parameters.void": int(case.void),
        "model.architecture.vocab_size": shape.vocabulary,
        "model.architecture.embed_dim": shape.width,
        "model.architecture.num_layers": shape.layers,
        "model.architecture.num_heads": shape.heads,
        "model.architecture.num_kv_heads": shape.kv_heads,
        "model.architecture.head_dim": shape.head,
        "model.architecture.mlp_dim": shape.mlp,
        "model.architecture.qkv_bias": True,
        "model.architecture.qk_norm": False,
        "model.architecture.norm_epsilon": NORM_EPSILON,
        "model.architecture.rope.theta": ROPE_THETA,
        "rollout.prompts_per_step": case.prompts,
        "rollout.prompts_per_batch": case.prompts,
        "rollout.group_size": case.group,
        "rollout.max_new_tokens": NEW_TOKENS,
        "objective.name": "grpo",
        "objective.clip_low": CLIP,
        "objective.clip_high": CLIP,
        "optimizer.learning_rate": LEARNING_RATE,
        "optimizer.warmup_updates": 0,
        "optimizer.clip_norm": CLIP_NORM,
        "train.microbatch_groups": max(1, ROWS // case.group),
        "logging.arms_every": 0,
    }
    loaded = load(path, [*((name, str(value)) for name, value in fields.items()), *overrides])
    return dataclasses.replace(loaded, warm_start=None)  # the policy stays random


if __name__ == "__main__":
    main(sys.argv[1:])
