"""Reports on finished runs: rewrites the page of each, and with --compare draws them all into one figure.

    python launch/report.py runs/two_grpo* runs/grpo_16* --compare=two_against_sixteen.svg

Runs whose configurations differ only by their seed are one curve. Of a study's directory (launch/study.py) its report
is written: tables with intervals, tests and power, curves, and the same as CSV, LaTeX and SVG.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.config import ConfigError, command_line, digest
from grpo_jax.reporting import figures, write_report, write_study_report
from grpo_jax.training.run_directory import RunDirectory


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--compare", type=Path, metavar="FILE.svg", help="where to draw the runs' curves together")
    arguments = parser.parse_args(argv)
    if arguments.compare and (arguments.compare.suffix != ".svg" or not arguments.compare.parent.is_dir()):
        parser.error(f"--compare={arguments.compare}: must be an .svg file in a directory that exists")
    try:
        for workdir in arguments.runs:
            print(write_study_report(workdir) if (workdir / "study.json").exists() else write_report(workdir))
    except (FileNotFoundError, ConfigError) as error:
        return command_line.fail(error, 2)
    if arguments.compare:
        arguments.compare.write_text(figures.to_svg(figures.comparison(arms(arguments.runs))))
        print(arguments.compare)
    return 0


def arms(workdirs: Sequence[Path]) -> dict[str, list[figures.Lines]]:
    """The metrics of runs, those that differ by the seed only together, named by what their names share."""
    by_configuration: dict[str, list[Path]] = {}
    for workdir in workdirs:
        configuration = digest({**(RunDirectory(workdir).read_json("config.json") or {}), "seed": None})
        by_configuration.setdefault(configuration, []).append(workdir)
    named: dict[str, list[figures.Lines]] = {}
    for together in by_configuration.values():
        names = [workdir.name for workdir in together]
        label = os.path.commonprefix(names).rstrip("_-")  # noqa: RUF071 - of names, not of paths
        label = label if label and label not in named else str(together[0])
        named[label] = [RunDirectory(workdir).metrics() for workdir in together]
    return named


if __name__ == "__main__":
    command_line.run(main)
