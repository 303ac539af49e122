"""Measure the time of sampling by group size: the cost of prompts, and of each decoding step.

    python benchmarks/sampling.py [--config=configs/two_grpo.py] [--sizes 2 16] [--repetitions=100]

The output is the medians for a fresh policy whose completions never stop, with the sizes measured in turn, and the
ratios of the first size to the last, with their quartiles over the repetitions.
"""

import itertools
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from alternation import in_turn, ratio, several
from fresh_policy import fresh_policy

from grpo_jax.config import command_line
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.types import Rollouts

CONFIG = Path(__file__).parent.parent / "configs" / "two_grpo.py"
NEVER = -1  # a stop token that no policy samples


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--repetitions", type=several, default=100)
    arguments = command_line.parse(parser, argv)
    sizes = arguments.sizes
    if len(sizes) < 2 or min(sizes) < 1:
        parser.error(f"--sizes {' '.join(map(str, sizes))}: must be two or more sizes of groups, such as 2 16")
    config, policy, weights, prompts = fresh_policy(parser, arguments)
    room = config.rollout.max_new_tokens
    if room < 2:
        parser.error(f"--config.rollout.max_new_tokens={room}: must be at least 2, for there to be steps of decoding")

    def prepared(size: int, tokens: int) -> Callable[[int], Rollouts]:
        """Return a function that samples groups of this size and length in a step."""
        sampler = Sampler(
            policy,
            config.rollout.sampling,
            group_size=size,
            max_new_tokens=tokens,
            stop_tokens=[NEVER],
        ).sample
        compiled = jax.jit(sampler)
        return lambda step: compiled(weights, prompts, Counter.of(config.seed, Stream.TRAINING, step))

    programs = {(size, tokens): prepared(size, tokens) for size, tokens in itertools.product(sizes, (1, room))}
    times = {program: [run.wall for run in runs] for program, runs in in_turn(programs, arguments.repetitions).items()}

    print(f"{len(prompts.ids)} prompts of {prompts.tokens.shape[1]} tokens, {room} new ones; milliseconds")
    for size in sizes:
        first, whole = (statistics.median(times[size, tokens]) for tokens in (1, room))
        each = (whole - first) / (room - 1)
        print(f"groups of {size}: {whole:.2f}; prompts and first token {first:.2f}, each further token {each:.3f}")
    for tokens, what in ((1, "prompts and first token"), (room, "all")):
        print(f"{sizes[0]} / {sizes[-1]}, {what}: {ratio(times[sizes[0], tokens], times[sizes[-1], tokens])}")


if __name__ == "__main__":
    main(sys.argv[1:])
