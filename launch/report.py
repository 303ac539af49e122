"""Reports on finished runs: rewrites the page of each, and with --compare draws them all into one figure.

    python launch/report.py runs/two_grpo* runs/grpo_16* --compare=two_against_sixteen.svg

Runs whose configurations differ only by their seed are one curve.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.config import digest
from grpo_jax.reporting import figures, write_report
from grpo_jax.training.run_directory import RunDirectory


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--compare", type=Path, metavar="FILE.svg", help="where to draw the runs' curves together")
    arguments = parser.parse_args(argv)
    try:
        for workdir in arguments.runs:
            print(write_report(workdir))
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.compare:
        arguments.compare.write_text(figures.to_svg(figures.comparison(arms(arguments.runs))))
        print(arguments.compare)
    return 0


def arms(workdirs: Sequence[Path]) -> dict[str, list[figures.Lines]]:
    """The metrics of runs, those of the same configuration but for the seed together; named after the first of each."""
    names = [workdir.name for workdir in workdirs]
    by_configuration: dict[str, tuple[str, list[figures.Lines]]] = {}
    for workdir in workdirs:
        run = RunDirectory(workdir)
        configuration = digest({**(run.read_json("config.json") or {}), "seed": None})
        label = workdir.name if names.count(workdir.name) == 1 else str(workdir)
        _, lines = by_configuration.setdefault(configuration, (label, []))
        lines.append(run.metrics())
    return dict(by_configuration.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
