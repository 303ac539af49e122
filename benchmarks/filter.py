"""Measure the cost of an update by the share of its groups that carry signal. The others never reach the model.

    python benchmarks/filter.py [--config=configs/two_grpo.py] [--repetitions=30]

The output is the median milliseconds of one update for each share, measured in turn, and the seconds of compilation.
One program serves all shares.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from alternation import in_turn, medians, several
from fresh_policy import built

from grpo_jax.config import command_line
from grpo_jax.data import Split
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.processes import put
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.clock import Clock
from grpo_jax.training.programs import update_batch_shardings
from grpo_jax.training.requests import training_request
from grpo_jax.types import TrainState, UpdateBatch

CONFIG = Path(__file__).parent.parent / "configs" / "two_grpo.py"
SHARES = (1.0, 0.75, 0.5, 0.25, 0.125)


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--repetitions", type=several, default=30)
    arguments = command_line.parse(parser, argv)
    experiment = built(parser, arguments)
    config = experiment.config
    params = experiment.programs.adapt(experiment.programs.init_params(jax.random.key(0)))
    groups = config.rollout.prompts_per_step
    problems = experiment.task.problems(Split.TRAIN, groups)
    experiment.engine.load(experiment.programs.sampling_weights(params), version=0)
    request = dataclasses.replace(training_request(config, step=0), prompts_per_batch=groups)
    rollouts = sample_and_judge(experiment.engine, experiment.task, problems, request).rollouts
    experiment.engine.unload()
    signs = np.where(np.arange(config.rollout.group_size) % 2, -1.0, 1.0).astype(np.float32)
    advantages = np.tile(signs, (groups, 1))

    batches = {}
    for share in SHARES:
        (host_batch,) = make_minibatches(
            rollouts,
            advantages,
            keep=np.arange(groups) < share * groups,
            minibatches=1,
            microbatch_groups=config.train.microbatch_groups,
            aggregation=experiment.programs.objective.aggregation,
            denominator=config.objective.denominator,
        )
        batches[share] = put(host_batch, update_batch_shardings(host_batch, experiment.programs.shardings))

    state, clock = experiment.programs.init_state(params), Clock()

    def updating(batch: UpdateBatch) -> Callable[[int], TrainState]:
        def update(turn: int) -> TrainState:
            nonlocal state
            state, _ = experiment.programs.update(state, batch)
            return state

        return update

    updating(batches[1.0])(0)
    compiled = clock.read()["compile"]
    runs = in_turn({share: updating(batch) for share, batch in batches.items()}, arguments.repetitions)
    times = {share: medians(of_share).wall for share, of_share in runs.items()}
    print(f"{groups} groups of {config.rollout.group_size}, micro-batches of {config.train.microbatch_groups} groups")
    for share, median in times.items():
        print(f"share with signal {share:5.3f}: {median:7.2f} ms, {median / times[1.0]:.3f} of the whole")
    print(f"compiling: {compiled:.2f} s before the first update, {clock.read()['compile'] - compiled:.2f} s after it")


if __name__ == "__main__":
    main(sys.argv[1:])
