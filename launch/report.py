"""Reports on finished runs: rewrites the page of each, and with --compare draws them all into one figure.

python launch/report.py runs/two_grpo runs/grpo_16 --compare=two_against_sixteen.svg
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

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
        lines = {workdir.name: RunDirectory(workdir).metrics() for workdir in arguments.runs}
        arguments.compare.write_text(figures.to_svg(figures.comparison(lines)))
        print(arguments.compare)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
