"""The command `grpo`, which is also `python -m grpo_jax`. The scripts of launch/ run its subcommands in a checkout.

Each subcommand is a module of its name with a function `main(argv)`, which returns the exit code, and a function
`make_parser()`, which returns the parser of its flags. A module is imported only when its command runs. It imports JAX,
which takes seconds, only when it needs it, and reports most mistakes before.
"""

import argparse
import contextlib
import functools
import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import grpo_jax
from grpo_jax.config import ConfigError, command_line, did_you_mean
from grpo_jax.joining import NotJoined
from grpo_jax.program_cache import keep_programs
from grpo_jax.terminal import LiveDisplay

# By name, whether the same command line continues from what an interrupted one saved.
COMMANDS = {
    "train": True,
    "evaluate": True,
    "study": True,
    "report": False,
    "runs": False,
    "watch": False,
    "replay": False,
    "regrade": False,
    "gradients": False,
    "plan": False,
    "doctor": False,
    "export": False,
    "init": False,
    "config": False,
    "completion": False,
}

# Thresholds of Python's garbage collector. JAX, and the programs that it traces, are millions of objects that stay.
# With Python's own thresholds, looking through them takes an eighth of the time until the first step.
RARE_COLLECTIONS = (20_000, 20, 20)


def main() -> None:
    """Run the subcommand that the first argument names, and end the process with its exit code."""
    name, *flags = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        command_line.tell(_help())
        sys.exit(0)
    if name == "--version":
        command_line.tell(f"grpo_jax {grpo_jax.__version__}")
        sys.exit(0)
    if name not in COMMANDS:
        wrong = f"{name}: unknown command" if name else "no command is named"
        sys.exit(command_line.fail(f"{wrong}; {did_you_mean(name, list(COMMANDS))}", 2))
    sys.argv = [f"grpo {name}", *flags]  # argparse takes the program's name from here
    run(name)


def run(name: str) -> None:
    """Run a subcommand with the flags of this process, and end the process with its exit code."""
    keep_programs()
    command_line.run(_module(name).main, continues=COMMANDS[name])


def argv_prefix(name: str) -> Sequence[str]:
    """Return the arguments that start a subcommand in a process of its own, whatever directory it runs in."""
    return (sys.executable, "-P", "-m", grpo_jax.__name__, name)


def reports_mistakes(main: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """Make a command print the sentences of a ConfigError and return 2, or that of a NotJoined and return 124."""

    @functools.wraps(main)
    def reporting(argv: Sequence[str]) -> int:
        try:
            return main(argv)
        except ConfigError as error:
            return command_line.fail(error, 2)
        except NotJoined as error:
            return command_line.fail(error, 124)  # as timeout(1) does; a cluster may try again

    return reporting


@contextlib.contextmanager
def loading_jax(display: LiveDisplay, *, silently: bool = False) -> Iterator[None]:
    """Show on a display that JAX is being loaded. The caller imports it and what needs it inside this context.

    These imports take seconds, so a command first reports the mistakes that it can find without them. Do not put them
    into a `try` whose `except` names errors that they import: if Ctrl-C stops an import, those names are missing.

    From then on Python looks for garbage more seldom.

    Args:
      silently: do not show it. Only one of several hosts writes, and it is not known yet which.
    """
    gc.set_threshold(*RARE_COLLECTIONS)
    gc.disable()  # modules stay
    try:
        with display:
            if not silently:
                display.doing("loading JAX")
            yield
    finally:
        gc.enable()


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a subcommand's flags."""
    made: argparse.ArgumentParser = _module(name).make_parser()
    return made


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _help() -> str:
    lines = [f"  {name:10} {(_module(name).__doc__ or '').splitlines()[0]}" for name in COMMANDS]
    return "\n".join(
        [
            "usage: grpo COMMAND [FLAGS]",
            "",
            *lines,
            "",
            "grpo COMMAND --help shows the flags of a command, grpo --version the version.",
        ]
    )
