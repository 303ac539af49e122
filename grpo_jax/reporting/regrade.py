"""The terminal: a run's completions under another reward."""

from functools import reduce

import numpy as np
from rich import box
from rich.table import Table

from grpo_jax.config import agreeing, counted
from grpo_jax.terminal import PlainConsole
from grpo_jax.training.regrade import Regraded, Tally

ROWS = 10  # at most, of consecutive steps


def show_regraded(regraded: Regraded, console: PlainConsole) -> None:
    """Print which verdicts changed, and accuracy and signal under both rewards."""
    console.print(regraded_table(regraded))
    of = f"of {counted(regraded.completions, 'completion', ',')}"
    console.print(
        f"{regraded.verdicts:,} {of} {agreeing(regraded.verdicts, 'has', 'have')} another verdict, "
        f"{regraded.changed_rewards:,} another reward"
    )
    for (then, now), number in sorted(regraded.changes.items()):
        console.print(f"  {then} -> {now}: {number:,}")


def regraded_table(regraded: Regraded) -> Table:
    """Return a table of accuracy and of the share of groups with signal, then and now, over portions of the steps."""
    table = Table(
        title="the same completions under both rewards, in per cent",
        caption="accuracy: the share of right completions among those with a verdict (mean pass@1 in training); "
        "signal: the share of groups that the run's objective learns from. All recorded completions are counted.",
        box=box.SIMPLE,
    )
    for column in ("steps", "groups", "accuracy then", "now", "signal then", "now", "unscored then", "now"):
        table.add_column(column, justify="left" if column == "steps" else "right")
    steps = list(regraded.steps)
    portions = [part.tolist() for part in np.array_split(steps, min(ROWS, len(steps)))]
    for portion in [*portions, *([steps] if len(portions) > 1 else [])]:
        if portion is steps:
            table.add_section()
        then, now = (reduce(Tally.__add__, (regraded.steps[step][which] for step in portion)) for which in (0, 1))
        table.add_row(
            f"{portion[0]} to {portion[-1]}" if len(portion) > 1 else str(portion[0]),
            f"{then.groups:,}",
            *(_percent(tally.right, tally.judged) for tally in (then, now)),
            *(_percent(tally.signal, tally.groups) for tally in (then, now)),
            *(f"{tally.unscored:,}" for tally in (then, now)),
        )
    return table


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}" if whole else "-"
