"""The terminal: the table at the end of a run."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from grpo_jax.config import counted, known
from grpo_jax.data import Split
from grpo_jax.reporting.processes import COLUMNS, slowest
from grpo_jax.reporting.report import REPORT_FILE
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.summary import WITHOUT_VERDICTS, ProcessUse, Summary
from grpo_jax.terminal import PlainConsole, sparkline

WIDTH = 24  # of the learning curve


def show_summary(summary: Summary, workdir: Path, console: PlainConsole) -> None:
    """Print a run's results, its learning curve, its time by phase, and the path of its page if that is written."""
    k = summary.final.samples
    table = Table(title=f"{counted(summary.final.problems, 'test problem')}, {counted(k, 'sample')} each")
    for column in ("", "pass@1", "95 % interval", f"pass@{k}", f"maj@{k}", "tokens"):
        table.add_column(column, justify="left" if not column else "right")
    for name, result in (("before RL", summary.base), ("after RL", summary.final)):
        table.add_row(
            name,
            known(result.pass_at_1.value),
            result.pass_at_1.interval(),
            known(result.pass_at_k.value),
            known(result.majority),
            f"{result.mean_length:.1f}",
        )
    console.print(table)
    if not summary.final.pass_at_1.known:
        console.say(f"- is not known: {WITHOUT_VERDICTS}")
    if summary.processes:
        console.print(_of_processes(summary.processes))
    console.say(
        f"{counted(summary.rollouts, 'rollout', ',')} of {counted(summary.prompts, 'prompt', ',')}, "
        f"{counted(summary.updates, 'update', ',')}, {100 * summary.signal_share:.1f} % of the groups carried signal"
    )
    if console.shows_curves and (curve := _learning_curve(workdir)):
        console.say(curve)
    console.say(
        ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in summary.seconds.items())
        + _process(summary)
    )
    if (workdir / REPORT_FILE).exists():
        console.say(f"report: {workdir / REPORT_FILE}")


def _learning_curve(workdir: Path) -> str:
    """Return validation pass@1 from the first evaluation to the last, drawn in a line; "" if there are not two."""
    lines = [line for line in RunDirectory(workdir).metrics().of_split(Split.VALIDATION) if line.scores.mean.known]
    if len(lines) < 2:
        return ""
    shares = [line.scores.pass_at[0].value for line in lines]
    return (
        f"validation pass@1: {shares[0]:.3f} {sparkline(shares, WIDTH)} {shares[-1]:.3f}, "
        f"from step {lines[0].step:,} to {lines[-1].step:,}"
    )


def _of_processes(processes: Sequence[ProcessUse]) -> Table:
    table = Table(title=f"{counted(len(processes), 'process')}")
    for column in COLUMNS:
        table.add_column(column, justify="left" if not column else "right")
    for row in slowest(processes):
        table.add_row(*row)
    return table


def _process(summary: Summary) -> str:
    """Return how long the process needed to get going, and its memory, as a line."""
    if summary.seconds_to_first_step is None or summary.peak_bytes is None:  # written by an earlier version
        return ""
    peaks = ", ".join(f"{where} {number / 2**30:.2f} GiB" for where, number in summary.peak_bytes.items())
    return f"\nfirst step done after {summary.seconds_to_first_step:.1f} s; peak memory: {peaks}"
