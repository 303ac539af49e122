"""Examine a configuration before a run, on this machine, and say what is wrong with it.

    grpo doctor --config=configs/FILE.py [--config.FIELD=VALUE ...] [--quick] [--json=FILE]
        [--recorded=FILE]

It looks at the configuration, the prompts as tokens, the problems, the reward (on made-up completions), the memory that
a step needs, and at some 256 rollouts of the base policy with an update of it. docs/doctor.md lists the checks. --quick
leaves out memory and rollouts, and so needs no weights. --recorded=FILE compares the first completions with those that
--json wrote, for example on another machine. No run directory is read or written; a base policy that has to
be made from scratch is kept in the cache, where the run finds it.

Exit codes: 0 nothing is wrong; 1 warnings: the run would work, but probably not as intended; 2 errors: the run
would be refused, fail or learn nothing.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.commands import loading_jax, reports_mistakes
from grpo_jax.config import ConfigError, command_line, counted, load
from grpo_jax.doctor import Diagnosis, Tokens, refused
from grpo_jax.files import check_inputs, read_json
from grpo_jax.terminal import LiveDisplay, PlainConsole


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="compile nothing, and read no weights")
    parser.add_argument("--json", type=command_line.path, metavar="FILE", help="a file for all findings")
    parser.add_argument(
        "--recorded", type=command_line.path, metavar="FILE", help="such a file, whose tokens to compare with"
    )
    return parser


@reports_mistakes
def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.parse(make_parser(), argv)
    command_line.check_file("--json", arguments.json)
    display = LiveDisplay()
    diagnosis = _diagnosis(arguments, display)
    show(diagnosis, display.console)
    if arguments.json:
        command_line.write("--json", arguments.json, json.dumps(diagnosis.to_json(), indent=1) + "\n")
    return diagnosis.exit_code


def _diagnosis(arguments: argparse.Namespace, display: LiveDisplay) -> Diagnosis:
    try:
        if arguments.recorded and arguments.quick:
            raise ConfigError(f"--recorded={arguments.recorded}: --quick samples nothing to compare; leave one out.")
        recorded = _recorded(arguments.recorded) if arguments.recorded else ()
        config = load(arguments.config, arguments.overrides)
        check_inputs(config)
    except ConfigError as mistake:
        return Diagnosis.of([refused(mistake)])
    with loading_jax(display):
        from grpo_jax.doctor.examine import examine
    with display:
        return examine(config, display, samples_too=not arguments.quick, recorded=recorded)


def _recorded(file: Path) -> Sequence[Tokens]:
    """Return the tokens in a JSON file of an earlier diagnosis. Raise ConfigError if there are none."""
    try:
        tokens = [Tokens.from_json(one) for one in read_json(file)["tokens"]]
        if not tokens:
            raise ValueError("the list is empty")
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"--recorded={file}: holds no tokens ({type(error).__name__}); name what --json wrote without --quick."
        ) from error
    return tokens


def show(diagnosis: Diagnosis, console: PlainConsole) -> None:
    """Print a page: a line for each section, with its findings below it."""
    if diagnosis.start:
        console.say(str(diagnosis.start))
    for section in diagnosis.sections:
        checks = counted(len(section.looked_at), "check")
        console.say(f"{section.name}: {checks}{'' if section.findings else ', nothing to say'}")
        for finding in section.findings:
            console.say(f"  {finding.severity}: {finding.sentence}")
    if diagnosis.not_looked_at:
        console.say(f"not looked at: {', '.join(diagnosis.not_looked_at)}")
