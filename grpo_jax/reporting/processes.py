"""The rows of the table of a run's processes, which the terminal and the page show."""

from collections.abc import Sequence

from grpo_jax.runs.phases import PHASES
from grpo_jax.runs.summary import ProcessUse

COLUMNS = ("", "most", "process", "least", "process")


def slowest(processes: Sequence[ProcessUse]) -> list[tuple[str, ...]]:
    """Return a row for each phase, with the process that was slowest in it and the fastest; for the cells see COLUMNS.

    Further rows have the time that processes waited, how often and how long one kept the others waiting, and their
    memory. Rows in which all values are 0 are left out.
    """
    rows: list[tuple[str, str, list[float]]] = [
        *((name.replace("_", " "), "{:.1f} s", [each.seconds[name] for each in processes]) for name in PHASES),
        ("waited for others", "{:.1f} s", [each.waited for each in processes]),
        ("slowest in a step", "{:.0f} steps", [float(each.slowest_steps) for each in processes]),
        ("others waited for it", "{:.1f} s", [each.awaited for each in processes]),
        ("memory of the host", "{:.2f} GiB", [each.host_bytes / 2**30 for each in processes]),
        ("memory of a device", "{:.2f} GiB", [each.peak_device_bytes / 2**30 for each in processes]),
    ]
    return [
        (
            name,
            text.format(max(values)),
            str(values.index(max(values))),
            text.format(min(values)),
            str(values.index(min(values))),
        )
        for name, text, values in rows
        if any(values)
    ]
