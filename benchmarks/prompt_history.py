"""Measure how well a prompt's last group predicts whether its next one carries signal.

    python benchmarks/prompt_history.py RUN... [--after=300]

Whatever selects prompts by their history, or takes a baseline from it, needs such a prediction. For all groups of
later steps than --after whose prompt was sampled before, the output is the share that carries signal, by whether the
prompt's last group held a completion that was wrong. Intervals are 95 % t intervals over runs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from grpo_jax.runs.directory import RunDirectory


def shares(run: Path, after: int) -> tuple[float, float]:
    """Return the share of groups with signal after a group with a wrong completion, and after one that was all right.

    Args:
      run: the directory of a run.
      after: only groups of later steps count. The groups before may be of any step.
    """
    all_right: dict[int, bool] = {}  # the last group of each prompt, by the prompt's id
    signals: dict[bool, list[bool]] = {True: [], False: []}
    for group in RunDirectory(run, writes=False).rollouts():
        if group.step > after and group.id in all_right:
            signals[all_right[group.id]].append(group.signal)
        all_right[group.id] = all(one.verdict.right for one in group.completions)
    if not all(signals.values()):
        sys.exit(f"error: {run}: too few groups after step {after}; name longer runs, or a smaller --after.")
    return float(np.mean(signals[False])), float(np.mean(signals[True]))


def interval(values: np.ndarray) -> str:
    """Return a mean with its 95 % t interval, or without one if there is a single value."""
    mean = values.mean()
    if len(values) == 1:
        return f"{mean:.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


def main() -> None:
    """Print the shares over all runs, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--after", type=int, default=300)
    arguments = parser.parse_args()
    wrong, right = np.array([shares(run, arguments.after) for run in arguments.runs]).T
    print(f"groups with signal after one with a wrong completion: {interval(wrong)}")
    print(f"after one that was all right: {interval(right)}")
    print(f"difference: {interval(wrong - right)}")


if __name__ == "__main__":
    main()
