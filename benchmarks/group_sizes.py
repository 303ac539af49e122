"""Measure the time of 2-GRPO against 16-GRPO for the same number of prompts.

    python benchmarks/group_sizes.py [--prompts=3200] [--repetitions=3]

Both are trained in turn from the same base policy, in the same loop as by launch/main.py. The output is the seconds of
training by phase (without compilation, evaluation and checkpoints) and, pair by pair, the ratio of their sums: with all
phases, which is wall-clock time, and without the host's work between sampling and updates.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from grpo_jax.config import Config, load
from grpo_jax.runs.phases import TRAINING, training_seconds
from grpo_jax.training import train_config

CONFIGS = Path(__file__).parent.parent / "configs"


def configuration(name: str, prompts: int, seed: int) -> Config:
    """Return a shipped configuration, shortened to this many prompts, with hardly any evaluation."""
    path = CONFIGS / f"{name}.py"
    steps = prompts // load(path).rollout.prompts_per_step
    overrides = {
        "seed": seed,
        "train.steps": steps,
        "checkpoint.every": steps,
        "checkpoint.keep_best": 0,
        "evaluation.every": 0,
        "evaluation.test_problems": 128,
        "evaluation.test_samples": 1,
    }
    return load(path, [(field, str(value)) for field, value in overrides.items()])


def seconds(config: Config) -> Mapping[str, float]:
    """Return the seconds of a training run by phase."""
    with tempfile.TemporaryDirectory() as workdir:
        return train_config(config, Path(workdir)).seconds


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=3200)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    ratios: dict[str, list[float]] = {"seconds of training": [], "without the host's": []}
    print(f"{arguments.prompts} prompts; seconds")
    for repetition in range(arguments.repetitions):
        both = []
        for name in ("two_grpo", "grpo_16"):
            spent = seconds(configuration(name, arguments.prompts, seed=repetition))
            together = training_seconds(spent)
            both.append((together, together - spent["host"]))
            parts = "  ".join(f"{phase} {spent[phase]:6.2f}" for phase in TRAINING)
            print(f"seed {repetition}  {name:8s}  {parts}  together {together:6.2f}")
        for of_kind, pairs, sixteen in zip(ratios.values(), *both, strict=True):
            of_kind.append(pairs / sixteen)
        print(f"seed {repetition}  " + ", ".join(f"ratio of {kind} {found[-1]:.3f}" for kind, found in ratios.items()))
    for kind, found in ratios.items():
        middle = statistics.median(found)
        print(f"2-GRPO / 16-GRPO, {kind}: median {middle:.3f}, from {min(found):.3f} to {max(found):.3f}")


if __name__ == "__main__":
    main()
