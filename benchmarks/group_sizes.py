"""Time of 2-GRPO against 16-GRPO for the same number of prompts.

    python benchmarks/group_sizes.py [--prompts=3200] [--repetitions=3]

Trains both from the same base policy, turn and turn about, through the same loop as launch/main.py, and prints the
seconds of sampling, rewards and updates (compilation and evaluation left out) and their ratio, pair by pair.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from grpo_jax.config import Config, load
from grpo_jax.training import train

CONFIGS = Path(__file__).parent.parent / "configs"
PHASES = ("sampling", "rewards", "update")


def configuration(name: str, prompts: int, seed: int) -> Config:
    """A shipped configuration, cut to so many prompts, and with hardly any evaluation."""
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


def seconds(config: Config) -> dict[str, float]:
    """Seconds by phase of a training run."""
    with tempfile.TemporaryDirectory() as workdir:
        spent: dict[str, float] = train(config, Path(workdir))["seconds"]
    return spent


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=3200)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    ratios = []
    print(f"{arguments.prompts} prompts; seconds")
    for repetition in range(arguments.repetitions):
        totals = {}
        for name in ("two_grpo", "grpo_16"):
            spent = seconds(configuration(name, arguments.prompts, seed=repetition))
            totals[name] = sum(spent[phase] for phase in PHASES)
            parts = "  ".join(f"{phase} {spent[phase]:6.2f}" for phase in PHASES)
            print(f"seed {repetition}  {name:8s}  {parts}  together {totals[name]:6.2f}")
        ratios.append(totals["two_grpo"] / totals["grpo_16"])
        print(f"seed {repetition}  ratio {ratios[-1]:.3f}")
    print(f"2-GRPO / 16-GRPO: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
