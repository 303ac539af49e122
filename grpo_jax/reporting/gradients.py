"""The terminal: an analysis of gradients, as tables and tests."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from rich import box
from rich.table import Table

from grpo_jax.config import counted
from grpo_jax.runs.estimates import Estimate, TestedEstimate
from grpo_jax.runs.gradients import (
    Advantage,
    ArmsBySize,
    ArmsOfSize,
    Baseline,
    ByPair,
    BySize,
    GradientAnalysis,
    Unit,
    VarianceOfArms,
    WeightingBySize,
    WeightingOfSize,
    pair_of,
)
from grpo_jax.runs.provenance import origin
from grpo_jax.terminal import PlainConsole

ADVANTAGE = Advantage.N_VS_M  # shown in the table of group sizes; for right and wrong answers it is GRPO's
UNITS = {Unit.ROLLOUT: "rollout", Unit.TOKEN: "token", Unit.LEARNED_TOKEN: "learned token", Unit.PROMPT: "prompt"}

Shown: TypeAlias = Callable[[Estimate], str]


def show_gradients(analysis: GradientAnalysis, console: PlainConsole) -> None:
    """Print an analysis of gradients."""
    vectors = f"gradients sketched to {analysis.sketch:,} numbers" if analysis.sketch else "whole gradients"
    reward = "-" if analysis.reward is None else f"{analysis.reward:.3f}"
    console.say(
        f"{analysis.run}, step {analysis.step}: {counted(analysis.prompts, 'prompt', ',')} x "
        f"{counted(analysis.samples, 'rollout')}, mean reward {reward}, {analysis.mean_length:.1f} tokens, "
        f"{analysis.unscored:,} unscored; {vectors}, aggregation {analysis.aggregation}. Brackets are 95 % intervals "
        "over prompts, each for its number alone. A sign is resolved at 5 % for all comparisons of its kind together "
        "(Holm), so it may be unresolved although its interval excludes 0.",
    )
    if analysis.provenance:
        console.say(f"The run: {origin(analysis.provenance.run)}")
        console.say(f"This analysis: {analysis.provenance.analysis}")
    console.print(_sizes(analysis))
    for unit, comparisons in analysis.comparisons[ADVANTAGE].items() if len(analysis.sizes) > 1 else ():
        console.say(ranking(analysis.sizes, comparisons, f"signal-to-noise per {UNITS[unit]}"))
    console.say(
        _per_size("SNR with division by the standard deviation over SNR without", analysis.dividing_by_std, ratio),
    )
    if analysis.arms:
        console.print(_table_of_arms(analysis.arms.sizes))
        for line in _of_arms(analysis.arms):
            console.say(line)
    else:
        console.say("no arms: the reward does not tell right from wrong, or hardly any group has both")
    scores = analysis.scores
    for found, of in ((scores.summed, "summed log-probabilities"), (scores.as_aggregated, "the run's aggregation")):
        holds = "above 0 (resolved)" if found.resolved else "not resolved to differ from 0"
        console.say(f"p g+ + (1-p) g- = 0 with {of}: |E v|^2 / E|v|^2 of a prompt is {number(found.estimate)}, {holds}")
    if analysis.weighting:
        console.print(_weighting(analysis.weighting))
        console.say(_per_size("length over that of pairs", analysis.weighting.log_measured, ratio))
        console.say(_per_size("predicted over measured length", analysis.weighting.log_agreement, ratio))
        console.say(_per_size("1 - cosine with pairs", analysis.weighting.cosine_below_1, number))
    else:
        console.say("no weighting of prompts (Proposition 5.1): rewards are not just right or wrong")


def ranking(sizes: Sequence[int], comparisons: ByPair, what: str) -> str:
    """Return a sentence with the best group size, and how it compares with each of the others."""

    def over(first: int, second: int) -> TestedEstimate:
        """Return the comparison log(first / second), from either order."""
        found = comparisons.get(pair_of(first, second))
        return found or -comparisons[pair_of(second, first)]

    best = max(sizes, key=lambda size: sum(over(size, other).value > 0 for other in sizes if other != size))
    told = [
        f"{ratio(found.estimate)} times that of G={other} ({_resolution(found)})"
        for other in sizes
        if other != best
        for found in [over(best, other)]
    ]
    return f"{what}: highest at G={best}, {', '.join(told)}"


def number(estimate: Estimate) -> str:
    """Return value [low, high] with two digits of the interval's width, or only the value if it is exact."""
    width = estimate.high - estimate.low
    if not math.isfinite(width):
        return f"{estimate.value:.3g} [unknown]" if math.isfinite(estimate.value) else "unknown"
    if width <= 0:
        return f"{estimate.value:.3g}"
    if max(abs(x) for x in estimate) < 1e-4:
        value, low, high = (f"{x:.1e}" for x in estimate)
    else:
        digits = min(max(1 - math.floor(math.log10(width)), 0), 6)
        value, low, high = (f"{x:.{digits}f}" for x in estimate)
    return f"{value} [{low}, {high}]"


