"""The terminal: the table at the end of a run."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from grpo_jax.reporting.report import REPORT_FILE
from grpo_jax.runs.phases import PHASES
from grpo_jax.runs.summary import ProcessUse, Summary
from grpo_jax.terminal import PlainConsole


def show_summary(summary: Summary, workdir: Path, console: PlainConsole) -> None:
    """Print a run's results, its time by phase, and the path of its page."""
    k = summary.final.samples
    table = Table(title=f"{summary.final.problems} test problems, {k} samples each")
    for column in ("", "pass@1", "95 % interval", f"pass@{k}", f"maj@{k}", "tokens"):
        table.add_column(column, justify="left" if not column else "right")
    for name, result in (("before RL", summary.base), ("after RL", summary.final)):
        table.add_row(
            name,
            f"{result.pass_at_1.value:.3f}",
            f"{result.pass_at_1.low:.3f} - {result.pass_at_1.high:.3f}",
            f"{result.pass_at_k.value:.3f}",
            f"{result.majority:.3f}",
            f"{result.mean_length:.1f}",
        )
    console.print(table)
    if summary.processes:
        console.print(slowest(summary.processes))
    console.say(
        f"{summary.rollouts:,} rollouts of {summary.prompts:,} prompts, {summary.updates:,} updates, "
        f"{summary.signal_share:.1%} of the groups carried signal\n"
        + ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in summary.seconds.items())
        + _process(summary)
        + f"\nreport: {workdir / REPORT_FILE}"
    )


def slowest(processes: Sequence[ProcessUse]) -> Table:
    """Return a table of the process that was slowest in each phase, beside the fastest. Those that wait wait for it."""
    table = Table(title=f"{len(processes)} processes")
    for column in ("", "most", "process", "least", "process"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [
        *((name.replace("_", " "), "{:.1f} s", [each.seconds[name] for each in processes]) for name in PHASES),
        ("waited for others", "{:.1f} s", [each.waited for each in processes]),
        ("memory of the host", "{:.2f} GiB", [each.host_bytes / 2**30 for each in processes]),
        ("memory of a device", "{:.2f} GiB", [each.most_on_a_device / 2**30 for each in processes]),
    ]
    for name, text, values in rows:
        if any(values):
            ends = ((value, str(values.index(value))) for value in (max(values), min(values)))
            table.add_row(name, *(cell for value, process in ends for cell in (text.format(value), process)))
    return table


def _process(summary: Summary) -> str:
    """Return how long the process needed to get going, and its memory, as a line."""
    if summary.seconds_to_first_step is None or summary.peak_bytes is None:  # written by an earlier version
        return ""
    peaks = ", ".join(f"{where} {number / 2**30:.2f} GiB" for where, number in summary.peak_bytes.items())
    return f"\nfirst step done after {summary.seconds_to_first_step:.1f} s; peak memory: {peaks}"
