"""Measure an update of unequal completions: each micro-batch in its bucket, against all at full width.

    python benchmarks/update.py [--config=configs/two_grpo.py] [--repetitions=20] [--mean-share=4]

The policy is fresh, and completions are random tokens, whose lengths are geometric with a mean of the room
(`rollout.max_new_tokens`) divided by `--mean-share`, and at most the room. All groups carry signal. One program serves
both ways, which are taken in turn. Prints for each bucket how many micro-batches it has, for each way the median of the
milliseconds and of the CPU's, and the median ratio of the two with quartiles. Room for fewer than 64 tokens has one
bucket (grpo_jax/training/batching.py).
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from alternation import in_turn, medians, ratio, several
from fresh_policy import built

from grpo_jax.config import command_line
from grpo_jax.data import Split, encode_prompts
from grpo_jax.processes import put
from grpo_jax.training.batching import buckets_of, make_minibatches
from grpo_jax.training.programs import update_batch_shardings
from grpo_jax.types import Rollouts, StopReason, TrainState, UpdateBatch

CONFIG = Path(__file__).parent.parent / "configs" / "two_grpo.py"


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--repetitions", type=several, default=20)
    parser.add_argument("--mean-share", type=float, default=4)
    arguments = command_line.parse(parser, argv)
    experiment = built(parser, arguments)
    config = experiment.config
    if not 1 <= arguments.mean_share <= config.rollout.max_new_tokens:
        parser.error(f"--mean-share={arguments.mean_share}: must be between 1 and rollout.max_new_tokens")
    programs, rollout = experiment.programs, config.rollout
    groups, room = rollout.prompts_per_step // config.train.minibatches, rollout.max_new_tokens
    rng = np.random.default_rng(config.seed)
    shape = (groups, rollout.group_size)
    prompts = encode_prompts(experiment.task, experiment.task.problems(Split.TRAIN, groups))
    rollouts = Rollouts(
        prompt_tokens=prompts.tokens,
        prompt_lengths=prompts.lengths,
        completion_tokens=rng.integers(programs.policy.vocab_size, size=(*shape, room), dtype=np.int32),
        completion_lengths=np.minimum(rng.geometric(arguments.mean_share / room, shape), room).astype(np.int32),
        logprobs=np.full((*shape, room), -np.log(programs.policy.vocab_size), np.float32),
        stop_reasons=np.full(shape, StopReason.STOP, np.int32),
    )
    (in_buckets,) = make_minibatches(
        rollouts,
        np.where(np.arange(rollout.group_size) % 2, -np.ones(shape), np.ones(shape)).astype(np.float32),
        keep=np.ones(groups, bool),
        minibatches=1,
        microbatch_groups=config.train.microbatch_groups,
        aggregation=programs.objective.aggregation,
        denominator=config.objective.denominator,
    )
    for bucket, count in zip(buckets_of(in_buckets.groups), in_buckets.filled, strict=True):
        print(f"{bucket.prompt} + {bucket.completion} tokens: {count} micro-batches")
    everything = np.zeros_like(in_buckets.filled)
    everything[0] = in_buckets.filled.sum()
    ways = {"in buckets": in_buckets, "at full width": dataclasses.replace(in_buckets, filled=everything)}
    batches = {name: put(way, update_batch_shardings(way, programs.shardings)) for name, way in ways.items()}

    state = programs.init_state(programs.adapt(programs.init_params(jax.random.key(0))))

    def updating(batch: UpdateBatch) -> Callable[[int], TrainState]:
        def update(turn: int) -> TrainState:
            nonlocal state
            state, _ = programs.update(state, batch)
            return state

        return update

    started = time.process_time()
    updating(batches["in buckets"])(0)
    print(f"compiling and one update: {time.process_time() - started:.1f} s of CPU")
    runs = in_turn({name: updating(batch) for name, batch in batches.items()}, arguments.repetitions)
    for name, of_way in runs.items():
        print(f"{name}: {medians(of_way).wall:.1f} ms, {medians(of_way).cpu:.1f} ms of CPU")
    for unit, which in (("time", 0), ("CPU time", 1)):
        print(f"ratio of {unit}: {ratio(*([run[which] for run in of_way] for of_way in runs.values()))}")


if __name__ == "__main__":
    main(sys.argv[1:])
