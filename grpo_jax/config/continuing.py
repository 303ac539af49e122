"""What may change while a run goes on, or in a fork: the fields that the schema marks by `Change`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from grpo_jax.config.fields import marked
from grpo_jax.config.schema import Change, Config

# Dotted names; of a section, all that is in it.
UNDECISIVE = marked(Change.FREE)
ROUNDING = marked(Change.ROUNDING)
CONTINUABLE = (*UNDECISIVE, *ROUNDING, *marked(Change.LENGTH))
INHERITED = marked(Change.INHERITED)


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


def covers(names: Sequence[str], field: str) -> bool:
    """Return whether a field is one of these, or in a section that is one of them."""
    return any(f"{field}.".startswith(f"{name}.") for name in names)


def obstacle(theirs: Mapping[str, Any], ours: Config, reached: int) -> str:
    """Return why a run cannot go on with other `CONTINUABLE` fields, as a sentence without its end; "" if it can.

    Args:
      theirs: the configuration that the run had so far.
      ours: the one that it is to have.
      reached: the last step that it has saved.
    """
    at_once, rollout = theirs["rollout"]["prompts_per_batch"], ours.rollout
    if rollout.max_rollouts and at_once != rollout.prompts_per_batch:
        return (
            f"rollout.prompts_per_batch={rollout.prompts_per_batch}: with rollout.max_rollouts it decides how many "
            f"prompts a step samples; keep {at_once}"
        )
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
