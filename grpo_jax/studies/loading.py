"""Studies as dictionaries: those of their Python files, and those of study.json. No other module knows the names."""

import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_jax.config import STUDY, ConfigError, did_you_mean, run_file
from grpo_jax.evaluation.paired import ENUMERATED
from grpo_jax.studies.pairing import check_pairing
from grpo_jax.studies.study import VARIABLE, Arm, Budget, ComparisonPoints, Study

BUDGETS = typing.get_args(Budget)
FIELDS = ("question", "seeds", "baseline", "matched", "comparisons", "targets", "varies", "shared", "arms")
ARM_FIELDS = ("config", "overrides")
UNLESS_GIVEN: Mapping[str, Any] = {"varies": ()}  # the other fields must be given


def load_study(path: Path) -> Study:
    """Return the study of a Python file whose `get_study()` returns a dictionary of `FIELDS`, or of a shipped file.

    `arms` maps names to a config file and overrides. `shared` has overrides of all arms; an arm's own take precedence.
    Raises ConfigError if the study cannot be run, or if its comparison would not be valid.
    """
    return checked_study(path, run_file(path, STUDY))


def checked_study(path: Path, values: object) -> Study:
    """Return the study that a file's `get_study()` describes. Raises ConfigError as `load_study` does."""
    where = f"--study={path}"
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: get_study() returned {type(values).__name__}; return a dictionary.")
    values = {**UNLESS_GIVEN, **values}
    sentence = _damage(values)
    if sentence:
        raise ConfigError(f"{where}: {sentence}")
    study = _study(path.stem, values)
    sentence = _names(study)
    if sentence:
        raise ConfigError(f"{where}: {sentence}")
    check_pairing(study, where)
    return study


def to_json(study: Study) -> dict[str, Any]:
    """Return the study as the values of study.json."""
    return {
        "name": study.name,
        "question": study.question,
        "seeds": list(study.seeds),
        "baseline": study.baseline,
        "matched": study.matched,
        "comparisons": {one.budget: list(one.at) for one in study.comparisons},
        "targets": list(study.targets),
        "varies": list(study.varies),
        "arms": {arm.name: {"config": arm.config, "overrides": dict(arm.overrides)} for arm in study.arms},
    }


def from_json(values: Mapping[str, Any]) -> Study:
    """Return the study that `to_json` wrote. Raises ValueError with a sentence if these values are not a study."""
    values = {**UNLESS_GIVEN, **values, "shared": {}}
    name = values.pop("name", None)
    sentence = _damage(values) if isinstance(name, str) else "name: is missing."
    if sentence:
        raise ValueError(sentence)
    return _study(name, values)


def _damage(values: Mapping[str, Any]) -> str:
    """Return a sentence on what `_study` could not read in these values, or ""."""
    return _fields(values, FIELDS) or _kinds(values) or _arms(values["arms"]) or _budgets(values)


def _study(name: str, values: Mapping[str, Any]) -> Study:
    """Return the study that a dictionary of `FIELDS` describes, unchecked."""
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
        comparisons=tuple(ComparisonPoints(budget, tuple(at)) for budget, at in values["comparisons"].items()),
        targets=tuple(values["targets"]),
        varies=tuple(values["varies"]),
    )


def _texts(overrides: Mapping[str, Any]) -> dict[str, str]:
    """Return the overrides as texts, as on the command line."""
    words = {True: "true", False: "false", None: "none"}
    return {
        field: words[value] if value is None or isinstance(value, bool) else str(value)
        for field, value in overrides.items()
    }


# Each of these returns a sentence on a mistake, or "".


def _fields(values: Mapping[str, Any], known: tuple[str, ...], prefix: str = "") -> str:
    for name in values:
        if name not in known:
            return f"{prefix}{name}: unknown field; {did_you_mean(str(name), known)}"
    for name in known:
        if name not in values:
            return f"{prefix}{name}: is missing; set it, as in configs/studies/paper.py."
    return ""


def _kinds(values: Mapping[str, Any]) -> str:
    for field in ("comparisons", "shared", "arms"):
        if not isinstance(values[field], Mapping):
            return f"{field}={values[field]!r}: must be a dictionary, as in configs/studies/paper.py."
    for field in ("question", "baseline"):
        if not isinstance(values[field], str):
            return f"{field}={values[field]!r}: must be a text."
    seeds, targets = values["seeds"], values["targets"]
    if not _is_row(seeds, int) or not seeds or len(set(seeds)) < len(seeds):
        return f"seeds={seeds!r}: must be a tuple of one or more different whole numbers."
    if len(seeds) > ENUMERATED:
        return f"seeds={seeds!r}: must be at most {ENUMERATED}, so that their sign flips can be enumerated."
    if not isinstance(values["varies"], tuple | list) or not set(values["varies"]) <= set(VARIABLE):
        return f"varies={values['varies']!r}: must be a tuple of fields out of {', '.join(VARIABLE)}."
    if not _is_row(targets, float) or not all(0 < target <= 1 for target in targets):
        return f"targets={targets!r}: must be a tuple of shares of right answers, above 0 and at most 1."
    return ""


def _arms(arms: Mapping[str, Any]) -> str:
    for name, arm in arms.items():
        if not isinstance(name, str) or not isinstance(arm, Mapping):
            return f"arms.{name}={arm!r}: must be a dictionary with {' and '.join(ARM_FIELDS)}, under a name."
        if sentence := _fields(arm, ARM_FIELDS, f"arms.{name}."):
            return sentence
        if not isinstance(arm["config"], str) or not isinstance(arm["overrides"], Mapping):
            return f"arms.{name}={dict(arm)!r}: must have the path of a config file and a dictionary of overrides."
    return ""


def _budgets(values: Mapping[str, Any]) -> str:
    for field, budget in [("matched", values["matched"]), *(("comparisons", one) for one in values["comparisons"])]:
        if budget not in BUDGETS:
            return f"{field}: {budget!r} is not a budget; {did_you_mean(str(budget), BUDGETS)}"
    for budget, at in values["comparisons"].items():
        if not _is_row(at, float) or not at or min(at) <= 0:
            return f"comparisons.{budget}={at!r}: must be a tuple of one or more numbers above 0."
    return ""


def _names(study: Study) -> str:
    names = [arm.name for arm in study.arms]
    slugs = {arm.slug for arm in study.arms}
    if len(names) < 2:
        return f"arms={names}: a comparison needs at least two."
    if study.baseline not in names:
        return f"baseline={study.baseline!r}: is not an arm; {did_you_mean(study.baseline, names)}"
    if len(slugs) < len(names) or not all(re.search("[a-z0-9]", slug) for slug in slugs):
        return f"arms={names}: their letters and digits name directories, which must differ; rename an arm."
    return ""


def _is_row(values: object, kind: type[int] | type[float]) -> bool:
    kinds = (int,) if kind is int else (int, float)
    return isinstance(values, tuple | list) and all(type(value) in kinds for value in values)
