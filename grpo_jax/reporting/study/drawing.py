"""The figures of a study."""

import itertools

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from grpo_jax.evaluation.paired import share_interval
from grpo_jax.reporting.figures import COLORS, STYLE, as_label, legend_above, limit_shares
from grpo_jax.reporting.study.runs import Results
from grpo_jax.runs.phases import PHASES, whole
from grpo_jax.studies import ComparisonPoints

UNITS = {"seconds": "seconds of training", "tokens": "sampled tokens"}


def curves(results: Results, comparison: ComparisonPoints) -> Figure:
    """Draw validation pass@1, as means over seeds with 95 % t intervals, up to the last point of comparison."""
    budget = comparison.budget
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.subplots()
    for (name, runs), color in zip(results.arms.items(), itertools.cycle(COLORS), strict=False):
        shared = min(run.curve.spent[budget][-1] for run in runs)
        x = np.linspace(0, shared, 200)
        values = np.array([np.interp(x, run.curve.spent[budget], run.curve.pass_at_1) for run in runs])
        low, high = zip(*(share_interval(column.tolist())[1:] for column in values.T), strict=True)
        axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(x, values.mean(axis=0), color=color, label=as_label(name))
    axes.set_xlim(0, 1.05 * max(comparison.at))
    axes.xaxis.set_major_formatter("{x:,.10g}")
    limit_shares([axes])
    axes.set_xlabel(UNITS.get(budget, budget))
    axes.set_ylabel("validation pass@1")
    legend_above(axes)
    return figure


def phases(results: Results) -> Figure:
    """Draw the seconds of a run by phase, as means over seeds."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 0.9 + 0.4 * len(results.arms)), layout="constrained")
        axes = figure.subplots()
    names = list(results.arms)[::-1]
    left = np.zeros(len(names))
    for phase, color in zip(PHASES, COLORS, strict=False):
        seconds = [np.mean([whole(run.summary.seconds)[phase] for run in results.arms[name]]) for name in names]
        axes.barh([*map(as_label, names)], seconds, left=left, color=color, label=phase.replace("_", " "))
        left += seconds
    axes.set_xlabel("seconds")
    axes.grid(visible=False)
    axes.legend(fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure
