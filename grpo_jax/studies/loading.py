"""From a study's file, or its directory, to a study."""

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_jax.config import ConfigError, did_you_mean, run_file
from grpo_jax.studies.pairing import check_pairing
from grpo_jax.studies.study import Arm, Budget, Comparison, Study

BUDGETS = typing.get_args(Budget)
FIELDS = ("question", "seeds", "baseline", "matched", "comparisons", "targets", "shared", "arms")


def load_study(path: Path) -> Study:
    """The study of a Python file with `get_study()`, a dictionary of `FIELDS`.

    `arms` are names with a config file and overrides each; `shared` are overrides of all arms, which an arm's own
    precede. Raises ConfigError for what cannot be run or would compare what cannot be compared.
    """
    values = run_file(path, "get_study", "--study")
    where = f"--study={path}"
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: get_study() returned {type(values).__name__}; return a dictionary.")
    for name in values:
        if name not in FIELDS:
            raise ConfigError(f"{where}: {name}: unknown field; {did_you_mean(str(name), FIELDS)}")
    for name in FIELDS:
        if name not in values:
            raise ConfigError(f"{where}: {name}: is missing; give it a value, see configs/studies/paper.py.")
    study = _study(path.stem, values)
    _check(study, where)
    check_pairing(study, where)
    return study


def read_study(workdir: Path) -> Study:
    """The study of a directory, as it was begun. Raises FileNotFoundError if the directory is of none."""
    path = workdir / "study.json"
    if not path.is_file():
        raise FileNotFoundError(f"{workdir}: has no study.json; name the directory of a study")
    values = json.loads(path.read_text())
    return _study(values.pop("name"), {**values, "shared": {}})


def as_json(study: Study) -> dict[str, Any]:
    """What `read_study` reads."""
    return {
        "name": study.name,
        "question": study.question,
        "seeds": list(study.seeds),
        "baseline": study.baseline,
        "matched": study.matched,
        "comparisons": {one.budget: list(one.at) for one in study.comparisons},
        "targets": list(study.targets),
        "arms": {arm.name: {"config": arm.config, "overrides": dict(arm.overrides)} for arm in study.arms},
    }


def begin(study: Study, workdir: Path) -> None:
    """Writes study.json. Raises ConfigError if the directory is of another study; seeds may be added to one."""
    path = workdir / "study.json"
    if path.exists():
        before = read_study(workdir)
        study_now = dataclasses.replace(study, seeds=before.seeds)
        if as_json(before) != as_json(study_now):
            differing = [name for name, value in as_json(study_now).items() if as_json(before)[name] != value]
            raise ConfigError(
                f"--workdir={workdir}: belongs to another study (they differ in {', '.join(differing)}); name another "
                "directory."
            )
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(study), indent=2) + "\n")


def _study(name: str, values: Mapping[str, Any]) -> Study:
    return Study(
        name=name,
        question=values["question"],
        arms=tuple(
            Arm(arm, one["config"], {**_texts(values["shared"]), **_texts(one["overrides"])})
            for arm, one in values["arms"].items()
        ),
        baseline=values["baseline"],
        seeds=tuple(values["seeds"]),
        matched=values["matched"],
        comparisons=tuple(Comparison(budget, tuple(at)) for budget, at in values["comparisons"].items()),
        targets=tuple(values["targets"]),
    )


def _texts(overrides: Mapping[str, Any]) -> dict[str, str]:
    """As on the command line."""
    return {field: str(value).lower() if isinstance(value, bool) else str(value) for field, value in overrides.items()}


def _check(study: Study, where: str) -> None:
    names = [arm.name for arm in study.arms]
    if len(names) < 2:
        raise ConfigError(f"{where}: arms={names}: there must be at least two to compare.")
    if study.baseline not in names:
        raise ConfigError(f"{where}: baseline={study.baseline!r}: is no arm; {did_you_mean(study.baseline, names)}")
    if len({arm.slug for arm in study.arms}) < len(names):
        raise ConfigError(f"{where}: arms={names}: two of them would share a directory; give them other names.")
    _check_distinct(study.seeds, "seeds", where)
    budgets = [study.matched, *(comparison.budget for comparison in study.comparisons)]
    for budget in budgets:
        if budget not in BUDGETS:
            raise ConfigError(f"{where}: {budget!r}: is no budget; {did_you_mean(str(budget), BUDGETS)}")


def _check_distinct(values: Sequence[object], field: str, where: str) -> None:
    if len(set(values)) < len(values) or not values:
        raise ConfigError(f"{where}: {field}={tuple(values)}: must be at least one, and none twice.")
