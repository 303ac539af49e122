"""Time of sampling with drafts from a prompt's earlier completions, by the number of drafts (`rollout.speculation`).

    python benchmarks/speculation.py [--workdir=RUN] [--config=configs/two_grpo.py] [--drafts 0 2 4 8] [--prompts=32]
        [--lanes=0] [--repetitions=10]

The policy is that of the run, or of the configuration's checkpoint, or a fresh one. Each repetition samples the same
training prompts with a new counter, as another visit would, and all numbers of drafts in turn draft from the
completions of the visit before. The output is for each number the medians of the decode steps, the milliseconds and the
processor time, and the ratio of the processor time to the first number's, with quartiles. If a token differs from that
of the first number, the program says so and ends with code 1.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from alternation import ratio, several
from fresh_policy import built

from grpo_jax.config import command_line
from grpo_jax.data import Split, encode_prompts
from grpo_jax.processes import fetch, put
from grpo_jax.sampling import NOISES, Continuous, Counter, EarlierCompletions, Sampler, Stream
from grpo_jax.training import restore
from grpo_jax.training.base_policy import read_checkpoint
from grpo_jax.types import Rollouts

CONFIG = Path(__file__).parent.parent / "configs" / "two_grpo.py"


class Visit(NamedTuple):
    """What one number of drafts took for one visit of the prompts."""

    rollouts: Rollouts  # host arrays
    steps: int
    seconds: float
    cpu_seconds: float


def main(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--workdir", type=Path, metavar="RUN", help="take the policy and the configuration of this run")
    parser.add_argument("--drafts", type=int, nargs="+", default=[0, 2, 4, 8])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--lanes", type=int, default=0, help="0: one for each completion")
    parser.add_argument("--repetitions", type=several, default=10)
    arguments = command_line.parse(parser, argv)
    if arguments.prompts < 1 or min(arguments.drafts) < 0 or arguments.lanes < 0:
        parser.error("--prompts must be at least 1, --drafts and --lanes not negative")
    if arguments.workdir:
        experiment, restored = restore(arguments.workdir)
        params = restored.params
    else:
        experiment = built(parser, arguments)
        with_checkpoint = experiment.config.model.checkpoint
        params = read_checkpoint(experiment) if with_checkpoint else experiment.programs.init_params(jax.random.key(0))
    programs, rollout = experiment.programs, experiment.config.rollout
    weights = programs.policy_weights(params)
    prompts = encode_prompts(experiment.task, experiment.task.problems(Split.TRAIN, arguments.prompts))

    def prepared(drafts: int) -> Continuous:
        made = Sampler(
            programs.policy,
            rollout.sampling,
            group_size=rollout.group_size,
            max_new_tokens=rollout.max_new_tokens,
            stop_tokens=experiment.task.stop_tokens,
            noise=NOISES[rollout.noise],
            lanes_per_shard=arguments.lanes or (arguments.prompts * rollout.group_size if drafts else 0),
            drafts=drafts,
        )
        return jax.jit(made.empty), jax.jit(made.feed, donate_argnums=1), jax.jit(made.finish)

    samplers = {drafts: prepared(drafts) for drafts in arguments.drafts}

    earlier, first = EarlierCompletions(rollout.max_new_tokens), arguments.drafts[0]

    def visit(drafts: int, step: int) -> Visit:
        texts = earlier.of(prompts.ids, rollout.group_size) if drafts else None
        counter = Counter.of(experiment.config.seed, Stream.TRAINING, step)
        (empty, feed, finish), batch = samplers[drafts], put(prompts, programs.shardings.batch)
        state = jax.block_until_ready(empty(weights, batch, counter, texts))
        began, cpu_began = time.perf_counter(), time.process_time()
        state, _ = feed(weights, state, batch, counter, np.bool_(True), texts)
        (rollouts,) = jax.block_until_ready(finish(weights, state))
        spent = time.perf_counter() - began, time.process_time() - cpu_began
        return Visit(fetch(rollouts), int(state.step), *spent)

    visits: dict[int, list[Visit]] = {drafts: [] for drafts in samplers}
    for step in range(arguments.repetitions + 1):
        found = {drafts: visit(drafts, step) for drafts in samplers}
        for drafts, other in found.items():
            if not np.array_equal(other.rollouts.completion_tokens, found[first].rollouts.completion_tokens):
                print(f"visit {step}: with {drafts} drafts other tokens were sampled than with {first}")
                return 1
            if step:  # visit 0 compiles, and has no earlier completions
                visits[drafts].append(other)
        last = found[first].rollouts
        earlier.remember(prompts.ids, last.completion_tokens, last.completion_lengths)
    lengths = np.array([each.rollouts.completion_lengths for each in visits[first]])
    print(
        f"{arguments.prompts} prompts of {prompts.tokens.shape[1]} tokens, {lengths[0].size} completions of "
        f"{lengths.mean():.1f} tokens, at most {rollout.max_new_tokens}"
    )
    for drafts, all_visits in visits.items():
        cpu_ratio = ratio([each.cpu_seconds for each in all_visits], [each.cpu_seconds for each in visits[first]])
        steps, wall, cpu = (
            statistics.median(values)
            for values in zip(*((each.steps, each.seconds, each.cpu_seconds) for each in all_visits), strict=True)
        )
        print(
            f"{drafts} drafts: {steps:.0f} steps, {1e3 * wall:.1f} ms, {1e3 * cpu:.1f} of processor time, ratio "
            f"{cpu_ratio}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
