"""Which fields of a configuration a run's result depends on, and which may change while the run goes on, or in a fork.

This is the one place that says so: whoever continues a run, forks it, or asks whether two were alike, asks here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from grpo_jax.config.schema import Config

# They say what is kept, measured or written down and where work is done, and decide no policy and no verdict.
UNDECISIVE = (
    "checkpoint",
    "evaluation.every",
    "logging",
    "task.reward.workers",
    "warm_start.cache_dir",
    "warm_start.checkpoint_every",
)

# A run is extended by this; `extension` says when it cannot be.
LENGTH = "train.steps"

# What a fork has from the run that it branches off: what is asked and how it is judged and measured, and the policy
# before RL. All else may differ, the seed too.
# Group size is kept because a run counts its rollouts by it.
KEPT_IN_FORKS = ("task", "model", "warm_start", "evaluation", "rollout.max_new_tokens", "rollout.group_size")


class Difference(NamedTuple):
    """A field in which two configurations are not alike."""

    field: str  # dotted
    first: Any
    second: Any


def differences(first: Any, second: Any, *, free: Sequence[str] = (), field: str = "") -> list[Difference]:
    """Return what differs between two nested dictionaries, but for the fields in `free`.

    Args:
      free: dotted names; of a section, all that is in it.
      field: the name of the two, where they are parts of others.
    """
    if field in free or first == second:
        return []
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() & second.keys():
        prefix, found = f"{field}." if field else "", []
        for key in [*first, *(key for key in second if key not in first)]:
            if key in first and key in second:
                found += differences(first[key], second[key], free=free, field=f"{prefix}{key}")
            elif f"{prefix}{key}" not in free:
                found.append(Difference(f"{prefix}{key}", first.get(key), second.get(key)))
        return found
    return [Difference(field, first, second)]


def differing(first: Any, second: Any, *, free: Sequence[str] = ()) -> list[str]:
    """Return the dotted names of `differences`."""
    return [one.field for one in differences(first, second, free=free)]


def extension(theirs: Mapping[str, Any], ours: Config, reached: int) -> str:
    """Return why a run cannot go on to another `train.steps`, as a sentence without its end; "" if it can.

    Args:
      theirs: the configuration that the run had so far.
      ours: the one that it is to have.
      reached: the last step that it has saved.
    """
    before, now = theirs["train"]["steps"], ours.train.steps
    if before == now:
        return ""
    if now < reached:
        return f"train.steps={now}: the run has come to step {reached} already; ask for at least that"
    if ours.optimizer.schedule != "constant":
        return (
            f"train.steps={now}: with optimizer.schedule={ours.optimizer.schedule!r} the learning rate of every update "
            f"depends on it, so the steps that are done belong to train.steps={before}; keep that, or branch off by "
            "--from into another directory"
        )
    return ""
