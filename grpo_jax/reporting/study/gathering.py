"""Plain runs as the arms of a study: those whose configurations differ by their seed only are one arm."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from grpo_jax.config import ConfigError, did_you_mean, digest, from_dict
from grpo_jax.evaluation.paired import ENUMERATED
from grpo_jax.files import CONFIG_FILE
from grpo_jax.reporting.study.runs import Finished, Results, check_scale, read_run
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.studies import Arm, Budget, ComparisonPoints, Study
from grpo_jax.studies.pairing import COUNTED, planned, unlike

COMPARED: tuple[Budget, ...] = ("rollouts", "prompts")
SHARES = (0.25, 0.5, 1.0)  # of what every run has spent: where curves are compared
FREE = ("seed", "checkpoint", "logging")  # of one arm: they do not decide a run's result


def gather(workdirs: Sequence[Path], baseline: str | None, targets: Sequence[float], where: Path) -> Results:
    """The results of finished runs, of the seeds that all their arms have.

    Arms must have spent the same of something at their ends: rollouts, prompts or updates.

    Args:
      baseline: the arm that others are compared with, named as by `arms`; the first if None.
      where: what the report is called in messages.

    Raises:
      FileNotFoundError: if one of them is no run, or is not finished.
      ConfigError: if there is a single arm, if fewer than two seeds are in all arms, or more than can be tested, if an
        arm has a seed twice, a fork or a run without validation, or if arms differ in start, test, scale and all
        budgets.
    """
    every = {name: _by_seed(name, directories) for name, directories in arms(workdirs).items()}
    if len(every) < 2:
        only = next(iter(every))
        raise ConfigError(f"{where}: the runs are of one configuration, {only}; name runs of another, too.")
    baseline = next(iter(every)) if baseline is None else baseline
    if baseline not in every:
        raise ConfigError(f"--baseline={baseline}: is none of the arms; {did_you_mean(baseline, list(every))}")
    every_seed = sorted({seed for runs in every.values() for seed in runs})
    seeds = tuple(seed for seed in every_seed if all(seed in runs for runs in every.values()))
    if len(seeds) > ENUMERATED:
        raise ConfigError(f"{where}: {len(seeds)} seeds are in all arms; name runs of at most {ENUMERATED}.")
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
    """Runs by arm.

    An arm is named by the words that the names of its directories begin with, by the directory that they are in if
    that is a word like seed, or by the whole path of its first.

    Raises:
      FileNotFoundError: if one of them is no run.
    """
    alike: dict[str, list[Path]] = {}
    for workdir in workdirs:
        config = RunDirectory(workdir).config()
        deciding = digest({name: value for name, value in config.items() if name not in FREE})
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
        seed = run.config["seed"]
        if seed in runs:
            raise ConfigError(f"{workdir}: is seed {seed} of {name}, as {runs[seed].directory} is; name one of them.")
        if (run.summary.provenance or {}).get("forked_from"):
            raise ConfigError(
                f"{workdir}: is a fork, so two configurations have spent its budget; leave it out, or draw it by "
                "--compare."
            )
        if not len(run.curve.pass_at_1):
            raise ConfigError(f"{workdir}: was never validated (evaluation.every=0), so it has no curve; leave it out.")
        runs[seed] = run
    return runs


def _check_conditions(arms: Mapping[str, Sequence[Finished]], baseline: str, where: Path) -> None:
    reference = from_dict(arms[baseline][0].config)
    for name, runs in arms.items():
        fields = unlike(from_dict(runs[0].config), reference)
        if fields:
            raise ConfigError(
                f"{where}: {name} differs from {baseline} in {', '.join(fields)}, so the two did not have the same "
                "start and test; leave one of them out."
            )


def _matched(arms: Mapping[str, Sequence[Finished]], baseline: str, where: Path) -> Budget:
    """What all arms have spent equally."""
    configs = {name: from_dict(runs[0].config) for name, runs in arms.items()}
    spent = {budget: {name: planned(config, budget) for name, config in configs.items()} for budget in COUNTED}
    for budget, by_arm in spent.items():
        if len(set(by_arm.values())) == 1 and None not in by_arm.values():
            return budget
    raise ConfigError(
        f"{where}: the arms have spent other numbers of prompts, rollouts and updates each; run them with one budget."
    )


def _points(arms: Mapping[str, Sequence[Finished]], budget: Budget) -> tuple[float, ...]:
    least = min(run.curve.spent[budget][-1] for runs in arms.values() for run in runs)
    return tuple(float(int(least * share)) for share in SHARES)
