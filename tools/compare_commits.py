"""Run the same short trainings with two commits, and compare their results number by number.

    python tools/compare_commits.py OLD NEW [--runs pairs lora] [--tolerance=1e-6] [--renamed=OLD_NAME:NEW_NAME]

Each commit is checked out in a temporary folder and runs its own launch/main.py with its own config files and its own
cache, in this Python environment: pairs, groups of sixteen, LoRA adapters, resampled pairs, and a run of two processes.
Both commits run at the same time, on equally many cores. All values of metrics.jsonl are compared line by line, except
wall-clock times, and the sampled tokens of every group. It takes about five minutes on two cores.

Exit code 0 if everything agrees within --tolerance (0: bit for bit), 1 if something differs, 2 if a run fails.
"""

import argparse
import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from rich.table import Table

from grpo_jax.runs.lines import TIMES
from grpo_jax.studies.runner import shares
from grpo_jax.terminal import PlainConsole

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("old", "new")
ABSENT = "absent"  # stands for a value that only the other side has

# A task so easy that a base policy of 80 steps already earns rewards, and just enough steps that a run crosses the end
# of an epoch, evaluates, saves and measures the gradient's arms more than once.
SHORT = {
    "task.operations": "2",
    "task.train_problems": "512",
    "warm_start.full_steps": "60",
    "warm_start.skip_steps": "20",
    "train.steps": "20",
    "evaluation.every": "10",
    "evaluation.validation_problems": "64",
    "evaluation.validation_samples": "2",
    "evaluation.test_problems": "64",
    "evaluation.test_samples": "2",
    "evaluation.prompts_per_batch": "64",
    "evaluation.bootstrap": "100",
    "checkpoint.every": "10",
    "logging.arms_every": "5",
}

Line: TypeAlias = tuple[str, dict[str, Any]]  # its place, in words, and its values by name


@dataclass(frozen=True)
class Recipe:
    """A training that both commits run."""

    config: str = "two_grpo"
    flags: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1


RECIPES = {
    "pairs": Recipe(),
    "sixteen": Recipe("grpo_16", {"train.steps": "8", "evaluation.every": "4", "checkpoint.every": "4"}),
    "lora": Recipe(
        flags={"model.lora.rank": "4", "model.lora.alpha": "8.0", "model.lora.modules": "('query','value')"}
    ),
    "resampled": Recipe(flags={"rollout.max_rollouts": "192"}),
    "two_processes": Recipe(processes=2),
}


class RunError(Exception):
    """A run that failed."""


@dataclass(frozen=True)
class Difference:
    """How the values of one name differ."""

    lines: int  # the number of lines on which they differ
    largest: float  # relative difference; infinite if they are not two numbers
    first: str  # the first line on which they differ, and both values


@dataclass(frozen=True)
class LineComparison:
    """The comparison of two sequences of lines."""

    lines: int
    values: int
    differences: Mapping[str, Difference]

    def within(self, tolerance: float) -> bool:
        """Return whether no relative difference is larger."""
        return all(difference.largest <= tolerance for difference in self.differences.values())


def main(argv: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs=2, metavar="COMMIT", help="OLD and NEW, in any form that git understands")
    known = ", ".join(RECIPES)
    parser.add_argument(
        "--runs", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="RUN", help=f"some of {known}; else all"
    )
    parser.add_argument("--tolerance", type=float, default=0.0, help="largest relative difference that is accepted")
    parser.add_argument(
        "--renamed",
        action="append",
        default=[],
        metavar="OLD_NAME:NEW_NAME",
        help="a metric with another name in NEW; one of the names may be empty; may be repeated",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="an empty directory in which the runs are kept")
    arguments = parser.parse_args(argv)
    renamed = dict(name.split(":", 1) for name in arguments.renamed if ":" in name)
    if len(renamed) < len(arguments.renamed):
        parser.error(
            "--renamed: needs two names with a colon between them, as in --renamed=valid_pair_share:signal_share"
        )
    if arguments.keep and arguments.keep.exists() and any(arguments.keep.iterdir()):
        parser.error(f"--keep={arguments.keep}: is not empty; name another directory")
    found: dict[str, list[LineComparison]] = {}
    try:
        with contextlib.ExitStack() as stack:
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
            place = (arguments.keep or temporary).absolute()
            trees = [
                stack.enter_context(checked_out(commit, temporary / side))
                for commit, side in zip(arguments.commits, SIDES, strict=True)
            ]
            for name in arguments.runs:
                run_both(name, trees, place)
                found[name] = compare_runs(place / "old" / name, place / "new" / name, renamed)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        if found:
            PlainConsole().print(as_table(found, arguments.tolerance))
    return int(not all(part.within(arguments.tolerance) for parts in found.values() for part in parts))


