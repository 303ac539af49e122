"""The tables of a study: what each says, with intervals, and whether it is resolved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grpo_jax.evaluation.paired import (
    Decision,
    Estimate,
    at_budget,
    cost_to,
    decide,
    detectable,
    mean_interval,
    ratio_interval,
    seen,
    share_interval,
    sign_flip_p,
    spread,
)
from grpo_jax.reporting.study.runs import Finished, Results
from grpo_jax.runs.phases import TRAINING
from grpo_jax.studies import ComparisonPoints
from grpo_jax.studies.pairing import COUNTED

NOTHING = "n/a"
FEWEST = 3  # seeds: two differences that happen to be equal would leave no spread, and be resolved by chance
ALIKE = 0.05  # by how much what arms have spent may differ, where only the runs could tell
COMPARED = ("difference", "p", "Holm", "", "flips", "± 80 % power", "ratio")
VERDICTS = (
    f"Resolved, with {FEWEST} seeds or more: the difference is not 0, or the ratio not 1, at 5 % for all rows of a "
    "table together (t tests, Holm). Intervals are at the level at which the row was decided, so that they leave out "
    "0, or 1, just where it is resolved; none is narrower than a 95 % interval."
)


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first column names."""

    name: str  # of its files
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    method: str = ""  # how its rows were decided; a page says it once, for all of its tables


def tables(results: Results) -> list[Table]:
    """All of them."""
    return [
        arms_table(results),
        final_table(results),
        *(comparison_table(results, comparison) for comparison in results.study.comparisons),
        target_table(results),
        time_table(results),
    ]


def written(estimate: Estimate | None, digits: int = 3) -> str:
    """A number with its interval."""
    if estimate is None:
        return NOTHING
    if not np.isfinite(estimate.high - estimate.low):
        return f"{estimate.value:,.{digits}f} [unbounded]"
    return f"{estimate.value:,.{digits}f} [{estimate.low:,.{digits}f}, {estimate.high:,.{digits}f}]"


def arms_table(results: Results) -> Table:
    """What each arm came to on the test split, and what it spent."""

    def row(name: str, runs: Sequence[Finished]) -> tuple[str, ...]:
        k = runs[0].summary.final.samples
        finals = [run.summary.final.pass_at_1 for run in runs]
        of_problems = np.mean([(share.high - share.low) / 2 for share in finals])
        spent = [(run.summary.rollouts, run.summary.prompts, run.summary.updates) for run in runs]
        return (
            name,
            written(share_interval([share.value for share in finals])),
            f"{of_problems:.3f}",
            f"{np.mean([run.summary.final.pass_at_k.value for run in runs]):.3f} (k={k})",
            *(f"{mean:,.0f}" for mean in np.mean(spent, axis=0)),
            f"{100 * np.mean([run.summary.signal_share for run in runs]):.1f} %",
            written(mean_interval([run.summary.training_seconds for run in runs]), 1),
        )

    header = ("arm", "test pass@1", "± over problems", "pass@k", "rollouts", "prompts", "updates")
    return Table(
        "arms",
        f"Test pass@1 at the end, mean over {len(results.seeds)} seeds with its interval over seeds; beside it half "
        "the width of a run's own interval, which is over problems and which all runs share. Seconds are of training: "
        "the wall clock without start, warm start, compilation, evaluation and checkpoints. Intervals are 95 % ones, "
        "each for itself.",
        (*header, "groups with signal", "seconds"),
        tuple(row(name, runs) for name, runs in results.arms.items()),
    )


def final_table(results: Results) -> Table:
    """The differences of test pass@1 at the end, of the arms that have spent as much as the baseline."""
    unequal = _unmatched(results)
    values = {
        name: [run.summary.final.pass_at_1.value for run in runs]
        for name, runs in results.arms.items()
        if name not in unequal
    }
    nothing = (NOTHING,) * len(COMPARED)
    (compared,) = _compared([values], results.study.baseline)
    return Table(
        "final",
        f"Test pass@1 at the end against {results.study.baseline}, seed by seed, of arms that have spent the same "
        f"{results.study.matched}.",
        ("arm", *COMPARED),
        (
            *((name, *cells) for name, cells in compared.items()),
            *((f"{name} ({times:.2f} times the {results.study.matched})", *nothing) for name, times in unequal.items()),
        ),
        method(results),
    )


