"""The phases of a run, to which its seconds are charged. Nothing here imports JAX; the clock is in `training.clock`."""

from collections.abc import Mapping

TRAINING = (
    "sampling",
    "rewards",  # and advantages
    "update",
    "host",  # between them: statistics, metrics, rollouts written down
)
PHASES = (
    "other",  # before the first step and after the last: building, loading, restoring, closing
    "warm_start",
    *TRAINING,
    "evaluation",
    "checkpoints",  # until a copy is made; it is written in the background
    "compile",  # whenever it happens: it is taken out of the phase that it happens in
)
TOTAL = "total"


def whole(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by phase that add up to their total.

    Seconds that an earlier version charged to no phase are charged to "other".
    """
    charged = {phase: seconds.get(phase, 0.0) for phase in PHASES}
    missing = seconds.get(TOTAL, 0.0) - sum(charged.values())
    return {**charged, "other": charged["other"] + missing, TOTAL: sum(charged.values()) + missing}


def training_seconds(seconds: Mapping[str, float]) -> float:
    """Return seconds of training: the wall clock without start, warm start, compilation, evaluation and checkpoints.

    How often a run is evaluated and saved depends on how closely it is watched. It is not a cost of the method.
    """
    return sum(seconds.get(phase, 0.0) for phase in TRAINING)
