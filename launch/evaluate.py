"""Evaluates a policy on the paper's suites: a checkpoint, or what a run has made of it.

    python launch/evaluate.py --config=configs/paper/evaluation.py --suites=data/suites --workdir=evaluations/base

The policy is the configuration's model.checkpoint, or with --run=RUN that of a run. --suite=NAME chooses suites, and
may be repeated; --suite=test is the configuration's own task.test, which may be any file of problems, or if that is
none what the task holds out of its training problems.
docs/evaluation.md says where the files of the suites come from, and what the numbers are.

Exit codes: 0 finished, or stopped by SIGTERM or Ctrl-C with every finished suite saved; 1 answers cannot be judged;
2 a mistake in the configuration; 130 stopped by Ctrl-C at once, before the evaluation began or at a second Ctrl-C.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.config import ConfigError, command_line, load


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns the exit code."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="where everything is written")
    parser.add_argument(
        "--suites", type=Path, default=Path("data/suites"), metavar="DIR", help="with the files of the suites"
    )
    parser.add_argument(
        "--suite", action="append", default=[], metavar="NAME", help="one to evaluate; all if none is named"
    )
    parser.add_argument("--run", type=Path, metavar="RUN", help="a run directory, for its newest policy")
    parser.add_argument("--best", action="store_true", help="the run's policy with the best validation instead")
    parser.add_argument("--distributed", action="store_true", help="join the other hosts of a TPU pod or GPU cluster")
    arguments = command_line.parse(parser, argv)
    if arguments.best and not arguments.run:
        parser.error("--best: is of a run; name it with --run")
    try:
        config = load(arguments.config, arguments.overrides)
        if arguments.distributed:
            command_line.join_hosts()
    except ConfigError as error:
        return command_line.fail(error, 2)

    # JAX takes seconds to import: most mistakes are told before.
    import jax
    from rich.console import Console as Terminal

    from grpo_jax.reporting import Console, suites_table
    from grpo_jax.rewards import WorkerError
    from grpo_jax.training import Interrupted, evaluate_suites, find_suites

    console, first = Console(), jax.process_index() == 0
    try:
        with console:
            report = evaluate_suites(
                config,
                find_suites(config, arguments.suite, arguments.suites),
                arguments.workdir,
                run=arguments.run,
                best=arguments.best,
                display=console if first else None,
            )
    except ConfigError as error:
        return command_line.fail(error, 2)
    except WorkerError as error:
        return command_line.fail(error, 1)
    except Interrupted as stopped:
        print(f"{stopped}; the same command continues")
        return 0
    if first:
        Terminal(width=None if sys.stdout.isatty() else 120).print(suites_table(report))
        print(f"numbers: {arguments.workdir / 'suites.json'}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
