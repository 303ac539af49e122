"""The terminal: a table of suites."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from grpo_jax.runs.provenance import origin as origin_of


def suites_table(report: Mapping[str, Any]) -> Table:
    """Return what suites.json says as a table of at most 80 columns, in per cent."""
    results = report["suites"]
    n, names = next(iter(results.values()))["samples"], report["average"]  # of mean@n, pass@n, best@n, maj@n
    table = Table(
        title=f"{origin(report['policy'])}: {n} samples of each problem, in per cent",
        caption=f"mean, pass, best and maj are mean@{n}, pass@{n}, best@{n} and maj@{n}. best@{n} is of {n} draws "
        f"with replacement, which is what verl estimates; pass@{n} is the unbiased one.\n"
        + origin_of(report.get("provenance")),
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    table.add_column("suite", overflow="fold")  # where all else is at its widest
    for column in ("prob-\nlems", "mean", "95 %\ninterval", "pass", "best", "maj", "tokens", "cut\noff", "un-\nscored"):
        table.add_column(column, justify="right", no_wrap=True)
    for suite, result in results.items():
        mean, *others = (_percent(result[name]) for name in names)
        low, high = map(_percent, result["interval"][f"mean@{n}"])
        table.add_row(
            suite,
            f"{result['problems']:,}",
            mean,
            f"{low}-{high}",
            *others,
            f"{result['mean_length']:,.1f}",
            _percent(result["truncated_share"]),
            f"{result['unscored']:,}",
        )
    table.add_section()
    mean, *others = map(_percent, report["average"].values())
    table.add_row(f"average of {len(results)}", "", mean, "", *others)
    return table


def origin(policy: Mapping[str, Any]) -> str:
    """Where a policy comes from, in words."""
    return f"{policy['run']}, step {policy['step']}" if "run" in policy else str(policy["checkpoint"])


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
