"""The terminal: an analysis of gradients, as tables and tests."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from grpo_jax.evaluation.paired import Estimate
from grpo_jax.runs.provenance import Provenance, Start, origin
from grpo_jax.terminal import PlainConsole

ADVANTAGE = "n_vs_m"  # shown in the table of group sizes; for right and wrong answers it is GRPO's
UNITS = {"rollout": "rollout", "learned_token": "learned token", "prompt": "prompt"}


def show_gradients(record: Mapping[str, Any], console: PlainConsole) -> None:
    """Print the record of `analysis.analyse`."""
    vectors = "whole gradients" if record["sketch"] is None else f"gradients sketched to {record['sketch']:,} numbers"
    reward = "-" if record["reward"] is None else f"{record['reward']:.3f}"
    console.say(
        f"{record['run']}, step {record['step']}: {record['prompts']:,} prompts x {record['samples']} rollouts, mean "
        f"reward {reward}, {record['mean_length']:.1f} tokens, {record['unscored']:,} unscored; {vectors}, aggregation "
        f"{record['aggregation']}. Brackets are 95 % intervals over prompts, each for its number alone. A sign is "
        "resolved at 5 % for all comparisons of its kind together (Holm), so it may be unresolved although its "
        "interval excludes 0.",
    )
    if "provenance" in record:
        of_run, of_analysis = record["provenance"]["run"], record["provenance"]["analysis"]
        console.say(f"The run: {origin(Provenance.from_json(of_run) if of_run else None)}")
        console.say(f"This analysis: {Start.from_json(of_analysis)}")
    console.print(_sizes(record))
    for per, comparisons in record["comparisons"][ADVANTAGE].items() if len(record["sizes"]) > 1 else ():
        console.say(ranking(record["sizes"], comparisons, f"signal-to-noise per {UNITS[per]}"))
    console.say(
        _per_size("SNR with division by the standard deviation over SNR without", record["dividing_by_std"], ratio),
    )
    if record["arms"]:
        console.print(_table_of_arms(record["arms"]))
        for line in _of_arms(record["arms"]):
            console.say(line)
    else:
        console.say("no arms: the reward does not tell right from wrong, or hardly any group has both")
    for name, of in (("summed", "summed log-probabilities"), ("as_aggregated", "the run's aggregation")):
        found = record["scores"][name]
        holds = "above 0 (resolved)" if found["resolved"] else "not resolved to differ from 0"
        console.say(f"p g+ + (1-p) g- = 0 with {of}: |E v|^2 / E|v|^2 of a prompt is {number(found)}, {holds}")
    if record["weighting"]:
        console.print(_weighting(record["weighting"]))
        console.say(_per_size("length over that of pairs", record["weighting"]["log_measured"], ratio))
        console.say(_per_size("predicted over measured length", record["weighting"]["log_agreement"], ratio))
        console.say(_per_size("1 - cosine with pairs", record["weighting"]["cosine_below_1"], number))
    else:
        console.say("no weighting of prompts (Proposition 5.1): rewards are not just right or wrong")


def ranking(sizes: Sequence[int], comparisons: Mapping[str, Mapping[str, Any]], what: str) -> str:
    """Return a sentence with the best group size, and how it compares with each of the others."""

    def over(first: int, second: int) -> Mapping[str, Any]:
        """Return the comparison log(first / second), from either order."""
        found = comparisons.get(f"{first}/{second}")
        if found:
            return found
        other = comparisons[f"{second}/{first}"]
        return {**other, "value": -other["value"], "low": -other["high"], "high": -other["low"]}

    best = max(sizes, key=lambda size: sum(over(size, other)["value"] > 0 for other in sizes if other != size))
    told = [
        f"{ratio(found)} times that of G={other} ({_verdict(found)})"
        for other in sizes
        if other != best
        for found in [over(best, other)]
    ]
    return f"{what}: highest at G={best}, {', '.join(told)}"


def number(found: Any) -> str:
    """Return value [low, high] with two digits of the interval's width, or only the value if it is exact."""
    estimate = _three(found)
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


def ratio(found: Any) -> str:
    """Return a logarithm with its interval as a ratio, formatted as by `number`."""
    return number([math.exp(x) if x < 700 else math.inf for x in _three(found)])


def _three(found: Any) -> Estimate:
    values = [found["value"], found["low"], found["high"]] if isinstance(found, Mapping) else found
    return Estimate(*(float(x) for x in values))


