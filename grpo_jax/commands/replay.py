"""Sample a completion of a run again, with the policy and the key that sampled it, and compare the two.

    grpo replay --workdir=runs/two_grpo --step=101 --prompt=3 --sample=0

The command samples only this prompt, with its whole group, and writes nothing.

--prompt is the prompt's text, its place among the prompts of the step (from 0), or its id in rollouts/. If it fits
several, a text comes before a place, and a place before an id. --sample is the completion's place in its group, from 0.

Step S was sampled by the policy after step S - 1, so the run must have kept that checkpoint. Step 1 was sampled by the
base policy, which is always there. --checkpoint=K takes the policy after step K instead, and shows what it samples with
the same random numbers. On the run's devices and versions, tokens are equal and log-probabilities agree to about six
digits. On others, or in bfloat16, a near tie between two tokens may be decided differently, and the text after it
differs.

Exit codes: 0 sampled again, equal or not, as the last line says; 2 not sampled, with the reason.
"""

import argparse
from collections.abc import Sequence

from grpo_jax.config import command_line, from_dict
from grpo_jax.files import run_config
from grpo_jax.runs.written import find_written
from grpo_jax.terminal import PlainConsole


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=command_line.path, metavar="DIR", help="the run's directory")
    parser.add_argument("--step", required=True, type=int, metavar="S", help="the step that sampled it, from 1")
    parser.add_argument("--prompt", required=True, metavar="P", help="the prompt: a text, a place from 0, or an id")
    parser.add_argument("--sample", required=True, type=int, metavar="I", help="the place in its group, from 0")
    parser.add_argument("--checkpoint", type=int, metavar="K", help="sample with the policy after step K, not S - 1")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.read(make_parser(), argv)

    try:
        completion = {"step": arguments.step, "prompt": arguments.prompt, "sample": arguments.sample}
        config = from_dict(run_config(arguments.workdir))
        find_written(arguments.workdir, config, checkpoint=arguments.checkpoint, **completion)
        command_line.tell("loading JAX ...")  # takes seconds; most mistakes are reported before
        from grpo_jax.reporting.replay import show_replay
        from grpo_jax.training import replay

        found = replay(arguments.workdir, checkpoint=arguments.checkpoint, **completion)
    except (FileNotFoundError, ValueError) as error:
        return command_line.fail(error, 2)
    show_replay(found, PlainConsole())
    return 0
