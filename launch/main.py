"""Trains a policy by reinforcement learning, or continues a run that was stopped.

    python launch/main.py --config=configs/two_grpo.py --workdir=runs/two_grpo [--config.FIELD=VALUE ...]

Exit codes: 0 finished, or stopped by SIGTERM or Ctrl-C with everything saved; 1 the training failed; 2 a mistake in
the configuration; 130 stopped by Ctrl-C at once, before there was anything to save or at a second Ctrl-C.
"""

from collections.abc import Sequence
from pathlib import Path

from grpo_jax.config import ConfigError, command_line, load


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns the exit code."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="the run's directory")
    parser.add_argument("--distributed", action="store_true", help="join the other hosts of a TPU pod or GPU cluster")
    arguments = command_line.parse(parser, argv)
    try:
        config = load(arguments.config, arguments.overrides)
        if arguments.distributed:
            command_line.join_hosts()
    except ConfigError as error:
        return command_line.fail(error, 2)

    # JAX takes seconds to import: most mistakes are told before.
    import jax

    from grpo_jax.reporting import Console, write_report
    from grpo_jax.rewards import WorkerError
    from grpo_jax.training import Interrupted, TrainingError, train

    console, first = Console(), jax.process_index() == 0
    try:
        with console:
            summary = train(config, arguments.workdir, console if first else None)
    except ConfigError as error:
        return command_line.fail(error, 2)
    except (TrainingError, WorkerError) as error:
        return command_line.fail(error, 1)
    except Interrupted as stopped:
        print(f"{stopped}; the same command continues")
        return 0
    if first:
        write_report(arguments.workdir)
        console.show(summary, arguments.workdir)
    return 0


if __name__ == "__main__":
    command_line.run(main)
