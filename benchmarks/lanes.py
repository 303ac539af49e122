"""Measure the time of sampling completions of unequal length, by the number of lanes (`rollout.lanes`).

    python benchmarks/lanes.py [--config=configs/two_grpo.py] [--lanes 0 16 32 64] [--repetitions=20] [--mean-share=4]

The policy is fresh, so no token is much likelier than another. Some of them stop a completion: so many that the mean
length would be the room (`rollout.max_new_tokens`) divided by `--mean-share`, were all equally likely. Prints for each
number of lanes the median of the milliseconds and of the ratio to the first number, with quartiles; all numbers of
lanes are taken in turn.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from alternation import in_turn, ratio, several
from fresh_policy import fresh_policy

from grpo_jax.config import command_line
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.types import Rollouts

CONFIG = Path(__file__).parent.parent / "configs" / "two_grpo.py"


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--lanes", type=int, nargs="+", default=[0, 16, 32, 64])
    parser.add_argument("--repetitions", type=several, default=20)
    parser.add_argument("--mean-share", type=float, default=4)
    arguments = command_line.parse(parser, argv)
    config, policy, weights, prompts = fresh_policy(parser, arguments)
    rollout = config.rollout
    stops = round(policy.vocab_size * arguments.mean_share / rollout.max_new_tokens)
    if not 0 < stops < policy.vocab_size:
        parser.error(
            f"--mean-share={arguments.mean_share}: {stops} of {policy.vocab_size} tokens would have to stop a "
            "completion; change it, or rollout.max_new_tokens"
        )

    def prepared(lanes: int) -> Callable[[int], Rollouts]:
        sampler = jax.jit(
            Sampler(
                policy,
                rollout.sampling,
                group_size=rollout.group_size,
                max_new_tokens=rollout.max_new_tokens,
                stop_tokens=range(stops),
                lanes_per_shard=lanes,
            ).sample
        )
        return lambda step: sampler(weights, prompts, Counter.of(config.seed, Stream.TRAINING, step))

    programs = {lanes: prepared(lanes) for lanes in arguments.lanes}
    lengths = np.array(programs[arguments.lanes[0]](0).completion_lengths)
    print(
        f"{len(prompts.ids)} prompts of {prompts.tokens.shape[1]} tokens, {lengths.size} completions of "
        f"{lengths.mean():.1f} tokens, at most {rollout.max_new_tokens}"
    )
    times = {lanes: [run.wall for run in runs] for lanes, runs in in_turn(programs, arguments.repetitions).items()}
    for lanes, spent in times.items():
        print(f"{lanes} lanes: {statistics.median(spent):.1f}, ratio {ratio(spent, times[arguments.lanes[0]])}")


if __name__ == "__main__":
    main(sys.argv[1:])
