"""Evaluate a policy on the paper's suites: that of a checkpoint, or of a run.

    grpo evaluate --config=configs/paper/evaluation.py --suites=data/suites --workdir=evaluations/base

The policy is the configuration's model.checkpoint, or with --run=RUN that of a run. --suite=NAME chooses suites, and
may be repeated; --suite=test is the configuration's own task.test, which may be any file of problems, or if that is
none what the task holds out of its training problems.
docs/evaluation.md says where the files of the suites come from, and what the numbers are.

Exit codes: 0 finished, or stopped by SIGTERM or Ctrl-C with every finished suite saved; 1 answers cannot be judged;
2 a mistake in the configuration; 130 stopped by Ctrl-C at once, before the evaluation began or at a second Ctrl-C.
"""

from collections.abc import Sequence
from pathlib import Path

from grpo_jax.commands import loading_jax
from grpo_jax.config import ConfigError, command_line, load
from grpo_jax.files import check_inputs, run_config
from grpo_jax.suites import find_suites
from grpo_jax.terminal import LiveDisplay


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
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
        suites = find_suites(config, arguments.suite, arguments.suites)
        if arguments.run:
            run_config(arguments.run)
        else:
            check_inputs(config)
        if arguments.distributed:
            command_line.join_hosts()
    except FileNotFoundError as error:
        return command_line.fail(f"--run={error}", 2)
    except ConfigError as error:
        return command_line.fail(error, 2)

    display = LiveDisplay()
    with loading_jax(display, joined=arguments.distributed):
        import jax

        from grpo_jax.reporting import suites_table
        from grpo_jax.rewards import WorkerError
        from grpo_jax.runs.suite_scores import SUITES_FILE
        from grpo_jax.training import Interrupted, evaluate_suites
    try:
        with display:
            first = jax.process_index() == 0
            report = evaluate_suites(
                config,
                suites,
                arguments.workdir,
                run=arguments.run,
                best=arguments.best,
                display=display if first else None,
            )
    except ConfigError as error:
        return command_line.fail(error, 2)
    except WorkerError as error:
        return command_line.fail(error, 1)
    except Interrupted as stopped:
        command_line.tell(f"{stopped}; the same command continues")
        return 0
    if first:
        display.console.print(suites_table(report))
        display.console.say(f"numbers: {arguments.workdir / SUITES_FILE}")
    return 0
