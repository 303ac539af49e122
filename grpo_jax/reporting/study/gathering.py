"""Plain runs as the arms of a study: runs whose configurations differ only in their seed form one arm."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from grpo_jax.config import ConfigError, counted, did_you_mean, digest
from grpo_jax.evaluation.paired import ENUMERATED
from grpo_jax.files import CONFIG_FILE
from grpo_jax.reporting.study.runs import Finished, Results, check_scale, read_run
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.studies import Arm, Budget, ComparisonPoints, Study
from grpo_jax.studies.pairing import COUNTED, planned, unlike, unlike_delays

COMPARED: tuple[Budget, ...] = ("rollouts", "prompts")
SHARES = (0.25, 0.5, 1.0)  # of the budget that every run has spent: curves are compared there
MAY_DIFFER = ("seed", "checkpoint", "logging")  # within an arm: the seed, and fields that no result depends on


def gather(workdirs: Sequence[Path], baseline: str | None, targets: Sequence[float], where: Path) -> Results:
    """Return the results of finished runs, for the seeds that all their arms have.

    At their ends, the arms must have spent the same number of rollouts, prompts or updates.

    Args:
      baseline: the arm that others are compared with, with its name from `arms`; None is the first.
      where: the report's directory, for messages.

    Raises:
      FileNotFoundError: if a directory has no run, or the run is not finished.
      ConfigError: if there is only one arm; if all arms share fewer than two seeds, or more than can be tested; if an
        arm has a seed twice, a fork, or a run without validation; or if arms differ in start, test, delay, scale or
        budget.
    """
    every = {name: _by_seed(name, directories) for name, directories in arms(workdirs).items()}
    if len(every) < 2:
        only = next(iter(every))
        raise ConfigError(f"{where}: all runs have one configuration, {only}; name runs of another, too.")
    baseline = next(iter(every)) if baseline is None else baseline
    if baseline not in every:
        raise ConfigError(f"--baseline={baseline}: is not an arm; {did_you_mean(baseline, list(every))}")
    every_seed = sorted({seed for runs in every.values() for seed in runs})
    seeds = tuple(seed for seed in every_seed if all(seed in runs for runs in every.values()))
    if len(seeds) > ENUMERATED:
        raise ConfigError(f"{where}: all arms have {counted(len(seeds), 'seed')}; name runs of at most {ENUMERATED}.")
    if len(seeds) < 2:
        had = "; ".join(f"{name}: {', '.join(map(str, sorted(runs)))}" for name, runs in every.items())
        raise ConfigError(f"{where}: a comparison needs two seeds that all arms have ({had}); run more seeds.")
    paired = {name: [runs[seed] for seed in seeds] for name, runs in every.items()}
    _check_conditions(paired, baseline, where)
    matched = _matched(paired, baseline, where)
    check_scale(paired, where)
    missing = tuple(f"{name}, seed {seed}" for seed in every_seed for name, runs in every.items() if seed not in runs)
    others = " and ".join(name for name in paired if name != baseline)
    study = Study(
        name=where.name,
        question=f"{others} against {baseline}",
        arms=tuple(Arm(name, str(runs[0].directory / CONFIG_FILE), {}) for name, runs in paired.items()),
        baseline=baseline,
        seeds=seeds,
        matched=matched,
        comparisons=tuple(ComparisonPoints(budget, _points(paired, budget)) for budget in COMPARED),
        targets=tuple(targets),
    )
    return Results(study, seeds, paired, missing)


def arms(workdirs: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the runs of each arm, by the arm's name.

    The name is the common beginning of the directories' names, in whole words. If there is none but "seed", it is the
    name of the directory that contains them, or else the path of the first.

    Raises:
      FileNotFoundError: if a directory has no run.
    """
    alike: dict[str, list[Path]] = {}
    for workdir in workdirs:
        config = RunDirectory(workdir).config()
        deciding = digest({name: value for name, value in config.items() if name not in MAY_DIFFER})
        alike.setdefault(deciding, []).append(workdir)
    named: dict[str, list[Path]] = {}
    for together in alike.values():
        label = _label(together)
        named[label if label and label not in named else str(together[0])] = together
    return named


def _label(workdirs: Sequence[Path]) -> str:
    words = os.path.commonprefix([re.split("[_-]", run.name) for run in workdirs])  # noqa: RUF071 - whole words
    if words[-1:] == ["seed"]:
        words = words[:-1]
    if words[:1] not in ([], ["seed"]):
        return workdirs[0].name[: len("_".join(words))]  # with the name's own _ and -
    parents = {workdir.absolute().parent.name for workdir in workdirs}
    return parents.pop() if len(parents) == 1 else ""


def _by_seed(name: str, workdirs: Sequence[Path]) -> dict[int, Finished]:
    runs: dict[int, Finished] = {}
    for workdir in workdirs:
        run = read_run(workdir)
        seed = run.config.seed
        if seed in runs:
            raise ConfigError(f"{workdir}: is seed {seed} of {name}, like {runs[seed].directory}; name one of them.")
        if run.summary.provenance and run.summary.provenance.forked_from:
            raise ConfigError(
                f"{workdir}: is a fork, so two configurations have spent its budget; leave it out, or draw it with "
                "--compare."
            )
        if not len(run.curve.pass_at_1):
            raise ConfigError(f"{workdir}: was never validated (evaluation.every=0), so it has no curve; leave it out.")
        runs[seed] = run
    return runs


def _check_conditions(arms: Mapping[str, Sequence[Finished]], baseline: str, where: Path) -> None:
    reference = arms[baseline][0].config
    for name, runs in arms.items():
        fields = unlike(runs[0].config, reference)
        if fields:
            raise ConfigError(
                f"{where}: {name} differs from {baseline} in {', '.join(fields)}, so the two did not have the same "
                "start and test; leave one of them out."
            )
        if clause := unlike_delays(runs[0].config, reference, baseline):
            raise ConfigError(f"{where}: {name}: {clause}; leave one of them out, or compare them in a study.")


def _matched(arms: Mapping[str, Sequence[Finished]], baseline: str, where: Path) -> Budget:
    """Return a budget of which all arms have spent the same."""
    spent = {budget: {name: planned(runs[0].config, budget) for name, runs in arms.items()} for budget in COUNTED}
    for budget, by_arm in spent.items():
        if len(set(by_arm.values())) == 1 and None not in by_arm.values():
            return budget
    raise ConfigError(
        f"{where}: the arms have spent different numbers of prompts, rollouts and updates; run them with one budget."
    )


def _points(arms: Mapping[str, Sequence[Finished]], budget: Budget) -> tuple[float, ...]:
    least = min(run.curve.spent[budget][-1] for runs in arms.values() for run in runs)
    return tuple(float(int(least * share)) for share in SHARES)
