"""The tables of a study: what each says, with intervals, and whether it is resolved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grpo_jax.evaluation.paired import (
    Estimate,
    at_budget,
    cost_to,
    detectable,
    holm,
    mean_interval,
    ratio_interval,
    seen,
    share_interval,
    sign_flip_p,
)
from grpo_jax.reporting.study.runs import Finished, Results
from grpo_jax.studies import Comparison
from grpo_jax.studies.pairing import COUNTED

NOTHING = "n/a"
FEWEST = 3  # seeds: two differences that happen to be equal would leave no spread, and be resolved by chance
ALIKE = 0.05  # by how much what arms have spent may differ, where only the runs could tell
COMPARED = ("difference", "p", "Holm", "", "± 80 % power", "ratio")


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first column names."""

    name: str  # of its files
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
    return f"{estimate.value:,.{digits}f} [{estimate.low:,.{digits}f}, {estimate.high:,.{digits}f}]"


def arms_table(results: Results) -> Table:
    """What each arm came to on the test split, and what it spent."""

    def row(name: str, runs: Sequence[Finished]) -> tuple[str, ...]:
        k = runs[0].summary["final"]["k"]
        final = share_interval([run.summary["final"]["pass@1"] for run in runs])
        of_problems = np.mean([np.diff(run.summary["final"]["interval"]["pass@1"]) / 2 for run in runs])
        means = {key: np.mean([run.summary[key] for run in runs]) for key in ("rollouts", "prompts", "updates")}
        return (
            name,
            written(final),
            f"{of_problems:.3f}",
            f"{np.mean([run.summary['final']['pass@k'] for run in runs]):.3f} (k={k})",
            *(f"{means[key]:,.0f}" for key in ("rollouts", "prompts", "updates")),
            f"{100 * np.mean([run.summary['valid_pair_share'] for run in runs]):.1f} %",
            written(mean_interval([run.training_seconds for run in runs]), 1),
        )

    header = ("arm", "test pass@1", "± over problems", "pass@k", "rollouts", "prompts", "updates")
    return Table(
        "arms",
        f"Test pass@1 at the end, mean over {len(results.seeds)} seeds with its interval over seeds; beside it half "
        "the width of a run's own interval, which is over problems and which all runs share. Seconds are of sampling, "
        "rewards and updates.",
        (*header, "groups with signal", "seconds"),
        tuple(row(name, runs) for name, runs in results.arms.items()),
    )


def final_table(results: Results) -> Table:
    """The differences of test pass@1 at the end, of the arms that have spent as much as the baseline."""
    unequal = _unmatched(results)
    values = {
        name: [run.summary["final"]["pass@1"] for run in runs]
        for name, runs in results.arms.items()
        if name not in unequal
    }
    nothing = (NOTHING,) * len(COMPARED)
    return Table(
        "final",
        f"Test pass@1 at the end against {results.study.baseline}, seed by seed, of arms that have spent the same "
        f"{results.study.matched}. {_about_p(results)}",
        ("arm", *COMPARED),
        (
            *_compared(values, results.study.baseline),
            *((f"{name} ({times:.2f} times the {results.study.matched})", *nothing) for name, times in unequal.items()),
        ),
    )


def comparison_table(results: Results, comparison: Comparison) -> Table:
    """Validation pass@1 where the arms have spent as much; one budget."""
    rows: list[tuple[str, ...]] = []
    for at in comparison.at:
        found = {
            name: [at_budget(run.curve.spent[comparison.budget], run.curve.pass_at_1, at) for run in runs]
            for name, runs in results.arms.items()
        }
        values = {name: [v for v in row if v is not None] for name, row in found.items() if None not in row}
        compared = {row[0]: row[1:] for row in _compared(values, results.study.baseline)}
        for name in results.arms:
            mean = written(share_interval(values[name])) if name in values else NOTHING
            rows.append((f"{at:,.10g}", name, mean, *compared.get(name, ("",) * len(COMPARED))))
    return Table(
        f"at_equal_{comparison.budget}",
        f"Validation pass@1 at equal {comparison.budget}, linear between evaluations, against {results.study.baseline} "
        f"seed by seed; {NOTHING} beyond a run's end, and where evaluations are too far apart. The ratio is what is "
        f"retained of the baseline's. {_about_p(results)}",
        (comparison.budget, "arm", "pass@1", *COMPARED),
        tuple(rows),
    )


