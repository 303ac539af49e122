"""The tables of a study, with intervals and tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grpo_jax.config import agreeing, counted
from grpo_jax.evaluation.paired import (
    Decision,
    at_budget,
    cost_to,
    decide,
    detectable,
    is_known_at,
    mean_interval,
    ratio_interval,
    share_interval,
    sign_flip_p,
    spread,
)
from grpo_jax.reporting.study.runs import Finished, Results
from grpo_jax.runs.estimates import Estimate
from grpo_jax.runs.phases import TRAINING
from grpo_jax.studies import ComparisonPoints
from grpo_jax.studies.pairing import COUNTED

NOTHING = "n/a"
MIN_SEEDS = 3  # two differences that happen to be equal have no spread, and would be resolved by chance
ALIKE = 0.05  # the relative difference of budgets that still count as equal, where only the runs could tell
COMPARED = ("difference", "p", "Holm", "", "flips", "± 80 % power", "ratio")
RESOLVED = (
    f"Resolved (with {MIN_SEEDS} seeds or more) means: the difference is not 0, or the ratio not 1, at 5 % for all "
    "rows of a table together (t tests, Holm). Intervals have the level at which their row was decided, so they "
    "exclude 0, or 1, exactly when the row is resolved. None is narrower than a 95 % interval."
)


@dataclass(frozen=True)
class Table:
    """A table of texts, whose first column has names."""

    name: str  # of its files
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    method: str = ""  # how its rows were decided; a page prints it once for all tables


def tables(results: Results) -> list[Table]:
    """Return all tables of a study."""
    return [
        arms_table(results),
        final_table(results),
        *(comparison_table(results, comparison) for comparison in results.study.comparisons),
        target_table(results),
        time_table(results),
    ]


def written(estimate: Estimate | None, digits: int = 3) -> str:
    """Return a number with its interval as text."""
    if estimate is None:
        return NOTHING
    if not np.isfinite(estimate.high - estimate.low):
        return f"{estimate.value:,.{digits}f} [unbounded]"
    return f"{estimate.value:,.{digits}f} [{estimate.low:,.{digits}f}, {estimate.high:,.{digits}f}]"


def arms_table(results: Results) -> Table:
    """Return each arm's result on the test split, and its budgets."""

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
        f"Test pass@1 at the end: the mean over {counted(len(results.seeds), 'seed')} with its interval over seeds. ± "
        "is half the width of a run's own interval, which is over problems. Seconds are those of training: wall-clock "
        "time without start, warm start, compilation, evaluation and checkpoints. Each interval has a level of 95 % "
        "on its own.",
        (*header, "groups with signal", "seconds"),
        tuple(row(name, runs) for name, runs in results.arms.items()),
    )


def final_table(results: Results) -> Table:
    """Return the differences of test pass@1 at the end, for arms that have spent as much as the baseline."""
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
        f"Test pass@1 at the end compared with {results.study.baseline}, seed by seed, for arms that have spent the "
        f"same {results.study.matched}.",
        ("arm", *COMPARED),
        (
            *((name, *cells) for name, cells in compared.items()),
            *((f"{name} ({times:.2f} times the {results.study.matched})", *nothing) for name, times in unequal.items()),
        ),
        method(results),
    )


def comparison_table(results: Results, comparison: ComparisonPoints) -> Table:
    """Return validation pass@1 at equal amounts of one budget."""
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
        f"Validation pass@1 at equal {comparison.budget}, linear between evaluations, compared with "
        f"{results.study.baseline} seed by seed. It is {NOTHING} beyond a run's end, and where evaluations are too far "
        "apart. The ratio is the share of the baseline's pass@1 that is retained. Each interval of an arm's pass@1 has "
        "a level of 95 % on its own.",
        (comparison.budget, "arm", "pass@1", *COMPARED),
        tuple(rows),
        method(results),
    )


def target_table(results: Results) -> Table:
    """Return the rollouts until validation pass@1 first reaches a target."""
    baseline = results.study.baseline
    costs = {
        (target, name): _costs(runs, target) for target in results.study.targets for name, runs in results.arms.items()
    }
    known = {of: of_arm for of, of_arm in costs.items() if not isinstance(of_arm, str)}
    compared = {
        (target, name): (of_arm, known[target, baseline])
        for (target, name), of_arm in known.items()
        if name != baseline and (target, baseline) in known
    }
    ratios = dict(zip(compared, _ratios(list(compared.values())), strict=True))

    def row(target: float, name: str) -> tuple[str, ...]:
        of_arm, ratio = costs[target, name], ratios.get((target, name), ("", ""))
        return f"{target:.2f}", name, of_arm if isinstance(of_arm, str) else written(mean_interval(of_arm), 0), *ratio

    return Table(
        "rollouts_to_target",
        "Rollouts until validation pass@1 first reaches a target, linear between evaluations. If a run never reaches "
        "it, or is evaluated too seldom to tell, there is no mean, since it would leave that run out. Each interval of "
        "an arm's rollouts has a level of 95 % on its own.",
        ("target", "arm", "rollouts", f"ratio to {baseline}", ""),
        tuple(row(target, name) for target, name in costs),
        RESOLVED,
    )