def _per_size(what: str, comparisons: Mapping[str, Mapping[str, Any]], shown: Callable[[Any], str]) -> str:
    told = [f"G={size} {shown(found)} ({_verdict(found)})" for size, found in comparisons.items()]
    return f"{what}: {', '.join(told)}"


def _verdict(found: Mapping[str, Any]) -> str:
    """Return whether a comparison is resolved, with a note if its own interval excludes 0 although it is not."""
    if found["resolved"]:
        return "resolved"
    return "unresolved after correction" if found["low"] > 0 or found["high"] < 0 else "unresolved"


def _sizes(record: Mapping[str, Any]) -> Table:
    of_sizes = record["estimators"][ADVANTAGE]

    def snr(per: str) -> dict[str, str]:
        return {size: number([1000 * x for x in found["snr"][per]]) for size, found in of_sizes.items()}

    return _table(
        f"advantage {ADVANTAGE}: the gradient of one rollout",
        {
            "variance": {size: number(found["variance"]) for size, found in of_sizes.items()},
            "share within prompts": {size: number(found["within_share"]) for size, found in of_sizes.items()},
            "SNR per 1,000 rollouts": snr("rollout"),
            "SNR per 1,000 tokens": snr("token"),
            "SNR per 1,000 learned tokens": snr("learned_token"),
            "SNR per 1,000 prompts": snr("prompt"),
        },
    )


def _table_of_arms(arms: Mapping[str, Any]) -> Table:
    of_sizes = arms["sizes"]
    names = {"right": "Var g+", "wrong": "Var g-", "best_c": "c*", "left_at_best": "remaining Var at c*"}
    return _table(
        "arms: g+ and g- of groups that have both",
        {
            "groups": {size: number(found["valid_share"]) for size, found in of_sizes.items()},
            **{
                shown: {size: number(found["total"][name]) for size, found in of_sizes.items()}
                for name, shown in {**names, "left_at_1": "remaining Var at c = 1"}.items()
            },
        },
    )


def _of_arms(arms: Mapping[str, Any]) -> list[str]:
    def baseline(name: str) -> str:
        told = [
            f"G={size} {found[name]['rho']:.3f}, by chance {found[name]['low']:.3f} to {found[name]['high']:.3f}, "
            f"p {found[name]['p']:.3f}"
            for size, found in arms["sizes"].items()
        ]
        return "; ".join(told)

    return [
        _per_size("rho(g+, g-)", arms["rho_total"], number),
        f"  with g- of other prompts: {baseline('repaired')}",
        _per_size("rho within prompts", arms["rho_within"], number),
        f"  with randomly composed groups: {baseline('regrouped')}",
        _per_size("rho across prompts", arms["rho_across"], number),
        _per_size("Var(g+ - g-) / Var g+", arms["log_left_at_1"], ratio),
        _per_size("SNR of g+ - g- over that of g+", arms["log_snr_gain_at_1"], ratio),
        _per_size("SNR of g+ - c* g- over that of g+", arms["log_snr_gain_at_best"], ratio),
    ]


def _weighting(weighting: Mapping[str, Any]) -> Table:
    of_sizes = weighting["sizes"]
    names = {
        "measured": "length over that of pairs",
        "predicted": "predicted by w_G(p)",
        "agreement": "predicted over measured",
    }
    return _table(
        f"Proposition 5.1: the expected gradient by group size ({weighting['prompts']:,} prompts)",
        {
            **{shown: {size: number(found[name]) for size, found in of_sizes.items()} for name, shown in names.items()},
            "cosine with pairs": {size: cosine(found["cosine"]) for size, found in of_sizes.items()},
        },
    )


def cosine(found: Any) -> str:
    """Return a cosine with its interval, cut at -1 and 1, because the noise of its estimate may carry it beyond."""
    return number([min(max(x, -1.0), 1.0) if math.isfinite(x) else x for x in _three(found)])


def _table(title: str, quantities: Mapping[str, Mapping[Any, str]]) -> Table:
    """Return a table with a row for each quantity and group size, which fits any screen."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in ("", "G", "value [95 % interval]"):
        table.add_column(column, justify="left" if not column else "right")
    for name, of_sizes in quantities.items():
        for place, (size, shown) in enumerate(of_sizes.items()):
            table.add_row("" if place else name, str(size), shown)
        table.add_section()
    return table