def ratio(logarithm: Estimate) -> str:
    """Return a logarithm with its interval as a ratio, formatted as by `number`."""
    return number(Estimate(*(math.exp(x) if x < 700 else math.inf for x in logarithm)))


def _per_size(what: str, comparisons: BySize, shown: Shown) -> str:
    told = [f"G={size} {shown(found.estimate)} ({_resolution(found)})" for size, found in comparisons.items()]
    return f"{what}: {', '.join(told)}"


def _resolution(found: TestedEstimate) -> str:
    """Return whether a comparison is resolved, with a note if its own interval excludes 0 although it is not."""
    if found.resolved:
        return "resolved"
    return "unresolved after correction" if found.low > 0 or found.high < 0 else "unresolved"


def _sizes(analysis: GradientAnalysis) -> Table:
    of_sizes = analysis.estimators[ADVANTAGE]

    def snr(unit: Unit) -> dict[int, str]:
        return {size: number(Estimate(*(1000 * x for x in found.snr[unit]))) for size, found in of_sizes.items()}

    return _table(
        f"advantage {ADVANTAGE}: the gradient of one rollout",
        {
            "variance": {size: number(found.variance) for size, found in of_sizes.items()},
            "share within prompts": {size: number(found.within_share) for size, found in of_sizes.items()},
            **{f"SNR per 1,000 {name}s": snr(unit) for unit, name in UNITS.items()},
        },
    )


def _table_of_arms(of_sizes: Mapping[int, ArmsOfSize]) -> Table:
    totals: dict[str, Callable[[VarianceOfArms], Estimate]] = {
        "Var g+": lambda total: total.right,
        "Var g-": lambda total: total.wrong,
        "c*": lambda total: total.best_c,
        "remaining Var at c*": lambda total: total.left_at_best,
        "remaining Var at c = 1": lambda total: total.left_at_1,
    }
    return _table(
        "arms: g+ and g- of groups that have both",
        {
            "groups": {size: number(found.both_share) for size, found in of_sizes.items()},
            **{
                name: {size: number(of(found.total)) for size, found in of_sizes.items()} for name, of in totals.items()
            },
        },
    )


def _of_arms(arms: ArmsBySize) -> list[str]:
    def by_chance(baseline: Callable[[ArmsOfSize], Baseline]) -> str:
        found = {size: baseline(of_size) for size, of_size in arms.sizes.items()}
        told = [
            f"G={size} {one.rho:.3f}, by chance {one.low:.3f} to {one.high:.3f}, p {one.p:.3f}"
            for size, one in found.items()
        ]
        return "; ".join(told)

    return [
        _per_size("rho(g+, g-)", arms.rho_total, number),
        f"  with g- of other prompts: {by_chance(lambda found: found.repaired)}",
        _per_size("rho within prompts", arms.rho_within, number),
        f"  with randomly composed groups: {by_chance(lambda found: found.regrouped)}",
        _per_size("rho across prompts", arms.rho_across, number),
        _per_size("Var(g+ - g-) / Var g+", arms.log_left_at_1, ratio),
        _per_size("SNR of g+ - g- over that of g+", arms.log_snr_gain_at_1, ratio),
        _per_size("SNR of g+ - c* g- over that of g+", arms.log_snr_gain_at_best, ratio),
    ]


def _weighting(weighting: WeightingBySize) -> Table:
    columns: dict[str, Callable[[WeightingOfSize], str]] = {
        "length over that of pairs": lambda found: number(found.measured),
        "predicted by w_G(p)": lambda found: number(found.predicted),
        "predicted over measured": lambda found: number(found.agreement),
        "cosine with pairs": lambda found: cosine(found.cosine),
    }
    return _table(
        f"Proposition 5.1: the expected gradient by group size ({counted(weighting.prompts, 'prompt', ',')})",
        {name: {size: shown(found) for size, found in weighting.sizes.items()} for name, shown in columns.items()},
    )


def cosine(estimate: Estimate) -> str:
    """Return a cosine with its interval, cut at -1 and 1, because the noise of its estimate may carry it beyond."""
    return number(Estimate(*(min(max(x, -1.0), 1.0) if math.isfinite(x) else x for x in estimate)))


def _table(title: str, quantities: Mapping[str, Mapping[int, str]]) -> Table:
    """Return a table with a row for each quantity and group size, which fits any screen."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in ("", "G", "value [95 % interval]"):
        table.add_column(column, justify="left" if not column else "right")
    for name, of_sizes in quantities.items():
        for row, (size, shown) in enumerate(of_sizes.items()):
            table.add_row("" if row else name, str(size), shown)
        table.add_section()
    return table
