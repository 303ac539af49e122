"""The bar and its curve, lines where there is no bar, and tables as text."""

import io
import itertools
import math
import re
import time

import pytest

from grpo_jax.terminal import LEVELS, LiveDisplay, PlainConsole, columns, duration, sparkline


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """No continuous integration, which gets no bar."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def shown(act, terminal=False, width=110):
    console = PlainConsole(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    with LiveDisplay(console) as display:
        act(display)
    return console.file.getvalue()


VALUES = {"reward {:.2f}": 0.5, "signal {:.2f}": 0.25, "length {:.1f}": 9.0, "{:,.0f} tokens/s": 36100.0}


def bar(text):
    """Return the last state of the bar; the output after it only removes the bar."""
    return [line for line in re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "\r", text).split("\r") if line.strip()][-1]


def test_a_bar_on_a_terminal():
    text = bar(shown(lambda display: display.progress("training", 3, 10, VALUES), terminal=True, width=140))
    for part in ("training", "3/10", "0:00:00", "left", "reward 0.50", "signal 0.25  length 9.0  36,100 tokens/s"):
        assert part in text


@pytest.mark.parametrize("width", [40, 50, 80, 100])
def test_a_narrow_terminal_takes_metrics_away_and_nothing_else(width):
    """Steps and the remaining time are always shown. Metrics are shown whole or not at all."""

    def act(display):
        for step in (1198, 1199):
            display.progress("training", step, 1200, VALUES)

    text = bar(shown(act, terminal=True, width=width))
    for part in ("training", "1199/1200", "0:00:00" if width >= 50 else "", "left"):
        assert part in text
    assert ("reward 0.50" in text) == (width >= 80)
    assert "tokens/s" in text or "tok" not in text


def test_phases_take_turns_on_one_line():
    def act(display):
        display.doing("compiling")
        display.progress("training", 3, 10, VALUES)
        display.progress("validation at step 3", 1, 2, {})
        display.progress("training", 4, 10, VALUES)

    last = bar(shown(act, terminal=True))
    assert "4/10" in last
    assert "validation" not in last
    assert shown(act).splitlines()[0] == "compiling ..."


def test_a_phase_that_was_interrupted_is_shown_again_as_soon_as_the_other_ends():
    def act(display):
        display.progress("training", 3, 10, VALUES)
        display.progress("validation at step 3", 2, 2, {})

    last = bar(shown(act, terminal=True))
    assert "3/10" in last
    assert "validation" not in last


def test_what_has_not_begun_yet_has_no_step_behind_it():
    assert " 0/2 " in bar(shown(lambda display: display.progress("test", 0, 2, {}), terminal=True))


@pytest.mark.parametrize(("width", "length"), [(60, 0), (100, 12), (160, 12)])
def test_the_bar_has_a_curve_where_it_fits(width, length):
    def act(display):
        for step in range(1, 100):
            display.progress("training", step, 100, VALUES | {"reward {:.2f}": step / 100})

    curve = "".join(re.findall(f"[{LEVELS}]", bar(shown(act, terminal=True, width=width))))
    assert (len(curve), [*curve]) == (length, sorted(curve))
    assert curve[:1] != curve[-1:] or not length


@pytest.mark.parametrize(
    ("values", "curve"), [([], ""), ([0.5, 0.5], "▁▁"), ([0, 1, 2], "▁▅█"), (range(1000), "▁▃▅▆█"), ([3, 1], "█▁")]
)
def test_a_sparkline(values, curve):
    assert sparkline(values, 5) == curve


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_whole_lines_where_no_line_can_be_drawn_again(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    text = shown(lambda display: display.progress("training", 3, 10, VALUES), terminal=True)
    assert text.startswith("training 3/10  reward 0.50")
    assert not re.search(r"[\r\x1b]", text)


def test_a_forced_color_makes_no_terminal_of_a_pipe(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = PlainConsole(file=io.StringIO())
    with LiveDisplay(console) as display:
        display.progress("training", 3, 10, VALUES)
    assert console.file.getvalue() == "training 3/10  reward 0.50  signal 0.25  length 9.0  36,100 tokens/s\n"


def test_lines_become_seldom(monkeypatch):
    """Ten seconds at first, after an hour two minutes, and never more than ten minutes."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def act(display):
        for now[0] in range(0, 36_000, 20):
            display.progress("training", 1 + now[0] // 20, 1_800, {})

    steps = [int(re.match(r"training (\d+)/", line)[1]) - 1 for line in shown(act).splitlines()]
    gaps = {20 * first: 20 * (second - first) for first, second in itertools.pairwise(steps)}
    assert gaps[0] == 20  # a step takes 20 seconds
    assert 120 <= next(gap for begin, gap in gaps.items() if begin >= 3600) <= 140
    assert max(gaps.values()) == 620


def test_a_phase_that_ends_within_another_gets_its_line():
    def act(display):
        display.progress("training", 3, 10, {})
        display._last_line = -math.inf
        display.progress("validation at step 3", 2, 2, {})

    assert shown(act).splitlines() == ["training 3/10", "validation at step 3 2/2"]


def test_lines_where_there_is_no_terminal():
    def act(console):
        for step in range(1, 5):
            console.progress("training", step, 10, VALUES)

    assert shown(act).splitlines() == ["training 1/10  reward 0.50  signal 0.25  length 9.0  36,100 tokens/s"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (200_000, "2 d 7 h")],
)
def test_a_duration_has_two_units(seconds, text):
    assert duration(seconds) == text


def test_columns_are_aligned_but_for_cells_that_are_too_long():
    rows = [("a", "number", "last"), ("long" * 5, "7", "x" * 99), ("漢", "10", "")]
    assert columns(rows, right=("number",), widest=8) == [
        "a   number  last",
        f"{'long' * 5}       7  {'x' * 99}",
        "漢      10",
    ]
    assert columns([("x" * 9, "y" * 9)], widest=8) == [f"{'x' * 9}  {'y' * 9}"]
