"""The terminal: the table at the end of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from grpo_jax.reporting.report import REPORT_FILE
from grpo_jax.terminal import PlainConsole


def show_summary(summary: Mapping[str, Any], workdir: Path, console: PlainConsole) -> None:
    """Prints what a run came to, where its time went, and where its page is."""
    base, final, seconds = summary["base"], summary["final"], summary["seconds"]
    table = Table(title=f"{final['problems']} test problems, {final['k']} samples each")
    for column in ("", "pass@1", "95 % interval", f"pass@{final['k']}", f"maj@{final['k']}", "tokens"):
        table.add_column(column, justify="left" if not column else "right")
    for name, result in (("before RL", base), ("after RL", final)):
        low, high = result["interval"]["pass@1"]
        table.add_row(
            name,
            f"{result['pass@1']:.3f}",
            f"{low:.3f} - {high:.3f}",
            f"{result['pass@k']:.3f}",
            f"{result['maj@k']:.3f}",
            f"{result['mean_length']:.1f}",
        )
    console.print(table)
    console.say(
        f"{summary['rollouts']:,} rollouts of {summary['prompts']:,} prompts, {summary['updates']:,} updates, "
        f"{summary['valid_pair_share']:.1%} of the groups carried signal\n"
        + ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in seconds.items())
        + f"\nreport: {workdir / REPORT_FILE}"
    )