@contextlib.contextmanager
def checked_out(commit: str, to: Path) -> Iterator[Path]:
    """Yield a worktree of a commit, after checking that Python imports the package from it."""
    git = ["git", "-C", str(ROOT), "worktree"]
    made = subprocess.run([*git, "add", "--detach", str(to), commit], capture_output=True, text=True, check=False)
    if made.returncode:
        raise RunError(f"{commit}: cannot be checked out ({made.stderr.strip().splitlines()[-1]})")
    try:
        show = "import grpo_jax; print(grpo_jax.__file__)"
        imported = subprocess.run(
            [sys.executable, "-c", show], cwd=to.parent, env=environment(to), capture_output=True, text=True, check=True
        ).stdout.strip()
        if not Path(imported).resolve().is_relative_to(to):
            raise RunError(f"{commit}: Python imports {imported}, which is not in its worktree {to}")
        tell(f"{commit}: imports {imported}")
        yield to
    finally:
        subprocess.run([*git, "remove", "--force", str(to)], capture_output=True, check=False)


def environment(tree: Path) -> dict[str, str]:
    """Return the environment of a worktree's processes, with caches of its own."""
    return os.environ | {
        "PYTHONPATH": str(tree),
        "XDG_CACHE_HOME": f"{tree}_cache",
        "JAX_COMPILATION_CACHE_DIR": f"{tree}_cache/compiled",
    }


def run_both(name: str, trees: Sequence[Path], place: Path) -> None:
    """Run one recipe with both worktrees at the same time, each on its share of the cores.

    Raises:
      RunError: if one of them fails.
    """
    started, processes = time.monotonic(), {}
    try:
        for side, tree, cores in zip(SIDES, trees, shares(len(SIDES)), strict=True):
            processes[side] = start(RECIPES[name], tree, place / side / name, cores)
        for side, of_side in processes.items():
            if any(process.wait() for process in of_side):
                raise RunError(f"the run {name} of {side} failed: {last_line(log(place / side / name, 0))}")
    finally:
        for process in (process for of_side in processes.values() for process in of_side):
            process.kill()
            process.wait()
    tell(f"{name}: run with both in {time.monotonic() - started:.0f} s")


def start(recipe: Recipe, tree: Path, workdir: Path, cores: frozenset[int]) -> list[subprocess.Popen[bytes]]:
    """Start the processes of a run."""
    command = [
        sys.executable,
        str(tree / "launch" / "main.py"),
        f"--config={tree / 'configs' / recipe.config}.py",
        f"--workdir={workdir}",
        *(f"--config.{field}={text}" for field, text in {**SHORT, **recipe.flags}.items()),
        *["--distributed"] * (recipe.processes > 1),
    ]
    workdir.parent.mkdir(parents=True, exist_ok=True)
    processes = []
    cluster = loopback_cluster(recipe.processes) if recipe.processes > 1 else [{}]
    for index, variables in enumerate(cluster):
        with open(log(workdir, index), "wb") as output:
            process = subprocess.Popen(
                command, cwd=tree, env=environment(tree) | variables, stdout=output, stderr=subprocess.STDOUT
            )
        if hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, cores)
        processes.append(process)
    return processes


