"""The terminal: a table of suites."""

from rich import box
from rich.table import Table

from grpo_jax.config import counted, known
from grpo_jax.runs.provenance import origin
from grpo_jax.runs.suite_scores import SuiteReport
from grpo_jax.runs.summary import WITHOUT_VERDICTS


def suites_table(report: SuiteReport) -> Table:
    """Return the results in suites.json as a table of at most 80 columns, in per cent."""
    n = report.samples
    unknown = not all(one.scores.mean.known for one in report.suites.values())
    table = Table(
        title=f"{report.policy}: {counted(n, 'sample')} of each problem, in per cent",
        caption=f"mean, pass, best and maj are mean@{n}, pass@{n}, best@{n} and maj@{n}. best@{n} draws {n} times "
        f"with replacement, as verl does; pass@{n} is the unbiased estimate.\n"
        + (f"- is not known: {WITHOUT_VERDICTS}\n" if unknown else "")
        + origin(report.provenance),
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    table.add_column("suite", overflow="fold")  # long names wrap, because the other columns do not
    for column in ("prob-\nlems", "mean", "95 %\ninterval", "pass", "best", "maj", "tokens", "cut\noff", "un-\nscored"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, suite in report.suites.items():
        mean, *others = map(_percent, suite.shares)
        scores = suite.scores
        table.add_row(
            name,
            f"{scores.problems:,}",
            mean,
            "-" if not scores.mean.known else f"{_percent(scores.mean.low)}-{_percent(scores.mean.high)}",
            *others,
            f"{scores.mean_length:,.1f}",
            _percent(scores.truncated_share),
            f"{scores.unscored:,}",
        )
    table.add_section()
    mean, *others = map(_percent, report.average)
    table.add_row(f"average of {len(report.suites)}", "", mean, "", *others)
    return table


def _percent(share: float) -> str:
    return known(100 * share, ".2f")
