"""Figures of runs, drawn by Matplotlib from the lines of metrics.jsonl. Nothing here opens a window or a file."""

import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grpo_jax.config import counted
from grpo_jax.data import Split
from grpo_jax.reporting.panels import PASS_AT_1, Panel, panels_of
from grpo_jax.runs.lines import EvaluationLine, RunMetrics
from grpo_jax.runs.phases import PHASES, whole

SMOOTHING_STEPS = 25  # single steps are too noisy to see a trend in
BLUE, ORANGE, GREEN, GREY = "#1f6fb4", "#d9730d", "#2e8b57", "#8a8a8a"
COLORS = (BLUE, ORANGE, GREEN, GREY, "#7b4fa3", "#c23b5a", "#2aa8b8", "#7a5230", "#e58bc0", "#a3a51f")

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "grpo_jax",  # the same run gives the same file
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
}


def to_svg(figure: Figure) -> str:
    """Return the figure as an SVG element for a page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def of_run(metrics: RunMetrics) -> list[tuple[Figure, str]]:
    """Draw the panels for which the lines have numbers, and return each with its caption."""
    drawn = []
    for panel in panels_of(metrics.training):
        curves = panel.values(metrics.training)
        if curves:
            caption = panel.caption or f"{panel.title.capitalize()}: {', '.join(curves)}."
            drawn.append((_of_panel(panel, curves, metrics), caption))
    return drawn


def _of_panel(panel: Panel, curves: Mapping[str, Sequence[float]], metrics: RunMetrics) -> Figure:
    figure, axes = _panel("rollouts", panel.title)
    rollouts, colors = [line.rollouts for line in metrics.training], itertools.cycle(COLORS)
    if panel is PASS_AT_1:
        evaluations = [line for line in metrics.of_split(Split.VALIDATION) if line.scores.pass_at[0].known]
        _draw_pass_at_1(axes, evaluations, metrics.spent("rollouts", evaluations), next(colors), "validation")
    for (label, values), color in zip(curves.items(), colors, strict=False):
        axes.plot(rollouts, _smooth(values), color=color, linewidth=1, label=as_label(label))
    if panel is PASS_AT_1:
        limit_shares([axes])
    elif panel.logarithmic and any(np.nanmax(values) > 0 for values in curves.values()):
        axes.set_yscale("log", nonpositive="mask")
    elif all(np.nanmin(values) >= 0 for values in curves.values()):
        axes.set_ylim(bottom=max(0, axes.get_ylim()[0]))  # Matplotlib's margin would reach below 0
    legend_above(axes)
    return figure


def limit_shares(panels: Sequence[Axes]) -> None:
    """Limit the panels' common axis of shares to their curves and intervals, with a margin up to 0 and just above 1."""
    ends = [value for axes in panels for value in axes.dataLim.intervaly if np.isfinite(value)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05
    for axes in panels:
        axes.set_ylim(max(low - margin, min(low, 0.0)), min(high + margin, max(high, 1.02)))


def legend_above(axes: Axes) -> None:
    """Put a legend above the panel, where it hides no curve."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize="small", borderaxespad=0.2)


def as_label(name: str) -> str:
    """Return a name escaped for Matplotlib, which typesets $...$ and leaves names that begin with _ out of legends."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def time_by_phase(seconds: Mapping[str, float]) -> Figure:
    """Draw the run's time by phase. The bars add up to the whole time."""
    charged = whole(seconds)
    figure, axes = _panel("seconds", "")
    bars = axes.barh(
        [phase.replace("_", " ") for phase in PHASES][::-1], [charged[phase] for phase in PHASES][::-1], color=BLUE
    )
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.grid(visible=False)
    return figure


def comparison(arms: Mapping[str, Sequence[RunMetrics]]) -> Figure:
    """Draw validation pass@1 at equal rollouts, at equal prompts and against seconds of training.

    Args:
      arms: name -> the metrics of its runs, which differ in their seed. For several runs the mean is drawn, with a band
        from the lowest to the highest; for a single run, its 95 % interval over problems.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.2), layout="constrained")
        panels = figure.subplots(1, 3, sharey=True)
    for axes, budget in zip(panels, ("rollouts", "prompts", "seconds"), strict=True):
        for (name, runs), color in zip(arms.items(), itertools.cycle(COLORS), strict=False):
            _draw_arm(axes, runs, budget, color, as_label(name))
        axes.set_xlabel("seconds of training" if budget == "seconds" else budget)
    limit_shares(panels)
    # Small groups see many times as many prompts as large ones. Show twice the range that all arms cover.
    prompts = [run.training[-1].prompts for runs in arms.values() for run in runs]
    limit, most = 2 * min(prompts), max(prompts)
    if most > limit:  # the label says what is cut off
        panels[1].set_xlim(-0.04 * limit, limit)
        panels[1].set_xlabel(f"prompts (the first {limit:,} of up to {most:,})")
    panels[0].set_ylabel("validation pass@1")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _panel(x: str, y: str) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _draw_pass_at_1(
    axes: Axes, evaluations: Sequence[EvaluationLine], x: Sequence[float], color: str, label: str
) -> None:
    shares = [line.scores.pass_at[0] for line in evaluations]
    axes.fill_between(x, [one.low for one in shares], [one.high for one in shares], color=color, alpha=0.2, linewidth=0)
    axes.plot(x, [one.value for one in shares], color=color, marker="o", markersize=3, label=label)


def _draw_arm(axes: Axes, runs: Sequence[RunMetrics], budget: str, color: str, label: str) -> None:
    curves = [run.of_split(Split.VALIDATION) for run in runs]
    used = [run.spent(budget, curve) for run, curve in zip(runs, curves, strict=True)]
    if len(runs) == 1:
        _draw_pass_at_1(axes, curves[0], used[0], color, f"{label}, 95 % interval")
        return
    shared = min(map(len, curves))  # evaluations that all runs have reached
    values = np.array([[line.scores.pass_at[0].value for line in curve[:shared]] for curve in curves])
    x = np.mean([x[:shared] for x in used], axis=0)
    axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, linewidth=0)
    label = f"{label}, range of {counted(len(runs), 'seed')}"
    axes.plot(x, values.mean(axis=0), color=color, marker="o", markersize=3, label=label)


def _smooth(values: Iterable[float]) -> np.ndarray:
    """Return a running mean over the last steps. Steps without a value are skipped."""
    array = np.array([*values], float)
    known = np.isfinite(array)
    kernel = np.ones(SMOOTHING_STEPS)
    count = np.convolve(known, kernel)[: len(array)]
    total = np.convolve(np.where(known, array, 0.0), kernel)[: len(array)]
    return total / np.maximum(count, 1)
