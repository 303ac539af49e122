"""Measure the gradient at a checkpoint of a run: its variance, its signal by group size, and its two arms.

    grpo gradients --workdir=runs/two_grpo [--step=100] [--prompts=512] [--samples=32]

The command samples rollouts of training prompts and computes the gradient of each. It reports

* the signal-to-noise ratio per rollout, token and prompt, for groups of 2, 4, 8 and 16 cut from the same rollouts;
* the arms of a group, its right and its wrong completions: their variances, covariance and correlation rho, and the
  variance that remains with a control variate;
* the expected gradient by group size, compared with Proposition 5.1.

Each comparison is reported as resolved or unresolved. grpo_jax/analysis/ has the formulas.

--step=0 is the base policy. Whole gradients are kept if prompts x samples of them fit into --memory-gb. Otherwise they
are projected at random to --sketch numbers. Inner products of these are unbiased, but have an error that all prompts
share and that no interval shows. All numbers are written to gradients/step_STEP.json in the run's directory, or to
--out.

Exit codes: 0 measured; 2 not measured, with the reason.
"""

import argparse
import json
from collections.abc import Sequence

from grpo_jax.commands import loading_jax
from grpo_jax.config import command_line
from grpo_jax.files import run_config, write_whole
from grpo_jax.runs.directory import check_kept
from grpo_jax.terminal import LiveDisplay


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=command_line.path, metavar="RUN", help="the run's directory")
    parser.add_argument("--step", type=int, metavar="N", help="the checkpoint's step; default: the newest")
    parser.add_argument("--prompts", type=int, default=512, metavar="N", help="training problems; default: 512")
    parser.add_argument("--samples", type=int, default=32, metavar="S", help="rollouts of each problem; default: 32")
    parser.add_argument("--memory-gb", type=float, default=4.0, metavar="GB", help="for the gradients; default: 4")
    parser.add_argument("--sketch", type=int, default=8192, metavar="SIZE", help="numbers in a sketch; default: 8192")
    parser.add_argument("--out", type=command_line.path, metavar="FILE", help="a file for all numbers")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.read(make_parser(), argv)

    display = LiveDisplay()
    try:
        command_line.check_file("--out", arguments.out)
        run_config(arguments.workdir)
        check_kept(arguments.workdir, arguments.step)
        with loading_jax(display):
            import jax

            from grpo_jax.analysis import Settings, analyse
            from grpo_jax.reporting.gradients import show_gradients
        with display:
            analysis = analyse(
                arguments.workdir,
                Settings(arguments.prompts, arguments.samples, arguments.memory_gb, arguments.sketch),
                step=arguments.step,
                display=display,
            )
    except (FileNotFoundError, ValueError) as error:
        return command_line.fail(error, 2)
    if jax.process_index():
        return 0
    show_gradients(analysis, display.console)
    out = arguments.out or arguments.workdir / "gradients" / f"step_{analysis.step}.json"
    try:
        if not arguments.out:
            out.parent.mkdir(exist_ok=True)
        write_whole(out, json.dumps(analysis.to_json(), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        return command_line.fail(f"--out={out}: cannot be written ({error.strerror}); name another file", 2)
    display.console.say(f"numbers: {out}")
    return 0