def loopback_cluster(processes: int) -> list[dict[str, str]]:
    """Return the environment variables by which these processes find each other on this machine."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    shared = {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(processes),
        "SLURM_LOCALID": "0",
    }
    return [shared | {"SLURM_PROCID": str(index)} for index in range(processes)]


def compare_runs(old: Path, new: Path, renamed: Mapping[str, str]) -> list[LineComparison]:
    """Compare the metrics of two run directories, then the tokens of their rollouts."""
    return [
        compare(metrics(old, renamed), metrics(new)),
        compare(tokens(old), tokens(new)),
    ]


def metrics(run: Path, renamed: Mapping[str, str] | None = None) -> list[Line]:
    """Return the values of each line of metrics.jsonl, without times.

    Args:
      renamed: the new names of some metrics; empty for those that no longer exist, and under an empty name those that
        are new.
    """
    lines = []
    for line in read_lines(run / "metrics.jsonl"):
        what = line.get("split", line["kind"])
        values = {}
        for name, value in leaves(line):
            name = (renamed or {}).get(name, name)
            if name and not set(name.split("/")) & set(TIMES):
                values[f"{what}: {name}"] = value
        lines.append((f"{what} step {line['step']}", values))
    return lines


def tokens(run: Path) -> list[Line]:
    """Return the sampled tokens of each group in rollouts/, wherever its record holds them."""
    groups = (group for path in sorted((run / "rollouts").glob("*.jsonl")) for group in read_lines(path))
    return [
        (f"group {index} of step {group['step']}", {"sampled tokens": found})
        for index, group in enumerate(groups)
        if (found := [value for name, value in leaves(group) if "tokens" in name.split("/")])
    ]


def leaves(record: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values of nested dictionaries and lists, each with its path as its name."""
    if isinstance(record, dict | list):
        for key, value in record.items() if isinstance(record, dict) else enumerate(record):
            yield from leaves(value, f"{name}/{key}" if name else str(key))
    else:
        yield name, record


def compare(old: Sequence[Line], new: Sequence[Line]) -> LineComparison:
    """Compare two sequences of lines, line by line and name by name."""
    differences: dict[str, Difference] = {}
    values = 0
    if len(old) != len(new) or not old:  # two runs that wrote nothing do not agree
        differences["number of lines"] = Difference(abs(len(old) - len(new)), math.inf, f"{len(old)} and {len(new)}")
    for (place, before), (_, after) in zip(old, new, strict=False):
        for name in [*before, *(name for name in after if name not in before)]:
            values += 1
            one, other = before.get(name, ABSENT), after.get(name, ABSENT)
            if one != other:
                earlier = differences.get(name, Difference(0, 0.0, f"{place} ({shown(one)} and {shown(other)})"))
                largest = max(earlier.largest, relative_difference(one, other))
                differences[name] = Difference(earlier.lines + 1, largest, earlier.first)
    return LineComparison(len(old), values, differences)


def relative_difference(one: Any, other: Any) -> float:
    """Return the difference of two unequal numbers relative to the larger; infinity for anything else."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (one, other)):
        return math.inf
    return float(abs(one - other) / max(abs(one), abs(other)))


def shown(value: Any) -> str:
    """Return a value as the table shows it."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def as_table(found: Mapping[str, Sequence[LineComparison]], tolerance: float) -> Table:
    """Return a row for each run, and one for each name whose values differ in it."""
    table = Table(title=f"largest relative differences; tolerance {tolerance:g}", title_justify="left")
    for column in ("run", "what", "lines", "largest", "first"):
        table.add_column(column, overflow="fold")
    for run, parts in found.items():
        for kind, part in zip(("metrics", "rollouts"), parts, strict=True):
            verdict = "within" if part.within(tolerance) else "DIFFER"
            table.add_row(
                run,
                kind,
                f"{part.lines:,} ({part.values:,} values)",
                verdict if part.differences else "equal",
                "",
            )
            for name, difference in part.differences.items():
                table.add_row("", f"  {name}", str(difference.lines), f"{difference.largest:.1e}", difference.first)
    return table


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def log(workdir: Path, process: int) -> Path:
    """Return the file that a process of a run prints to."""
    return workdir.with_name(f"{workdir.name}.{process}.log")


def last_line(path: Path) -> str:
    """Return the last line that a process printed."""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def tell(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