def target_table(results: Results) -> Table:
    """Rollouts until validation pass@1 first comes to a target."""
    rows = []
    for target in results.study.targets:
        costs = {name: _costs(runs, target) for name, runs in results.arms.items()}
        baseline = costs[results.study.baseline]
        for name, of_arm in costs.items():
            ratio = ""
            if name != results.study.baseline and not isinstance(of_arm, str) and not isinstance(baseline, str):
                ratio = written(_ratio(of_arm, baseline))
            rows.append(
                (
                    f"{target:.2f}",
                    name,
                    of_arm if isinstance(of_arm, str) else written(mean_interval(of_arm), 0),
                    ratio,
                )
            )
    return Table(
        "rollouts_to_target",
        "Rollouts until validation pass@1 first comes to a target, linear between evaluations. Where a run never does, "
        "or is evaluated too seldom to tell, there is no mean: it would be of the others only.",
        ("target", "arm", "rollouts", f"ratio to {results.study.baseline}"),
        tuple(rows),
    )


def time_table(results: Results) -> Table:
    """Seconds of training, in all and for the same prompts."""
    baseline = results.arms[results.study.baseline]

    def per_prompt(run: Finished) -> float:
        return run.training_seconds / run.summary["prompts"]

    rows = tuple(
        (
            name,
            written(mean_interval([run.training_seconds for run in runs]), 1),
            written(_ratio([run.training_seconds for run in runs], [run.training_seconds for run in baseline])),
            written(_ratio([per_prompt(run) for run in runs], [per_prompt(run) for run in baseline])),
        )
        for name, runs in results.arms.items()
    )
    return Table(
        "time",
        f"Seconds of sampling, rewards and updates; their ratio to {results.study.baseline} at the end, and for the "
        "same number of prompts. Of runs that may have shared the machine with others.",
        ("arm", "seconds", "ratio", "ratio per prompt"),
        rows,
    )


def power_sentence(results: Results) -> str:
    """What the study could have seen at its end; nothing of too few seeds."""
    if len(results.seeds) < FEWEST:
        return f"{len(results.seeds)} seeds are too few to say what differences they could show."
    finals = {name: [run.summary["final"]["pass@1"] for run in runs] for name, runs in results.arms.items()}
    base, unequal = finals[results.study.baseline], _unmatched(results)
    compared = [name for name in results.others if name not in unequal]
    parts = [f"{name}: ± {_detectable(np.subtract(finals[name], base).tolist())}" for name in compared]
    if not parts:
        return f"No arm has spent the same {results.study.matched} as {results.study.baseline}: nothing is compared."
    return (
        f"With {len(results.seeds)} seeds a true difference of test pass@1 to {results.study.baseline} is found with "
        f"80 % power at 5 % from this size on: {'; '.join(parts)}."
    )


def _compared(values: dict[str, list[float]], baseline: str) -> list[tuple[str, ...]]:
    """Of each arm its name, and `COMPARED`: the fourth is whether the difference is resolved."""
    if baseline not in values:
        return []
    base = values[baseline]
    others = [name for name in values if name != baseline]
    differences = {name: np.subtract(values[name], base).tolist() for name in others}
    p = [sign_flip_p(differences[name]) for name in others]
    rows: list[tuple[str, ...]] = []
    for name, raw, corrected in zip(others, p, holm(p) if p else [], strict=True):
        difference, ratio = written(mean_interval(differences[name])), written(_ratio(values[name], base))
        p_values = f"{raw:.3f}", f"{corrected:.3f}"
        rows.append((name, difference, *p_values, _verdict(differences[name]), _detectable(differences[name]), ratio))
    return rows


def _verdict(differences: Sequence[float]) -> str:
    if len(differences) < FEWEST:
        return "too few seeds"
    if not _spread(differences):
        return "no spread"
    estimate = mean_interval(differences)
    return "resolved" if estimate.low > 0 or estimate.high < 0 else "unresolved"


def _detectable(differences: Sequence[float]) -> str:
    """What differences so many seeds could have shown, if they spread at all."""
    return f"{detectable(differences):.4f}" if len(differences) >= FEWEST and _spread(differences) else NOTHING


def _spread(differences: Sequence[float]) -> bool:
    """Whether seeds differ at all; if not, no number of them says anything of others."""
    return bool(np.ptp(differences) > 1e-12)


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


def _ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate | None:
    return ratio_interval(numerators, denominators) if min(denominators) > 0 else None


def _about_p(results: Results) -> str:
    n = len(results.seeds)
    return (
        f"Resolved: the t interval of the difference leaves out 0, with {FEWEST} seeds or more. p is of all 2^{n} "
        f"flips of signs, and with {n} seeds never below {2 / 2**n:.4f}; Holm's correction is over a budget's arms. "
        "± is the true difference that so many seeds, spread as these, would find with 80 % power at 5 %."
    )
