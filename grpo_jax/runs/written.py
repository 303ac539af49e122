"""Find a completion among the groups that a run has written to rollouts/*.jsonl."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from grpo_jax.config import Config, ConfigError, counted
from grpo_jax.runs.directory import RunDirectory, kept_steps
from grpo_jax.runs.groups import JudgedGroup, TrainingGroup
from grpo_jax.runs.record import forked_from


class Written(NamedTuple):
    """A completion that a run has written, and the policy that is to sample it again."""

    group: TrainingGroup
    place: int  # of the group in its step
    policy_step: int  # the step after which the policy was saved


def find_written(
    workdir: Path, config: Config, *, step: int, prompt: str, sample: int, checkpoint: int | None = None
) -> Written:
    """Find a completion with its tokens.

    Args:
      prompt: as in `find_group`.
      sample: the completion's place in its group.
      checkpoint: the step whose policy samples it again. If None, it is the one that sampled it.

    Raises:
      ConfigError: if there is no such completion.
      FileNotFoundError: if the policy is not kept. The text says which steps can be replayed.
    """
    groups = groups_of_step(workdir, config, step)
    place = find_group(groups, prompt, step)
    group = groups[place]
    if not 0 <= sample < len(group.completions):
        raise ConfigError(
            f"--sample={sample}: the group has {counted(len(group.completions), 'completion')}; name one, from 0 to "
            f"{len(group.completions) - 1}."
        )
    policy_step = group.policy_step if checkpoint is None else checkpoint
    if policy_step and policy_step not in kept_steps(workdir / "checkpoints"):
        raise FileNotFoundError(_not_kept(workdir, config, policy_step))
    return Written(group, place, policy_step)


def groups_of_step(workdir: Path, config: Config, step: int) -> list[TrainingGroup]:
    """Return the groups that a step has written to rollouts/.

    Raises:
      ConfigError: if there are none, or if they were sampled by the run that this one is a fork of.
    """
    directory, folder = RunDirectory(workdir), workdir / "rollouts"
    if (forked := forked_from(directory)) and 1 <= step <= forked.step:
        raise ConfigError(
            f"--step={step}: {forked.run} has sampled it, perhaps with another seed, because {workdir} was forked from "
            f"it at step {forked.step}; name that run."
        )
    groups = [group for group in directory.rollouts(max(step, 1)) if group.step == step]
    others = [] if groups else [group.step for group in directory.rollouts()]
    every = f"logging.rollouts_every={config.logging.rollouts_every}"
    if not groups and not others:
        raise ConfigError(f"{folder}: holds no completions ({every}); name another run.")
    if not groups:
        raise ConfigError(
            f"--step={step}: {folder} has no completions of this step; name one from {min(others)} to "
            f"{max(others)} ({every})."
        )
    if groups[0].completions[0].tokens is None:
        raise ConfigError(f"{folder}: was written by an earlier version, without tokens; name a newer run.")
    return groups


def alike(first: Sequence[object], second: Sequence[object]) -> int:
    """Return the length of the beginning that two texts or rows of tokens share."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def find_group(groups: Sequence[JudgedGroup], prompt: str, step: int) -> int:
    """Return the place of a prompt among the groups of a step.

    Args:
      prompt: the whole text, with any white space. Otherwise a number: a place, counted from 0, if it is below the
        number of groups, and else an id (ids have 32 bits).

    Raises:
      ConfigError: if no group fits.
    """
    wanted = " ".join(prompt.split())
    texts = [" ".join(group.prompt.split()) for group in groups]
    if wanted in texts:
        return texts.index(wanted)
    if wanted.isdecimal():
        number, ids = int(wanted), [group.id for group in groups]
        if number < len(groups):
            return number
        if number in ids:
            return ids.index(number)
    raise ConfigError(
        f"--prompt={prompt[:80]!r}: step {step} has no such prompt; name one of its {len(groups)} by its text, its id, "
        f"or its place from 0 to {len(groups) - 1}."
    )


def _not_kept(workdir: Path, config: Config, policy_step: int) -> str:
    kept = sorted({0, *kept_steps(workdir / "checkpoints")})
    every, last = config.logging.rollouts_every, config.train.steps
    delay = config.rollout.delay
    forked = forked_from(RunDirectory(workdir))
    first = forked.step + 1 if forked else 1
    written = [step for step in range(first, last + 1) if every and step % every == 0]
    can = [str(step) for step in written if max(step - 1 - delay, 0) in kept]
    return (
        f"{workdir / 'checkpoints'}: the policy after step {policy_step} is not kept; the policies after "
        f"{', '.join(map(str, kept))} are (0 is the base policy), so these steps can be replayed: "
        f"{', '.join(can) or 'none'}"
    )
