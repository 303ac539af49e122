"""Train a policy by reinforcement learning, or continue a run that was stopped.

    grpo train --config=configs/two_grpo.py --workdir=runs/two_grpo [--config.FIELD=VALUE ...]

The same command continues a run that was stopped, and does nothing to a finished one. With a larger train.steps it
extends the run.

--from=RUN@STEP forks another run: DIR starts as a copy of that run at this step and continues under this configuration.
RUN must have kept the step's checkpoint; without @STEP the fork starts at the newest. grpo_jax/config/schema.py says
which fields may differ.

The run of a single process can be in a bucket, as --workdir=gs://BUCKET/runs/a. It works in a copy on this machine,
which is uploaded in the background (docs/buckets.md).

--smoke scales any configuration down to a minimal run of all its parts and prints what it changes. It needs a DIR of
its own. With --print-config it prints what would be run on these devices. grpo_jax/config/smoke.py has the rules.

SIGTERM, Ctrl-C and a closed terminal (SIGHUP) stop the run at the next batch of samples, and save it. --stopped-code
chooses the exit code for that, for clusters that start a run again only if its exit code says so. (xpk restarts on 42.)

Exit codes: 0 finished, or stopped with everything saved; 1 the training failed, or not everything is in the bucket; 2 a
mistake in the configuration; 124 another process did not join in time, or there was no progress for train.stuck_after
seconds (stacks_PROCESS.txt shows where); 130 stopped at once by Ctrl-C, before there was anything to save or by a
second Ctrl-C; 137 another process was killed or fell silent.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_jax.commands import loading_jax, reports_mistakes
from grpo_jax.config import Config, ConfigError, check, command_line, counted, differences, load, smoke, to_dict
from grpo_jax.files import CONFIG_FILE, SUMMARY_FILE, check_inputs, read_json
from grpo_jax.joining import add_flags, join, several_hosts
from grpo_jax.mirror import NotUploaded, is_address, stored, working_copy
from grpo_jax.terminal import LiveDisplay
from grpo_jax.tracking import check_trackers

RECORDS = (CONFIG_FILE, SUMMARY_FILE)  # what is read of a run before JAX is loaded, or other files are fetched


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = command_line.parser(__doc__)
    parser.add_argument(
        "--workdir",
        required=True,
        type=lambda text: text if is_address(text) else str(command_line.path(text)),
        metavar="DIR",
        help="the run's directory, or an address such as gs://BUCKET/runs/a",
    )
    parser.add_argument(
        "--from", dest="origin", type=command_line.path, metavar="RUN[@STEP]", help="fork this run into a new DIR"
    )
    parser.add_argument(
        "--stopped-code",
        type=_code,
        default=0,
        metavar="CODE",
        help="the exit code of a run that was stopped and saved; default: 0",
    )
    parser.add_argument("--smoke", action="store_true", help="try a minimal run of all parts")
    parser.add_argument(
        "--profile-steps",
        type=_steps,
        default=range(0),
        metavar="FIRST:LAST",
        help="trace these steps into DIR/profile",
    )
    add_flags(parser)
    return parser


@reports_mistakes
def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.parse(make_parser(), argv, _as_run)
    display = LiveDisplay()
    if not is_address(arguments.workdir):
        workdir = Path(arguments.workdir)
        there = {name: read_json(workdir / name) for name in RECORDS if (workdir / name).is_file()}
        return _train(arguments, _configuration(arguments, there), workdir, display)
    if several_hosts(arguments):
        raise ConfigError(
            f"--workdir={arguments.workdir}: only the run of a single process can be in a bucket; name a directory on "
            "a file system that all hosts share."
        )
    config = _configuration(arguments, stored(arguments.workdir, RECORDS))
    code = 0
    try:
        with working_copy(arguments.workdir, display.note) as workdir:
            code = _train(arguments, config, workdir, display)
    except NotUploaded as error:
        failed = command_line.fail(error, 1)
        return code or failed
    return code


def _configuration(arguments: argparse.Namespace, there: Mapping[str, Mapping[str, Any]]) -> Config:
    """Return the configuration of a run, checked as far as that is possible without JAX.

    Args:
      there: those of the run's `RECORDS` that exist.
    """
    config = load(arguments.config, arguments.overrides, there.get(CONFIG_FILE))
    if arguments.profile_steps.stop > config.train.steps + 1:
        raise ConfigError(f"--profile-steps: the run has {counted(config.train.steps, 'step')}; name some of them.")
    if SUMMARY_FILE not in there:  # a finished run reads nothing
        check_inputs(config)
        check_trackers(config)
    return config


def _as_run(config: Config, arguments: argparse.Namespace) -> Config:
    """Return the configuration that is run: with --smoke, the given one scaled down for these devices."""
    if not arguments.smoke:
        return config
    from grpo_jax.sharding import batch_shards, make_meshes  # imports JAX

    small = smoke(config, math.lcm(*map(batch_shards, make_meshes(config.mesh))))
    check(small)
    return small


def _train(arguments: argparse.Namespace, config: Config, workdir: Path, display: LiveDisplay) -> int:
    """Train in a directory, show the result, and return the exit code."""
    with loading_jax(display, silently=several_hosts(arguments)):
        import jax

        from grpo_jax.runs.directory import RunDirectory
        from grpo_jax.runs.together import FailureWatch
        from grpo_jax.training import FORESEEN, Interrupted, Origin, Silent, train_config
        from grpo_jax.training.profiler import check_profiler
    if arguments.profile_steps:
        check_profiler()
    join(arguments)
    try:
        with FailureWatch(workdir, config.train.stuck_after, FORESEEN) as watch, display:
            origin = Origin.parse(str(arguments.origin)) if arguments.origin else None
            first = jax.process_index() == 0
            config, whole = _as_run(config, arguments), config
            if first:
                for field, here, there in differences(to_dict(config), to_dict(whole)):
                    display.note(f"smoke: {field}={here}, not {'none' if there is None else there}")
            before = RunDirectory(workdir).summary()
            summary = train_config(
                config,
                workdir,
                display if first else Silent(),
                origin=origin,
                profile=arguments.profile_steps,
                watch=watch,
            )
    except FORESEEN as error:
        return command_line.fail(error, 1)
    except Interrupted as stopped:
        command_line.tell(f"{stopped}; the same command continues")
        return int(arguments.stopped_code)
    if first:
        # This takes a second, for which no step should wait.
        from grpo_jax.reporting.report import REPORT_FILE, write_report
        from grpo_jax.reporting.summary import show_summary

        if summary != before or not (workdir / REPORT_FILE).exists():
            write_report(workdir)
        show_summary(summary, workdir, display.console)
    return 0


def _code(text: str) -> int:
    if not (text.isdecimal() and int(text) < 256):
        raise argparse.ArgumentTypeError(f"{text!r} is no exit code, a whole number from 0 to 255")
    return int(text)


def _steps(text: str) -> range:
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST, two steps from 1 on")
    return range(int(first), int(last) + 1)
