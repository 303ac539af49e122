"""Run the same training with two commits in turn, and print the seconds of each phase and their ratios.

    python tools/time_commits.py OLD NEW [--pairs=3] -- --config=configs/two_grpo.py [other flags of launch/main.py]

Each commit is checked out in a temporary folder and runs its own launch/main.py with its own caches, in this Python
environment. The configuration is the commit's own, so what it says may differ; other paths are relative to this
directory. First each commit makes two steps, which fill its caches: the base policy and compiled programs. Then the
pairs follow, of which every second one begins with NEW. The runs of a pair see nearly the same machine. "training" is
the sum of sampling, rewards, update and host, and "processor" is the processor time of the whole process.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from compare_commits import ROOT, RunError, checked_out, environment, last_line, log, tell
from rich.table import Table

from grpo_jax.files import read_json
from grpo_jax.runs.phases import TOTAL, TRAINING, training_seconds, whole
from grpo_jax.terminal import PlainConsole

FILLING = ("--config.train.steps=2", "--config.optimizer.warmup_updates=1")  # fills the caches
EVERY_PROGRAM = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # is cached, and not only those of a second
ROWS = (*TRAINING, "training", "evaluation", "compile", TOTAL, "processor")


def main(argv: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs=2, metavar="COMMIT", help="OLD and NEW, in any form that git understands")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each commit (default: 3)")
    parser.add_argument("flags", nargs="+", metavar="FLAG", help="of launch/main.py, after --")
    a = parser.parse_args(argv)
    found: list[list[Mapping[str, float]]] = []
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        try:
            trees = [
                stack.enter_context(checked_out(commit, temporary / f"commit_{index}"))
                for index, commit in enumerate(a.commits)
            ]
            for tree in trees:
                timed(tree, temporary / f"{tree.name}_filling", [*a.flags, *FILLING])
            for pair in range(a.pairs):
                order = (0, 1) if pair % 2 == 0 else (1, 0)
                times = {side: timed(trees[side], temporary / f"{trees[side].name}_{pair}", a.flags) for side in order}
                found.append([times[0], times[1]])
                tell(f"pair {pair + 1}: training took {times[0]['training']:.1f} and {times[1]['training']:.1f} s")
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    PlainConsole().print(as_table(found))
    return 0


def timed(tree: Path, workdir: Path, flags: Sequence[str]) -> dict[str, float]:
    """Train with a commit, and return the seconds of each phase and of the processor.

    Args:
      tree: the worktree of the commit. A --config that it has is taken from there.

    Raises:
      RunError: if the training fails.
    """
    command = [sys.executable, str(tree / "launch" / "main.py"), f"--workdir={workdir}", *_of_tree(tree, flags)]
    workdir.parent.mkdir(parents=True, exist_ok=True)
    with open(log(workdir, 0), "wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(tree) | EVERY_PROGRAM, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunError(f"{tree.name}: the training failed: {last_line(log(workdir, 0))}")
    seconds = whole(read_json(workdir / "summary.json")["seconds"])
    return {**seconds, "training": training_seconds(seconds), "processor": used.ru_utime + used.ru_stime}


def _of_tree(tree: Path, flags: Sequence[str]) -> list[str]:
    """Return the flags with the path of the configuration in a worktree."""
    name = "--config="
    return [
        f"{name}{tree / flag.removeprefix(name)}"
        if flag.startswith(name) and (tree / flag.removeprefix(name)).exists()
        else flag
        for flag in flags
    ]


def as_table(pairs: Sequence[Sequence[Mapping[str, float]]]) -> Table:
    """Return the medians of both commits, and the median of the pairs' ratios with its quartiles.

    Args:
      pairs: the seconds of OLD and NEW, by the names in `ROWS`.
    """
    table = Table("phase", "old, s", "new, s", "new / old", "quartiles")
    for row in ROWS:
        old, new = ([one[side][row] for one in pairs] for side in (0, 1))
        ratios = [b / a for a, b in zip(old, new, strict=True) if a > 0]
        spread = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ()
        table.add_row(
            row,
            f"{statistics.median(old):.2f}",
            f"{statistics.median(new):.2f}",
            f"{statistics.median(ratios):.2f}" if ratios else "",
            f"{spread[0]:.2f} to {spread[2]:.2f}" if spread else "",
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
