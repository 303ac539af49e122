"""Sample a completion of a run again, with the policy and the key that sampled it, and compare the two.

    grpo replay --workdir=runs/two_grpo --step=101 --prompt=3 --sample=0

Of the step's prompts only this one is sampled, with its whole group, and nothing is written.

--prompt is the prompt's text; or a number: its place among the prompts of the step, from 0, or its id, as rollouts/
have it. A text comes before a place, a place before an id. --sample is the completion's place in its group, from 0.

Step S was sampled by the policy after step S - 1, so the run must have kept that one's checkpoint; step 1 was sampled
by the base policy, which is always there. --checkpoint=K takes the policy after another step: what it would have said
with the same random numbers. On the run's devices and versions tokens are equal and log-probabilities agree to about
the sixth digit; on others, or in bfloat16, a token that was nearly a tie may fall the other way, and all behind it is
another text.

Exit codes: 0 sampled again, equal or not, which the last line says; 2 it cannot be, and why.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.config import command_line, from_dict
from grpo_jax.files import run_config
from grpo_jax.runs.written import find_written
from grpo_jax.terminal import PlainConsole


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="the run's directory")
    parser.add_argument("--step", required=True, type=int, metavar="S", help="the step that sampled it, from 1")
    parser.add_argument("--prompt", required=True, metavar="P", help="its prompt: a text, a place from 0, or an id")
    parser.add_argument("--sample", required=True, type=int, metavar="I", help="its place in its group, from 0")
    parser.add_argument("--checkpoint", type=int, metavar="K", help="another policy than the one after step S - 1")
    arguments = parser.parse_args(argv)

    try:
        completion = {"step": arguments.step, "prompt": arguments.prompt, "sample": arguments.sample}
        config = from_dict(run_config(arguments.workdir))
        find_written(arguments.workdir, config, checkpoint=arguments.checkpoint, **completion)
        command_line.tell("loading JAX ...")  # takes seconds: most mistakes are told before
        from grpo_jax.reporting import show_replay
        from grpo_jax.training import replay

        found = replay(arguments.workdir, checkpoint=arguments.checkpoint, **completion)
    except (FileNotFoundError, ValueError) as error:
        return command_line.fail(error, 2)
    show_replay(found, PlainConsole())
    return 0
