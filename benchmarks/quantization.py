"""Measure the time of sampling with weights in int8 against weights as they are (`rollout.quantization`).

    python benchmarks/quantization.py [--config=configs/two_grpo.py] [--repetitions=20]

The policy is that of the configuration's checkpoint, or a fresh one. Completions never stop, and both kinds of weights
sample the same prompts in turn. Prints the bytes of the weights, the medians of the milliseconds and of the processor
time of a decode step, and their ratios to those of the weights as they are, with quartiles; and how far the
log-probabilities of the tokens that the quantised policy samples are from the unquantised policy's.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from fresh_policy import built

from grpo_jax.config import command_line
from grpo_jax.data import Split, encode_prompts
from grpo_jax.policy import Policy
from grpo_jax.processes import put
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.training.base_policy import read_checkpoint
from grpo_jax.types import Params, Rollouts

CONFIG = Path(__file__).parent.parent / "configs" / "two_grpo.py"
NEVER = -1  # a stop token that no policy samples


class Spent(NamedTuple):
    """What it took to sample a batch, in seconds."""

    wall: float
    cpu: float


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--repetitions", type=int, default=20)
    arguments = command_line.parse(parser, argv)
    if arguments.repetitions < 2:
        parser.error(f"--repetitions={arguments.repetitions}: must be at least 2")
    experiment = built(parser, arguments)
    programs, rollout, task = experiment.programs, experiment.config.rollout, experiment.task
    if rollout.max_new_tokens < 2:
        parser.error("--config.rollout.max_new_tokens=1: must be at least 2, for there to be steps of decoding")
    policy, with_checkpoint = programs.policy, experiment.config.model.checkpoint
    params = read_checkpoint(experiment) if with_checkpoint else programs.init_params(jax.random.key(0))
    weights = programs.policy_weights(params)
    kinds = {
        "as they are": (policy, weights),
        "int8": (policy.quantised, jax.jit(lambda params: policy.cast(policy.quantise(params)))(params)),
    }
    problems = task.problems(Split.TRAIN, rollout.prompts_per_batch)
    prompts = put(encode_prompts(task, problems), programs.shardings.batch)

    def prepared(policy: Policy, weights: Params, tokens: int) -> Callable[[int], Rollouts]:
        sampler = Sampler(
            policy,
            rollout.sampling,
            group_size=rollout.group_size,
            max_new_tokens=tokens,
            stop_tokens=[NEVER],
        ).sample
        compiled = jax.jit(sampler)
        return lambda step: jax.block_until_ready(compiled(weights, prompts, Counter.of(0, Stream.TRAINING, step)))

    def spent(run: Callable[[int], Rollouts], step: int) -> Spent:
        wall, cpu = time.perf_counter(), time.process_time()
        run(step)
        return Spent(time.perf_counter() - wall, time.process_time() - cpu)

    def each_step(runs: Sequence[Callable[[int], Rollouts]], step: int) -> Spent:
        """Return the milliseconds of a decode step: the rest, which is the prompts and first tokens, is taken off."""
        first, whole = (spent(run, step) for run in runs)
        return Spent(*(1e3 * (b - a) / (rollout.max_new_tokens - 1) for a, b in zip(first, whole, strict=True)))

    runs = {name: [prepared(*kind, tokens) for tokens in (1, rollout.max_new_tokens)] for name, kind in kinds.items()}
    for pair in runs.values():  # compiles
        each_step(pair, 0)
    found = runs["int8"][1](0)
    groups = found.prompt_tokens, found.prompt_lengths, found.completion_tokens
    own = jax.jit(policy.completion_logprobs, static_argnames="temperature")
    trained = own(weights, *groups, temperature=rollout.sampling.temperature)
    difference = np.abs(np.array(trained) - np.array(found.logprobs))
    times = [
        {name: each_step(pair, step) for name, pair in runs.items()} for step in range(1, arguments.repetitions + 1)
    ]
    print(
        f"{len(prompts.ids)} prompts of {prompts.tokens.shape[1]} tokens, groups of {rollout.group_size}, "
        f"{rollout.max_new_tokens} new tokens; {experiment.config.model.compute_dtype}"
    )
    for name, (_, held) in kinds.items():
        megabytes = sum(leaf.nbytes for leaf in jax.tree.leaves(held)) / 1e6
        print(f"{name}: {megabytes:.2f} MB of weights", end="")
        for what in Spent._fields:
            ratios = [getattr(one[name], what) / getattr(one["as they are"], what) for one in times]
            low, middle, high = statistics.quantiles(ratios, n=4)
            median = statistics.median(getattr(one[name], what) for one in times)
            print(f"; {what} {median:.3f} ms a step, ratio {middle:.2f} [{low:.2f}, {high:.2f}]", end="")
        print()
    print(f"log-probabilities differ by {difference.mean():.4f} in the mean, and by at most {difference.max():.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
