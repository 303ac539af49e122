"""Write the page of each run again, and draw or compare the runs.

    grpo report runs/two_grpo* runs/grpo_16* --compare=two_against_sixteen.svg
    grpo report runs/two_grpo* runs/grpo_16* --to=reports/two_against_sixteen --baseline=grpo_16

The page of a run that is going on or was stopped says how far it has come. Runs whose configurations differ only in
their seed form one arm. It is named by the common beginning of their directories' names.

--compare draws the curves of all arms into one figure. --to names a directory for a report like that of a study: tables
with intervals over seeds, tests and power, and curves, all of them also as CSV, LaTeX and SVG. It needs finished runs
and uses the seeds that all arms have. For the directory of a study (grpo study) the command writes the study's report.

Exit codes: 0 written; 2 not written, with the reason.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpo_jax.config import ConfigError, command_line
from grpo_jax.files import STUDY_FILE, run_config

if TYPE_CHECKING:
    from grpo_jax.runs.directory import RunDirectory
    from grpo_jax.runs.lines import RunMetrics

TARGETS = (0.7, 0.9)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="+", type=command_line.path, metavar="RUN", help="the directory of a run or of a study"
    )
    parser.add_argument(
        "--compare", type=command_line.path, metavar="FILE.svg", help="a file for the curves of all arms"
    )
    parser.add_argument(
        "--to", type=command_line.path, metavar="DIR", help="a directory for a report that compares the runs"
    )
    parser.add_argument(
        "--baseline", metavar="ARM", help="the arm that the report compares others with; default: the first"
    )
    parser.add_argument(
        "--targets", type=_targets, metavar="A,B", help="pass@1 whose cost the report shows; default: 0.7,0.9"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = make_parser()
    arguments = command_line.read(parser, argv)
    if arguments.compare and (arguments.compare.suffix != ".svg" or not arguments.compare.parent.is_dir()):
        parser.error(f"--compare={arguments.compare}: must be an .svg file in a directory that exists")
    if arguments.to and arguments.to.is_file():
        parser.error(f"--to={arguments.to}: must be a directory, or a new name")
    if not arguments.to and (arguments.baseline or arguments.targets):
        parser.error(
            "--baseline and --targets belong to a report that compares runs; name a directory for it with --to"
        )

    try:
        for run in arguments.runs:
            if not (run / STUDY_FILE).is_file():
                run_config(run)
    except (ConfigError, FileNotFoundError) as error:
        return command_line.fail(error, 2)

    # These imports take seconds; most mistakes are reported before.
    from grpo_jax.reporting import figures, report, study
    from grpo_jax.runs.directory import RunDirectory

    try:
        targets = arguments.targets or TARGETS
        results = study.gather(arguments.runs, arguments.baseline, targets, arguments.to) if arguments.to else None
        for workdir in arguments.runs:
            of_study = (workdir / STUDY_FILE).exists()
            command_line.tell(study.write_study_report(workdir) if of_study else report.write_report(workdir))
        if arguments.compare:
            metrics = {
                name: [_metrics(RunDirectory(run)) for run in runs] for name, runs in study.arms(arguments.runs).items()
            }
            command_line.write("--compare", arguments.compare, figures.to_svg(figures.comparison(metrics)))
            command_line.tell(arguments.compare)
        if results:
            command_line.tell(study.write_comparison(results, arguments.to))
    except (FileNotFoundError, ConfigError) as error:
        return command_line.fail(error, 2)
    except OSError as error:
        return command_line.fail(f"{error.filename}: cannot be written to ({error.strerror})", 2)
    return 0


def _metrics(run: "RunDirectory") -> "RunMetrics":
    metrics = run.metrics()
    if not metrics.training:
        raise ConfigError(f"--compare: {run.path} has not reached its first step; leave it out.")
    return metrics


def _targets(text: str) -> tuple[float, ...]:
    try:
        targets = tuple(float(one) for one in text.split(","))
    except ValueError:
        targets = ()
    if not targets or not all(0 < target <= 1 for target in targets):
        raise argparse.ArgumentTypeError(f"{text!r} must be shares above 0 and at most 1, such as 0.7,0.9")
    return targets