def time_table(results: Results) -> Table:
    """Return the seconds of training, with and without the host's work, by phase, and per prompt."""
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
        "Seconds of training (wall-clock time without start, warm start, compilation, evaluation and checkpoints), the "
        "same without the host's work between sampling and updates, and seconds by phase. Ratios compare them with "
        f"{baseline} at the end, and per prompt; their intervals have the levels at which all ratios of the table are "
        "compared with 1 (Holm). Runs may have shared the machine with others.",
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
    """Return a sentence on the power of the study at its end."""
    if len(results.seeds) < MIN_SEEDS:
        are = agreeing(len(results.seeds), "is", "are")
        return f"{counted(len(results.seeds), 'seed')} {are} too few to estimate the power of the study."
    finals = {name: [run.summary.final.pass_at_1.value for run in runs] for name, runs in results.arms.items()}
    base, unequal = finals[results.study.baseline], _unmatched(results)
    compared = [name for name in results.others if name not in unequal]
    differences = [np.subtract(finals[name], base).tolist() for name in compared]
    decided = zip(compared, differences, decide(differences), strict=True)
    parts = [f"{name}: ± {_detectable(of_arm, decision)}" for name, of_arm, decision in decided]
    if not parts:
        return f"No arm has spent the same {results.study.matched} as {results.study.baseline}, so none is compared."
    return (
        f"With {counted(len(results.seeds), 'seed')}, a true difference of test pass@1 to {results.study.baseline} is "
        f"found with 80 % power, at the level 5 %, if it is at least this large: {'; '.join(parts)}."
    )


def _compared(cells: Sequence[dict[str, list[float]]], baseline: str) -> list[dict[str, tuple[str, ...]]]:
    """Return the columns `COMPARED` of every arm in every cell of one table. All cells are decided together.

    Args:
      cells: each maps an arm to its values, seed by seed. A cell may be one amount of a budget.
    """
    pairs = [
        (index, name) for index, values in enumerate(cells) if baseline in values for name in values if name != baseline
    ]
    differences = [np.subtract(cells[index][name], cells[index][baseline]).tolist() for index, name in pairs]
    compared: list[dict[str, tuple[str, ...]]] = [{} for _ in cells]
    for (index, name), of_arm, decision in zip(pairs, differences, decide(differences), strict=True):
        compared[index][name] = (
            written(mean_interval(of_arm, decision.alpha)),
            f"{decision.p:.3f}",
            f"{decision.holm:.3f}",
            _resolution(of_arm, decision),
            f"{sign_flip_p(of_arm):.3f}",
            _detectable(of_arm, decision),
            written(_ratio(cells[index][name], cells[index][baseline], decision)),
        )
    return compared


def _ratios(table: Sequence[tuple[list[float], list[float]]]) -> list[tuple[str, str]]:
    """Return the ratios of one table, from (numerators, denominators), and whether each is resolved to differ from 1.

    All are decided together.
    """
    differences = [np.subtract(*pair).tolist() for pair in table]
    return [
        (written(_ratio(*pair, decision)), _resolution(of_pair, decision))
        for pair, of_pair, decision in zip(table, differences, decide(differences), strict=True)
    ]


def _resolution(differences: Sequence[float], decision: Decision) -> str:
    if len(differences) < MIN_SEEDS:
        return "too few seeds"
    if not spread(differences):
        return "no spread"
    return "resolved" if decision.resolved else "unresolved"


def _detectable(differences: Sequence[float], decision: Decision) -> str:
    """Return the smallest difference that the seeds could have shown, if they vary at all."""
    if len(differences) < MIN_SEEDS or not spread(differences):
        return NOTHING
    return f"{detectable(differences, alpha=decision.alpha):.4f}"


def _costs(runs: Sequence[Finished], target: float) -> list[float] | str:
    """Return each run's rollouts to a target, or the reason why a run has none."""
    costs = [cost_to(run.curve.spent["rollouts"], run.curve.pass_at_1, target) for run in runs]
    came = [cost for cost in costs if cost is not None]
    if len(came) < len(runs):
        return f"{len(came)} of {len(runs)} reached it"
    if not all(is_known_at(run.curve.spent["rollouts"], cost) for run, cost in zip(runs, came, strict=True)):
        return "evaluated too seldom"
    return came


def _unmatched(results: Results) -> dict[str, float]:
    """Return the arms that have spent another budget than the baseline (see `ALIKE`), and how many times as much."""
    budget = results.study.matched
    if budget in COUNTED:
        return {}  # this was checked before anything ran
    spent = {name: np.mean([run.curve.spent[budget][-1] for run in runs]) for name, runs in results.arms.items()}
    times = {name: float(spent[name] / spent[results.study.baseline]) for name in results.others}
    return {name: ratio for name, ratio in times.items() if abs(ratio - 1) > ALIKE}


def _ratio(numerators: Sequence[float], denominators: Sequence[float], decision: Decision) -> Estimate | None:
    return ratio_interval(numerators, denominators, decision.alpha) if min(denominators) > 0 else None


def method(results: Results) -> str:
    """Return a text on how differences and ratios are decided, and on the columns of `COMPARED`."""
    n = len(results.seeds)
    return (
        f"{RESOLVED} p is that of the row's own paired t test, and Holm is the same p corrected for the table. flips "
        f"is the exact p of the row alone, from all 2^{n} sign flips; with {counted(n, 'seed')} it is at least "
        f"{2 / 2**n:.4f}. ± is the true difference that as many seeds with the same spread would find with 80 % power "
        "at the row's level."
    )
