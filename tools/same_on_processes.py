"""Run the same short trainings with four devices in one, two and four processes, and compare their results.

    python tools/same_on_processes.py [--runs 2-GRPO LoRA] [--tolerance=1e-5]

All values of metrics.jsonl are compared line by line with those of one process, except wall-clock times, and the
sampled tokens of every group. All start from the same base policy, and share a cache. The processes find each other on
this machine, as under SLURM.

Exit code 0 if everything agrees within --tolerance (0: bit for bit), 1 if something differs, 2 if a run fails.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from compare_commits import ABSENT, Line, last_line, log, loopback_cluster, metrics, relative_difference, tokens

from grpo_jax.commands import argv_prefix
from grpo_jax.config import counted

DEVICES, PROCESSES = 4, (1, 2, 4)

TINY = {
    "task.operations": "1",
    "task.operators": "+-*",
    "task.train_problems": "40",
    "model.architecture.embed_dim": "16",
    "model.architecture.num_layers": "1",
    "model.architecture.head_dim": "8",
    "model.architecture.mlp_dim": "32",
    "warm_start.full_steps": "40",
    "warm_start.skip_steps": "10",
    "warm_start.batch_size": "32",
    "warm_start.full_learning_rate": "1e-2",
    "mesh.data": str(DEVICES),
    "rollout.prompts_per_step": "8",
    "rollout.prompts_per_batch": "4",
    "rollout.max_new_tokens": "4",
    "train.steps": "8",
    "train.microbatch_groups": "4",
    "evaluation.every": "4",
    "evaluation.validation_problems": "8",
    "evaluation.validation_samples": "2",
    "evaluation.test_problems": "8",
    "evaluation.test_samples": "2",
    "evaluation.prompts_per_batch": "8",
    "evaluation.bootstrap": "20",
    "checkpoint.every": "4",
}
RUNS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "2-GRPO": ("two_grpo", {}),
    "16-GRPO": ("grpo_16", {}),
    "LoRA": ("two_grpo", {f"model.lora.{name}": value for name, value in (("rank", "4"), ("alpha", "8.0"))}),
    "resampling": ("two_grpo", {"rollout.max_rollouts": "48"}),
    "lanes and buckets": ("two_grpo", {"rollout.lanes": "4", "rollout.max_new_tokens": "128"}),
}


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN", help="default: all")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="largest difference; default: 1e-5")
    arguments = parser.parse_args(argv)
    differ = False
    with tempfile.TemporaryDirectory() as directory:
        for name in arguments.runs:
            alone = Path(directory) / f"{name}_1"
            for processes in PROCESSES:
                workdir = Path(directory) / f"{name}_{processes}"
                codes = [process.wait() for process in start(name, processes, workdir)]
                if any(codes):
                    print(
                        f"error: {name} on {counted(processes, 'process')}: {last_line(log(workdir, 0))}",
                        file=sys.stderr,
                    )
                    return 2
                if processes > 1:
                    farthest = max(largest(lines(alone), lines(workdir)) for lines in (trained, tokens))
                    differ = differ or farthest[0] > arguments.tolerance
                    verdict = "the largest difference is {:.1e} ({})".format(*farthest) if farthest[0] else "equal"
                    print(f"{name} on {counted(processes, 'process')}: {verdict}", flush=True)
    return int(differ)


def trained(run: Path) -> list[Line]:
    """Return a run's metrics without those of the warm start, which only the first run of several makes."""
    return [line for line in metrics(run) if not line[0].startswith("warm_start")]


def largest(one: Sequence[Line], other: Sequence[Line]) -> tuple[float, str]:
    """Return the largest difference and where it is. It is relative for numbers above 1, infinite for other values."""
    if len(one) != len(other) or not one:  # two runs that wrote nothing do not agree
        return math.inf, "number of lines"
    found = [(0.0, "")]
    for (place, values), (_, theirs) in zip(one, other, strict=True):
        for name in {*values, *theirs}:
            pair = values.get(name, ABSENT), theirs.get(name, ABSENT)
            if pair[0] != pair[1]:
                relative = relative_difference(*pair)
                size = 1.0 if math.isinf(relative) else max(map(abs, pair))
                found.append((relative * min(1.0, size), f"{name} at {place}"))
    return max(found)


def start(name: str, processes: int, workdir: Path) -> list["subprocess.Popen[bytes]"]:
    """Start the processes of a run, which have all devices together."""
    config, changes = RUNS[name]
    flags = [f"--config.{field}={value}" for field, value in {**TINY, **changes}.items()]
    command = [*argv_prefix("train"), f"--config={config}", f"--workdir={workdir}", *flags]
    shared = os.environ | {
        "XDG_CACHE_HOME": str(workdir.with_name("cache")),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES // processes}",
    }
    started = []
    for index, variables in enumerate(loopback_cluster(processes) if processes > 1 else [{}]):
        with open(log(workdir, index), "wb") as output:
            started.append(
                subprocess.Popen(
                    [*command, *["--distributed"] * (processes > 1)],
                    env=shared | variables,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    return started


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
