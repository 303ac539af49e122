"""How a run can end before its last step."""


class Interrupted(Exception):
    """The run was asked to stop and has saved itself; the same command continues it."""


class TrainingError(RuntimeError):
    """The run cannot go on; the text says what to do about it."""
