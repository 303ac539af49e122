"""The table of a run judged again."""

import io
from collections import Counter

from grpo_jax.reporting.regrade import show_regraded
from grpo_jax.terminal import PlainConsole
from grpo_jax.training.regrade import Regraded, Tally


def shown(regraded):
    console = PlainConsole(width=120, file=io.StringIO())
    show_regraded(regraded, console)
    return [line.split() for line in console.file.getvalue().splitlines()], console.file.getvalue()


def test_shares_of_portions_and_of_all():
    steps = {
        step: (
            Tally(right=4, judged=8, signal=2, groups=4),
            Tally(right=step % 2, judged=4, unscored=4, signal=1, groups=4),
        )
        for step in range(1, 21)
    }
    rows, text = shown(Regraded(160, Counter({("right", "wrong"): 70, ("wrong", "right"): 1200}), 1300, steps))
    assert ["1", "to", "2", "8", "50.00", "12.50", "50.00", "25.00", "0", "8"] in rows
    assert ["1", "to", "20", "80", "50.00", "12.50", "50.00", "25.00", "0", "80"] in rows
    assert sum("to" in row[1:2] for row in rows) == 11
    assert "1,270 of 160 completions have another verdict, 1,300 another reward" in text
    assert "right -> wrong: 70\n" in text
    assert "wrong -> right: 1,200\n" in text


def test_one_step_without_a_verdict():
    rows, _ = shown(Regraded(2, steps={3: (Tally(unscored=2, groups=1), Tally(right=1, judged=2, signal=1, groups=1))}))
    assert ["3", "1", "-", "50.00", "0.00", "100.00", "2", "0"] in rows
