"""The command line of all commands: --config=FILE, --config.FIELD=VALUE, and the flags of each command."""

import argparse
import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grpo_jax.config.elsewhere import suggestion
from grpo_jax.config.loading import load, to_dict
from grpo_jax.config.schema import Config, ConfigError
from grpo_jax.config.sentences import did_you_mean

OVERRIDE = re.compile(r"--config\.(?P<field>[^=]*)(=(?P<text>.*))?", re.DOTALL)

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.IGNORECASE | re.DOTALL)

FIELD = "--config.FIELD"  # as the help shows it


def parser(description: str, config: str | None = None) -> argparse.ArgumentParser:
    """Make a parser with --config. A command adds its own flags to it and calls `parse`.

    Args:
      config: the default file; None makes the flag required.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--config",
        required=config is None,
        default=config,
        metavar="FILE",
        help="a Python file with get_config(), or the name of a shipped one, such as two_grpo",
    )
    made.add_argument(
        "--print-config", action="store_true", help="print the values of all fields as JSON and do nothing else"
    )
    made.add_argument(
        FIELD,
        dest="overrides",
        metavar="VALUE",
        help="set a field of the configuration, as in --config.optimizer.learning_rate=1e-4; may be repeated",
    )
    return made


def parse(
    made: argparse.ArgumentParser,
    argv: Sequence[str],
    printed: Callable[[Config, Any], Config] = lambda config, arguments: config,
) -> Any:
    """Return the arguments, with `overrides` as (field, text) pairs.

    End the process with code 2 if they cannot be read, and after printing the configuration if --print-config is given.

    Args:
      printed: returns the configuration that --print-config prints, given the loaded one and the arguments.
    """
    overrides: list[tuple[str, str]] = []
    others: list[str] = []
    rest = iter(argv)
    for argument in rest:
        match = OVERRIDE.fullmatch(argument)
        if not match:
            others.append(argument)
        elif match["text"] is not None:
            overrides.append((match["field"], match["text"]))
        else:  # --config.FIELD VALUE
            text = next(rest, None)
            if text is None:
                made.error(f"{argument}: needs a value, as in {argument}=VALUE")
            overrides.append((match["field"], text))
    _refuse_unknown(made, others)
    if any(flag.startswith("--print") for flag in others):
        for action in made._actions:
            action.required &= action.dest == "config"  # not --workdir, for example
    arguments, left = made.parse_known_args(others)
    if left:  # such as optimizer.learning_rate=1e-4 or -config.seed=1
        flag, equals, text = left[0].partition("=")
        name = flag.lstrip("-").removeprefix("config.")
        known = [flag for action in made._actions for flag in action.option_strings]
        meant = suggestion(name, flag, known, value=equals + text) if equals else "quote a value that has spaces"
        made.error(f"{left[0]}: is no flag; {meant}")
    if arguments.print_config:
        sys.exit(_print_config(lambda: printed(load(arguments.config, overrides), arguments)))
    arguments.overrides = overrides
    return arguments


def read(made: argparse.ArgumentParser, argv: Sequence[str]) -> Any:
    """Return the arguments of a command line. End the process with code 2 if they cannot be read."""
    _refuse_unknown(made, argv)
    return made.parse_args(argv)


def _refuse_unknown(made: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """End the process with code 2 if a flag is unknown. Like argparse, take the beginning of a flag for the flag.

    It is reported before a required one that is missing, because it may be that one, misspelt.
    """
    # argparse has no public list of them
    known = [flag for action in made._actions for flag in action.option_strings if flag.startswith("--")]
    for argument in argv:
        flag, equals, text = argument.partition("=")
        meant = [action for action in made._actions if any(one.startswith(flag) for one in action.option_strings)]
        if not flag.startswith("--"):
            continue
        if not meant:
            fields = FIELD in known
            one = suggestion(flag[2:], flag, known, value=equals + text) if fields else did_you_mean(flag, known)
            made.error(f"{flag}: unknown flag; {one}")
        if equals and all(action.nargs == 0 for action in meant):
            made.error(f"{argument}: {flag} takes no value; write it alone, or leave it out")


def path(text: str) -> Path:
    """Return the path that a flag names. Addresses are refused: for gs://b, `Path` would make a local folder "gs:".

    An empty text, such as that of a variable that is not set, is refused, too: `Path` would take it for the current
    directory. ~ is the user's directory: shells leave it as it is in --workdir=~/runs.

    Raises:
      ArgumentTypeError: for an address or an empty text, and if the system does not let this process look there.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a path, such as . for the current directory.")
    if ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text} is an address, and only the --workdir of `grpo train` may be one; copy the files to a directory, "
            "or mount the bucket, and name that (docs/buckets.md)."
        )
    named = Path(os.path.expanduser(text))
    try:
        named.exists()
    except OSError as error:  # a path that does not exist raises none
        raise argparse.ArgumentTypeError(f"{text}: cannot be accessed ({error.strerror}); name another.") from error
    return named


def _print_config(read: Callable[[], Config]) -> int:
    """Print a configuration as its run's config.json would hold it, and return the exit code."""
    try:
        config = read()
    except ConfigError as error:
        return fail(error, 2)
    tell(json.dumps(to_dict(config), indent=2))
    return 0


def check_file(flag: str, path: Path | None) -> None:
    """Raise ConfigError if a file that a flag names could not be written. None is a flag that is not given."""
    if path and (path.is_dir() or not path.parent.is_dir()):
        raise ConfigError(f"{flag}={path}: must be a file in a directory that exists")


def write(flag: str, path: Path, text: str) -> None:
    """Write a file that a flag names. Raise ConfigError if that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{flag}={path}: cannot be written to ({error.strerror}); name another.") from error


def fail(error: object, code: int) -> int:
    """Print an error, with one line for each mistake of a configuration, and return the exit code."""
    for sentence in error.args if isinstance(error, ConfigError) else (error,):
        print(f"error: {sentence}", file=sys.stderr)
    return code


def tell(text: object) -> None:
    """Print a line at once, even into a pipe. Do nothing if nobody reads the pipe any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `head`, for example, ends after its lines
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the buffer is flushed at exit


def run(main: Callable[[Sequence[str]], int], *, continues: bool = False) -> None:
    """Run a command and end the process with its exit code, or with 130 if Ctrl-C stopped it at once.

    Args:
      continues: whether the same command would continue from what was saved instead of starting over.
    """
    sys.unraisablehook = _interrupt_again
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths may have characters that the terminal lacks
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        then = "the same command continues from what was saved" if continues else "nothing was written"
        sys.exit(fail(f"stopped at once; {then}", 130))


def _interrupt_again(lost: "sys.UnraisableHookArgs") -> None:
    """Send Ctrl-C again if Python has dropped it, as it does in callbacks of the garbage collector.

    JAX has such a callback. Without this, Ctrl-C may do nothing during seconds of imports and compilation.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    main_thread = threading.get_ident()  # only the main thread runs signal handlers
    seconds = 0.05  # it would be dropped here, too
    while True:
        again = threading.Timer(seconds, signal.pthread_kill, (main_thread, signal.SIGINT))
        again.daemon = True
        try:
            again.start()
            return
        except KeyboardInterrupt:  # on a busy machine it may come before this function has returned
            seconds *= 2
