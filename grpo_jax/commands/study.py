"""Run a study (arms x seeds), or continue one that was stopped, and write its report to DIR/report.

    grpo study --study=paper --workdir=studies/paper [--jobs=N | --commands]

Exit codes: 0 finished, or stopped by SIGTERM or Ctrl-C with everything saved; 1 a run failed; 2 a mistake in the study.
"""

import argparse
from collections.abc import Sequence

from grpo_jax.commands import argv_prefix, reports_mistakes
from grpo_jax.config import STUDY, command_line, run_file


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--study",
        required=True,
        type=command_line.path,
        metavar="FILE",
        help="a Python file with get_study(), or the name of a shipped study",
    )
    parser.add_argument("--workdir", required=True, type=command_line.path, metavar="DIR", help="the study's directory")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time; default: as many as cores")
    parser.add_argument("--commands", action="store_true", help="only print a command per run, for many machines")
    return parser


@reports_mistakes
def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = make_parser()
    arguments = command_line.read(parser, argv)
    if arguments.jobs is not None and arguments.jobs < 1:
        parser.error(f"--jobs={arguments.jobs}: must be at least 1")

    values = run_file(arguments.study, STUDY)

    # These imports take a second; mistakes in the file are reported before.
    from grpo_jax.studies import checked_study, commands, cores, run_study

    study = checked_study(arguments.study, values)
    if arguments.commands:
        for command in commands(study, arguments.workdir, argv_prefix("train")):
            command_line.tell(command)
        return 0
    outcome = run_study(study, arguments.workdir, arguments.jobs or len(cores()), argv_prefix("train"))
    if outcome.stopped:
        command_line.tell("stopped, and saved; the same command continues")
    for run, reason in outcome.failed:
        command_line.fail(f"{run.arm.name}, seed {run.seed}: {reason}", 1)
    if outcome.failed:
        return 1
    if outcome.stopped:
        return 0

    from grpo_jax.reporting.study import write_study_report

    command_line.tell(f"report: {write_study_report(arguments.workdir)}")
    return 0
