"""The fields that may change when a run continues, or in a fork. The schema marks them by `Change`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from grpo_jax.config.fields import marked
from grpo_jax.config.marks import Change
from grpo_jax.config.schema import Config

# Dotted names. The name of a section stands for all its fields.
CHANGEABLE_FREELY = marked(Change.FREE)
ROUNDING = marked(Change.ROUNDING)
CONTINUABLE = (*CHANGEABLE_FREELY, *ROUNDING, *marked(Change.LENGTH))
INHERITED = marked(Change.INHERITED)


class Difference(NamedTuple):
    """A field in which two configurations differ."""

    field: str  # dotted
    first: Any
    second: Any


def differences(first: Any, second: Any, *, free: Sequence[str] = (), field: str = "") -> list[Difference]:
    """Return the differences between two nested dictionaries, without those in the fields in `free`.

    Args:
      free: dotted names of fields or sections.
      field: the dotted name of both, if they are parts of larger dictionaries.
    """
    if field in free or first == second:
        return []
    # Sections without a common field differ as a whole, such as those of two tasks.
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
    """Return the dotted names of the fields in `differences`."""
    return [one.field for one in differences(first, second, free=free)]


def covers(names: Sequence[str], field: str) -> bool:
    """Return whether a field is among these names, or lies in a section that is."""
    return any(f"{field}.".startswith(f"{name}.") for name in names)


def obstacle(theirs: Mapping[str, Any], ours: Config, reached: int) -> str:
    """Return why a run cannot continue with changed `CONTINUABLE` fields, as a clause; "" if it can.

    Args:
      theirs: the configuration of the run so far.
      ours: the new configuration.
      reached: the last saved step.
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
        return f"train.steps={now}: the run has already reached step {reached}; set it to at least that"
    if ours.optimizer.schedule != "constant":
        return (
            f"train.steps={now}: with optimizer.schedule={ours.optimizer.schedule!r} the learning rate of every update "
            f"depends on it, so the finished steps belong to train.steps={before}; keep that, or fork the run with "
            "--from into another directory"
        )
    return ""
