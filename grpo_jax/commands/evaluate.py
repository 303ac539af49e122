"""Evaluate the policy of a checkpoint or of a run on the paper's suites.

    grpo evaluate --config=configs/paper/evaluation.py --suites=data/suites --workdir=evaluations/base

The policy is the configuration's model.checkpoint, or with --run=RUN that of a run. --suite=NAME chooses a suite and
may be repeated. --suite=test is the configuration's own task.test, which may be any file of problems; if task.test is
none, it is the share of training problems that the task holds out. docs/evaluation.md explains where to get the files
of the suites, and what the numbers mean.

Exit codes: 0 finished, or stopped by SIGTERM, SIGHUP or Ctrl-C with every finished suite saved; 1 the engine cannot
sample, the answers cannot be judged, or nothing can be written; 2 a mistake in the configuration; 124 another process
did not join in time, or there was no progress for train.stuck_after seconds; 130 stopped at once by Ctrl-C, before the
evaluation began or by a second Ctrl-C.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.commands import loading_jax, reports_mistakes
from grpo_jax.config import command_line, load
from grpo_jax.files import check_inputs, run_config
from grpo_jax.joining import add_flags, join, several_hosts
from grpo_jax.suites import find_suites
from grpo_jax.terminal import LiveDisplay


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = command_line.parser(__doc__)
    parser.add_argument(
        "--workdir", required=True, type=command_line.path, metavar="DIR", help="a directory for the results"
    )
    parser.add_argument(
        "--suites",
        type=command_line.path,
        default=Path("data/suites"),
        metavar="DIR",
        help="the directory with the files of the suites; default: data/suites",
    )
    parser.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="NAME",
        help="a suite to evaluate; may be repeated; default: all",
    )
    parser.add_argument(
        "--run", type=command_line.path, metavar="RUN", help="evaluate the newest policy of this run directory"
    )
    parser.add_argument(
        "--best", action="store_true", help="evaluate the run's policy with the best validation instead"
    )
    add_flags(parser)
    return parser


@reports_mistakes
def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = make_parser()
    arguments = command_line.parse(parser, argv)
    if arguments.best and not arguments.run:
        parser.error("--best: needs a run; name one with --run")
    config = load(arguments.config, arguments.overrides)
    suites = find_suites(config, arguments.suite, arguments.suites)
    if arguments.run:
        try:
            run_config(arguments.run)
        except FileNotFoundError as error:
            return command_line.fail(f"--run={error}", 2)
    else:
        check_inputs(config)

    display = LiveDisplay()
    with loading_jax(display, silently=several_hosts(arguments)):
        import jax

        from grpo_jax.reporting.suites import suites_table
        from grpo_jax.runs.suite_scores import SUITES_FILE
        from grpo_jax.runs.together import FailureWatch
        from grpo_jax.training import FORESEEN, Interrupted, Noticed, Silent, evaluate_suites
    join(arguments)
    try:
        with FailureWatch(arguments.workdir, config.train.stuck_after, FORESEEN) as watch, display:
            first = jax.process_index() == 0
            report = evaluate_suites(
                config,
                suites,
                arguments.workdir,
                run=arguments.run,
                best=arguments.best,
                display=Noticed(display if first else Silent(), watch.progressed),
            )
    except FORESEEN as error:
        return command_line.fail(error, 1)
    except Interrupted as stopped:
        command_line.tell(f"{stopped}; the same command continues")
        return 0
    if first:
        display.console.print(suites_table(report))
        display.console.say(f"numbers: {arguments.workdir / SUITES_FILE}")
    return 0
