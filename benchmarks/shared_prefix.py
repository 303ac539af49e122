"""Measure what it saves to compute the tokens before every question once for all rows of a batch.

    make smollm2
    python benchmarks/shared_prefix.py [--config=configs/smollm2_135m.py] [--repetitions=5]

A step's prompts are sampled from the base policy, and an update of all groups is computed, with `task.share_prefix`
on and off in turn. Prints the lengths, for both ways the median seconds of sampling and of the update, and the median
ratios with quartiles.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from alternation import in_turn, ratio, several
from fresh_policy import built

from grpo_jax.config import command_line
from grpo_jax.data import Split, encode_prompts, prompt_prefix
from grpo_jax.processes import put
from grpo_jax.training import Experiment
from grpo_jax.training.base_policy import read_checkpoint
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.programs import update_batch_shardings
from grpo_jax.training.requests import training_request
from grpo_jax.types import Rollouts

CONFIG = Path(__file__).parent.parent / "configs" / "smollm2_135m.py"


def phases(experiment: Experiment) -> dict[str, Callable[[int], object]]:
    """Return functions that sample a step's groups, and that compute an update of them."""
    config, programs, engine = experiment.config, experiment.programs, experiment.engine
    prompts = encode_prompts(experiment.task, experiment.task.problems(Split.TRAIN, config.rollout.prompts_per_step))
    state = programs.init_state(programs.adapt(read_checkpoint(experiment)))
    engine.load(programs.sampling_weights(state.params), 0)

    def sample(turn: int = 0) -> Rollouts:
        parts = [part.rollouts for part in engine.sample(prompts, training_request(config, step=1))]
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)

    rollouts = sample()
    print(f"completions have {rollouts.completion_lengths.mean():.1f} tokens")
    shape = rollouts.completion_lengths.shape
    batch, *_ = make_minibatches(
        rollouts,
        np.where(np.arange(shape[1]) % 2, -np.ones(shape), np.ones(shape)).astype(np.float32),
        keep=np.ones(len(rollouts.prompt_lengths), bool),
        minibatches=config.train.minibatches,
        microbatch_groups=config.train.microbatch_groups,
        aggregation=programs.objective.aggregation,
        denominator=config.objective.denominator,
    )
    batch = put(batch, update_batch_shardings(batch, programs.shardings))

    def update(turn: int) -> None:
        nonlocal state
        state, _ = programs.update(state, batch)
        jax.block_until_ready(state)

    return {"sampling": sample, "update": update}


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--repetitions", type=several, default=5)
    arguments = command_line.parse(parser, argv)
    given = arguments.overrides
    ways = {}
    for way in (True, False):
        arguments.overrides = [*given, ("task.share_prefix", str(way).lower())]
        experiment = built(parser, arguments)
        if way:
            lengths = [len(row) for row in experiment.task.prompt_tokens(experiment.task.problems(Split.TRAIN, 64))]
            print(f"prompts have {np.mean(lengths):.1f} tokens, {len(prompt_prefix(experiment.task))} of them shared")
        ways[way] = phases(experiment)
    for phase in ways[True]:
        taken = in_turn({way: functions[phase] for way, functions in ways.items()}, arguments.repetitions)
        on, off = ([run.wall / 1e3 for run in runs] for runs in taken.values())
        medians = f"{statistics.median(on):.2f} s shared, {statistics.median(off):.2f} s not"
        print(f"{phase}: {medians}; ratio {ratio(on, off)}")


if __name__ == "__main__":
    main(sys.argv[1:])