def comparison_table(results: Results, comparison: ComparisonPoints) -> Table:
    """Validation pass@1 where the arms have spent as much; one budget."""
    read = []
    for at in comparison.at:
        found = {
            name: [at_budget(run.curve.spent[comparison.budget], run.curve.pass_at_1, at) for run in runs]
            for name, runs in results.arms.items()
        }
        read.append({name: [v for v in row if v is not None] for name, row in found.items() if None not in row})
    rows: list[tuple[str, ...]] = []
    for at, values, compared in zip(comparison.at, read, _compared(read, results.study.baseline), strict=True):
        for name in results.arms:
            mean = written(share_interval(values[name])) if name in values else NOTHING
            rows.append((f"{at:,.10g}", name, mean, *compared.get(name, ("",) * len(COMPARED))))
    return Table(
        f"at_equal_{comparison.budget}",
        f"Validation pass@1 at equal {comparison.budget}, linear between evaluations, against {results.study.baseline} "
        f"seed by seed; {NOTHING} beyond a run's end, and where evaluations are too far apart. The ratio is what is "
        f"retained of the baseline's. Intervals of an arm's pass@1 are 95 % ones, each for itself.",
        (comparison.budget, "arm", "pass@1", *COMPARED),
        tuple(rows),
        method(results),
    )


def target_table(results: Results) -> Table:
    """Rollouts until validation pass@1 first comes to a target."""
    baseline = results.study.baseline
    costs = {
        (target, name): _costs(runs, target) for target in results.study.targets for name, runs in results.arms.items()
    }
    told = {place: of_arm for place, of_arm in costs.items() if not isinstance(of_arm, str)}
    compared = {
        (target, name): (of_arm, told[target, baseline])
        for (target, name), of_arm in told.items()
        if name != baseline and (target, baseline) in told
    }
    ratios = dict(zip(compared, _ratios(list(compared.values())), strict=True))

    def row(target: float, name: str) -> tuple[str, ...]:
        of_arm, ratio = costs[target, name], ratios.get((target, name), ("", ""))
        return f"{target:.2f}", name, of_arm if isinstance(of_arm, str) else written(mean_interval(of_arm), 0), *ratio

    return Table(
        "rollouts_to_target",
        "Rollouts until validation pass@1 first comes to a target, linear between evaluations. Where a run never does, "
        "or is evaluated too seldom to tell, there is no mean: it would be of the others only. Intervals of an arm's "
        "rollouts are 95 % ones, each for itself.",
        ("target", "arm", "rollouts", f"ratio to {baseline}", ""),
        tuple(row(target, name) for target, name in costs),
        VERDICTS,
    )


def time_table(results: Results) -> Table:
    """Seconds of training, with what the host does in between, without, and by phase; and for the same prompts."""
    baseline = results.study.baseline
    of_kinds = {"training": TRAINING, "without the host's": tuple(phase for phase in TRAINING if phase != "host")}

    def seconds(name: str, phases: Sequence[str], *, per_prompt: bool = False) -> list[float]:
        return [
            sum(run.summary.seconds.get(phase, 0.0) for phase in phases) / (run.summary.prompts if per_prompt else 1)
            for run in results.arms[name]
        ]

    compared = {
        (name, kind, each): (seconds(name, phases, per_prompt=each), seconds(baseline, phases, per_prompt=each))
        for name in results.others
        for kind, phases in of_kinds.items()
        for each in (False, True)
    }
    found = dict(zip(compared, (ratio for ratio, _ in _ratios(list(compared.values()))), strict=True))
    return Table(
        "time",
        "Seconds of training: the wall clock without start, warm start, compilation, evaluation and checkpoints; of "
        "them those without what the host does between sampling and updates; and by phase. Their ratio to "
        f"{baseline} at the end, and for the same number of prompts, with intervals at the levels at which all ratios "
        "of the table are told from 1 (Holm). Of runs that may have shared the machine with others.",
        ("arm", "of", "seconds", "ratio", "ratio per prompt"),
        tuple(
            (
                name,
                kind,
                written(mean_interval(seconds(name, phases)), 1),
                *(found.get((name, kind, each), "") for each in (False, True)),
            )
            for name in results.arms
            for kind, phases in (of_kinds | {phase: (phase,) for phase in TRAINING}).items()
        ),
    )


