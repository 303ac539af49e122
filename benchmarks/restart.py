"""Measure how long a restart is busy with the files of a run, by the run's age.

    python benchmarks/restart.py [--gigabytes=5] [--groups=64] [--tokens=512]

A run directory is made whose rollouts take `--gigabytes`, each step with `--groups` pairs of completions of `--tokens`
tokens. Its last step is five steps after its last checkpoint. Then a fresh process takes it back to that checkpoint, as
a restart does. This is done for a twentieth of the size, a fourth of it, and all of it. The files were written just
now, so what is read of them comes from memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.rewards import Verdict
from grpo_jax.runs.directory import RunDirectory, rollout_file
from grpo_jax.runs.groups import TrainingCompletion, TrainingGroup
from grpo_jax.runs.lines import SampleStatistics, Stage, TrainLine

AFTER_CHECKPOINT = 5  # steps


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--take-back", nargs=2, metavar=("DIR", "STEP"), help=argparse.SUPPRESS)
    a = parser.parse_args(argv)
    if a.take_back:
        take_back(Path(a.take_back[0]), int(a.take_back[1]))
        return
    print("    GB   steps  seconds  CPU seconds  peak memory (MB)")
    for share in (0.05, 0.25, 1.0):
        with tempfile.TemporaryDirectory() as place:
            steps = make(Path(place), int(share * a.gigabytes * 1e9), a.groups, a.tokens)
            written = sum(path.stat().st_size for path in Path(place).rglob("*.jsonl")) / 1e9
            command = [sys.executable, __file__, "--take-back", place, str(steps - AFTER_CHECKPOINT)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"{written:6.2f} {steps:7,} {found[0]:8.3f} {found[1]:12.3f} {found[2]:17.0f}", flush=True)


def make(place: Path, size: int, groups: int, tokens: int) -> int:
    """Make a run directory with rollouts of so many bytes, and return its number of steps."""
    verdict = Verdict(1.0, "1", right=True)
    logprobs = [-0.123456] * tokens
    completion = TrainingCompletion("x" * tokens, tokens, False, verdict, 0.5, -1.5, [12345] * tokens, logprobs)
    run = RunDirectory(place)
    run.create()
    run.append_rollouts(1, [TrainingGroup(1, "1+2=", "3", [completion] * 2, 1, True, None, 0)] * groups)
    of_first_step = (place / rollout_file(1)).read_text()
    step, written, statistics = 1, len(of_first_step), SampleStatistics.from_json({})
    while written < size:
        step += 1
        with open(place / rollout_file(step), "a", encoding="utf-8") as file:
            written += file.write(of_first_step.replace('"step": 1,', f'"step": {step},'))
        run.append_metrics(TrainLine(step, step, step, statistics, step, 1.0, 1, step, {}))
    run.close()
    return step


def take_back(place: Path, step: int) -> None:
    """Do what a restart does, and print its seconds, CPU seconds and peak memory as JSON."""
    run, began, busy = RunDirectory(place), time.perf_counter(), time.process_time()
    run.rewind(Stage.TRAIN, step)
    run.evaluated(step)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps([time.perf_counter() - began, time.process_time() - busy, memory]))


if __name__ == "__main__":
    main(sys.argv[1:])
