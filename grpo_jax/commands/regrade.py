"""Judge all completions of a run again with another configuration's reward, and show what changes.

    grpo regrade --workdir=runs/x --config=configs/FILE.py [--config.FIELD=VALUE ...] [--to=FILE.jsonl]

Only the reward of the configuration's task is used. Its data, tokenizer and model may be absent, and nothing runs on
devices. --to names a new file for the first --keep completions that are judged differently, one per line. The run's own
objective decides which groups carry signal. The steps before a fork are not its own and are left out. Note that the run
learned from its own reward: with another reward it would have sampled other completions.

Exit codes: 0 judged; 2 not judged, with the reason.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from grpo_jax.commands import reports_mistakes
from grpo_jax.config import Config, QuestionsConfig, command_line, load
from grpo_jax.files import run_config
from grpo_jax.terminal import PlainConsole

if TYPE_CHECKING:
    from grpo_jax.rewards import Reward

KEEP = 1000


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--workdir", required=True, type=command_line.path, metavar="DIR", help="the run's directory")
    parser.add_argument(
        "--to", type=command_line.path, metavar="FILE.jsonl", help="a new file for completions judged differently"
    )
    parser.add_argument(
        "--keep", type=int, default=KEEP, metavar="N", help=f"how many of them at most; default: {KEEP}"
    )
    return parser


@reports_mistakes
def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.parse(make_parser(), argv)
    if arguments.to and (arguments.to.exists() or not arguments.to.parent.is_dir()):
        return command_line.fail(f"--to={arguments.to}: must be a new file in a directory that exists", 2)
    if arguments.keep < 1:
        return command_line.fail(f"--keep={arguments.keep}: must be at least 1", 2)
    try:
        config = load(arguments.config, arguments.overrides)
        run_config(arguments.workdir)
        command_line.tell("loading JAX ...")  # takes seconds; most mistakes are reported before
        import jax

        jax.config.update("jax_platforms", "cpu")  # another process, such as the run's own, may use the devices
        from grpo_jax.reporting.regrade import show_regraded
        from grpo_jax.runs.directory import RunDirectory
        from grpo_jax.runs.provenance import origin
        from grpo_jax.runs.record import forked_from, provenance_of
        from grpo_jax.runs.starts import this_start
        from grpo_jax.training.regrade import regrade
        from grpo_jax.training.restore import read_config

        directory, of_run = RunDirectory(arguments.workdir), read_config(arguments.workdir)
        forked = forked_from(directory)
        own = (group for group in directory.rollouts() if not forked or group.step > forked.step)
        with closing(_reward(config, of_run.rollout.max_new_tokens)) as reward:
            reward.warm()
            regraded = regrade(own, reward, of_run, keep=arguments.keep)
            reasons = dict(reward.unscored)
    except FileNotFoundError as error:
        return command_line.fail(error, 2)
    if not regraded.completions:
        since = f" since it was forked from {forked.run} at step {forked.step}" if forked else ""
        return command_line.fail(
            f"--workdir={arguments.workdir}: has no recorded completions{since} (logging.rollouts_every); name a run "
            "that has",
            2,
        )
    console = PlainConsole()
    show_regraded(regraded, console)
    console.print(f"the run: {origin(provenance_of(directory))}", soft_wrap=True, markup=False)
    if forked:
        console.say(
            f"steps up to {forked.step:,} are left out: {forked.run} learned from them, perhaps by another objective"
        )
    console.print(f"judged now by {this_start()}", soft_wrap=True, markup=False)
    if reasons:
        console.print(f"unscored now, by reason: {', '.join(f'{name}: {n:,}' for name, n in reasons.items())}")
    if arguments.to:
        command_line.write("--to", arguments.to, "".join(json.dumps(line) + "\n" for line in regraded.differing))
        console.say(f"judged differently, the first {len(regraded.differing):,}: {arguments.to}")
    return 0


def _reward(config: Config, max_new_tokens: int) -> "Reward":
    """Return the reward of a configuration's task. Only if it has no section of its own is the whole task made.

    Args:
      max_new_tokens: of the run that sampled the completions, for rewards of their lengths.
    """
    from grpo_jax.data import make_task
    from grpo_jax.rewards import make_reward

    if isinstance(config.task, QuestionsConfig):
        return make_reward(config.task.reward, max_new_tokens)
    return make_task(config).reward
