"""List the training runs below a directory: their state, step, pass@1 and the time that is left.

    grpo runs                 # below the current directory
    grpo runs studies/paper   # those of a study
    grpo runs runs --json     # for other programs

A run is running, stopped (the same command continues it), failed, killed (no end was recorded), finished, not begun, or
damaged. pass@1 is that of the test after the last step, or else of the newest evaluation. The time left is that of
training, at the pace of the last steps. Only small files and the ends of metrics.jsonl are read.

Exit codes: 0 listed; 2 there is no such directory.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.config import ConfigError, command_line, known
from grpo_jax.runs.directory import RunDirectory, runs_below
from grpo_jax.runs.state import Condition, State, damaged, state_of
from grpo_jax.terminal import PlainConsole, columns, duration

HEADER = ("state", "step", "pass@1", "split", "left", "written", "run")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "directory",
        nargs="?",
        type=command_line.path,
        default=Path(),
        metavar="DIR",
        help="a directory; default: the current one",
    )
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON, seconds and dates in seconds")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.read(make_parser(), argv)
    if not arguments.directory.is_dir():
        return command_line.fail(f"{arguments.directory}: no such directory; name one with runs in it.", 2)
    states = {run: _state(run) for run in runs_below(arguments.directory)}
    if arguments.json:
        command_line.tell(json.dumps([{"run": str(run), **state.to_json()} for run, state in states.items()], indent=1))
        return 0
    console = PlainConsole()
    if not states:
        console.say(f"{arguments.directory}: there are no runs")
        return 0
    rows = [HEADER, *(_row(run, state, time.time()) for run, state in states.items())]
    console.say("\n".join(columns(rows, right=("step", "left", "written"))))
    for run, state in states.items():
        if state.condition is Condition.FAILED:
            console.say(f"{run}: {state.said}")
        elif state.condition is Condition.DAMAGED:
            console.say(state.said)  # which names the file
    return 0


def _state(run: Path) -> State:
    try:
        return state_of(RunDirectory(run))
    except (ConfigError, OSError) as error:
        return damaged(error)


def _row(run: Path, state: State, now: float) -> Sequence[str]:
    evaluated = state.evaluated
    return (
        state.condition,
        f"{state.step:,} of {state.steps:,}" if state.steps else "-",
        known(evaluated.pass_at_1.value) if evaluated else "-",
        evaluated.split if evaluated else "-",
        "-" if state.seconds_left is None else duration(state.seconds_left),
        "-" if state.written is None else f"{duration(now - state.written)} ago",
        str(run),
    )