def power_sentence(results: Results) -> str:
    """What the study could have seen at its end; nothing of too few seeds."""
    if len(results.seeds) < FEWEST:
        return f"{len(results.seeds)} seeds are too few to say what differences they could show."
    finals = {name: [run.summary.final.pass_at_1.value for run in runs] for name, runs in results.arms.items()}
    base, unequal = finals[results.study.baseline], _unmatched(results)
    compared = [name for name in results.others if name not in unequal]
    differences = [np.subtract(finals[name], base).tolist() for name in compared]
    decided = zip(compared, differences, decide(differences), strict=True)
    parts = [f"{name}: ± {_detectable(of_arm, decision)}" for name, of_arm, decision in decided]
    if not parts:
        return f"No arm has spent the same {results.study.matched} as {results.study.baseline}: nothing is compared."
    return (
        f"With {len(results.seeds)} seeds a true difference of test pass@1 to {results.study.baseline} is found with "
        f"80 % power at 5 % from this size on: {'; '.join(parts)}."
    )


def _compared(cells: Sequence[dict[str, list[float]]], baseline: str) -> list[dict[str, tuple[str, ...]]]:
    """Of every cell of one table its arms with `COMPARED`: the fourth is whether the difference is resolved.

    All cells are decided together.

    Args:
      cells: arm -> its values, seed by seed; of a budget, say.
    """
    places = [
        (index, name) for index, values in enumerate(cells) if baseline in values for name in values if name != baseline
    ]
    differences = [np.subtract(cells[index][name], cells[index][baseline]).tolist() for index, name in places]
    compared: list[dict[str, tuple[str, ...]]] = [{} for _ in cells]
    for (index, name), of_arm, decision in zip(places, differences, decide(differences), strict=True):
        compared[index][name] = (
            written(mean_interval(of_arm, decision.alpha)),
            f"{decision.p:.3f}",
            f"{decision.holm:.3f}",
            _verdict(of_arm, decision),
            f"{sign_flip_p(of_arm):.3f}",
            _detectable(of_arm, decision),
            written(_ratio(cells[index][name], cells[index][baseline], decision)),
        )
    return compared


def _ratios(table: Sequence[tuple[list[float], list[float]]]) -> list[tuple[str, str]]:
    """The ratios of one table, (numerators, denominators) each, and whether they are resolved to be another than 1."""
    differences = [np.subtract(*pair).tolist() for pair in table]
    return [
        (written(_ratio(*pair, decision)), _verdict(of_pair, decision))
        for pair, of_pair, decision in zip(table, differences, decide(differences), strict=True)
    ]


def _verdict(differences: Sequence[float], decision: Decision) -> str:
    if len(differences) < FEWEST:
        return "too few seeds"
    if not spread(differences):
        return "no spread"
    return "resolved" if decision.resolved else "unresolved"


def _detectable(differences: Sequence[float], decision: Decision) -> str:
    """What differences so many seeds could have shown, if they spread at all."""
    if len(differences) < FEWEST or not spread(differences):
        return NOTHING
    return f"{detectable(differences, alpha=decision.alpha):.4f}"


def _costs(runs: Sequence[Finished], target: float) -> list[float] | str:
    """Of each run the rollouts to a target; or why there are none of all."""
    costs = [cost_to(run.curve.spent["rollouts"], run.curve.pass_at_1, target) for run in runs]
    came = [cost for cost in costs if cost is not None]
    if len(came) < len(runs):
        return f"{len(came)} of {len(runs)} came to it"
    if not all(seen(run.curve.spent["rollouts"], cost) for run, cost in zip(runs, came, strict=True)):
        return "evaluated too seldom"
    return came


def _unmatched(results: Results) -> dict[str, float]:
    """The arms that have spent something else than the baseline, and how many times as much: see `ALIKE`."""
    budget = results.study.matched
    if budget in COUNTED:
        return {}  # checked before anything ran
    spent = {name: np.mean([run.curve.spent[budget][-1] for run in runs]) for name, runs in results.arms.items()}
    times = {name: float(spent[name] / spent[results.study.baseline]) for name in results.others}
    return {name: ratio for name, ratio in times.items() if abs(ratio - 1) > ALIKE}


def _ratio(numerators: Sequence[float], denominators: Sequence[float], decision: Decision) -> Estimate | None:
    return ratio_interval(numerators, denominators, decision.alpha) if min(denominators) > 0 else None


def method(results: Results) -> str:
    """Return how differences and ratios are decided, and what the columns of `COMPARED` are."""
    n = len(results.seeds)
    return (
        f"{VERDICTS} p is of the paired t test of a row alone, and Holm's of it for "
        f"the table; flips is the exact p of a row alone, of all 2^{n} flips of signs, and with {n} seeds never below "
        f"{2 / 2**n:.4f}. ± is the true difference that so many seeds, spread as these, would find with 80 % power at "
        "the level of the row."
    )
