"""Count the decode steps of lanes, with prompts in any order, and with those first that had the longest completions.

    python benchmarks/queue_order.py [--prompts=64] [--group-size=2] [--lanes=16] [--room=128] [--requests=1000]

Each prompt has a mean length, drawn from a uniform distribution with the mean room / 4. Its completions have geometric
lengths with that mean, and at most `--room` tokens. A prompt's expected length is the mean length of its completions at
one earlier visit. Nothing is sampled, and no time is measured: a lane takes the next completion when it has finished
one, as in grpo_jax/sampling/lanes.py, and the number of steps follows.
"""

import argparse
import heapq
import sys
from collections.abc import Sequence

import numpy as np


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("prompts", 64), ("group-size", 2), ("lanes", 16), ("room", 128), ("requests", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args(argv)
    random = np.random.default_rng(0)
    shares: dict[str, list[float]] = {"in any order": [], "longest before first": [], "longest mean first": []}
    for _ in range(a.requests):
        means = random.uniform(1, a.room / 2, (a.prompts, 1))
        before, now = (np.minimum(random.geometric(1 / means, (a.prompts, a.group_size)), a.room) for _ in range(2))
        for expected, found in zip(
            (np.zeros(a.prompts), before.mean(axis=1), means[:, 0]), shares.values(), strict=True
        ):
            lengths = now[np.argsort(-expected, kind="stable")].ravel()
            found.append((lengths - 1).sum() / (a.lanes * steps(lengths.tolist(), a.lanes)))
    for name, found in shares.items():
        print(f"{name}: {100 * np.mean(found):.1f} % of the places in decode steps are used")


def steps(lengths: Sequence[int], lanes: int) -> int:
    """Return how many steps lanes decode. A completion's first token needs none."""
    free = [0] * lanes
    for length in lengths:
        heapq.heapreplace(free, free[0] + length - 1)
    return max(free)


if __name__ == "__main__":
    main(sys.argv[1:])
