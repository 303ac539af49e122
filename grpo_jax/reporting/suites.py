"""The terminal: a table of suites."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from grpo_jax.runs.provenance import origin as origin_of


def suites_table(report: Mapping[str, Any]) -> Table:
    """What suites.json says, as people compare it: in per cent."""
    results = report["suites"]
    n, names = next(iter(results.values()))["samples"], report["average"]  # of mean@n, pass@n, best@n, maj@n
    table = Table(
        title=f"{origin(report['policy'])}: {n} samples of each problem, in per cent",
        caption=f"best@{n}: of {n} draws with replacement, which is what verl estimates; pass@{n} is the unbiased "
        "one.\n" + origin_of(report.get("provenance")),
        box=box.SIMPLE,
    )
    headers = ("suite", "problems", f"mean@{n}", "95 % interval", f"pass@{n}", f"best@{n}", f"maj@{n}")
    for column in (*headers, "tokens", "cut off", "unscored"):
        table.add_column(column, justify="left" if column == "suite" else "right")
    for suite, result in results.items():
        mean, *others = (_percent(result[name]) for name in names)
        low, high = map(_percent, result["interval"][f"mean@{n}"])
        table.add_row(
            suite,
            f"{result['problems']:,}",
            mean,
            f"{low} - {high}",
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
