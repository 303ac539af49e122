"""A study's directory: study.json says whose it is.

study.json                 the study
runs/ARM/seed_S/           a run directory
logs/ARM.seed_S.log        what that run printed
compiled/                  programs that runs share
report/                    written when all runs are finished
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_jax.config import ConfigError, to_dict
from grpo_jax.files import read_json, write_whole
from grpo_jax.studies.loading import study_from
from grpo_jax.studies.pairing import differing
from grpo_jax.studies.study import Run, Study


def read_study(workdir: Path) -> Study:
    """The study of a directory, as it was begun.

    Raises:
      FileNotFoundError: if the directory is of none.
      ConfigError: if study.json is damaged.
    """
    path = workdir / "study.json"
    if not path.is_file():
        raise FileNotFoundError(f"{workdir}: has no study.json; name the directory of a study")
    values = read_json(path)
    return study_from(values["name"], {**values, "shared": {}})


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
    """Writes study.json, whole or not at all; seeds may be added to a study that is there.

    Raises:
      ConfigError: if the directory is of another study, if a run in it is of another configuration, as when a config
        file was edited since, or if it cannot be written to.
    """
    if (workdir / "study.json").exists():
        _check_same(read_study(workdir), study, workdir)
    _check_runs(study, workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_whole(workdir / "study.json", json.dumps(as_json(study), indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"--workdir={workdir}: cannot be written to ({error.strerror}); name another.") from error


def _check_same(there: Study, here: Study, workdir: Path) -> None:
    theirs, ours = as_json(there), as_json(here)
    removed = sorted(set(there.seeds) - set(here.seeds))
    if removed:
        raise ConfigError(
            f"--workdir={workdir}: has the seeds {removed}, which the study no longer names; seeds can be added, not "
            "taken away."
        )
    fields = differing({**theirs, "seeds": ours["seeds"]}, ours)
    if fields:
        raise ConfigError(
            f"--workdir={workdir}: belongs to another study (they differ in {', '.join(fields)}); name another "
            "directory."
        )


def _check_runs(study: Study, workdir: Path) -> None:
    """What decides a run must be in its config.json as in the study; how often it is saved or evaluated need not."""
    for arm in study.arms:
        ours = _deciding(to_dict(arm.configuration(study.seeds[0])))
        for seed in study.seeds:
            path = Run(arm, seed).directory(workdir) / "config.json"
            if not path.exists():
                continue
            fields = differing(_deciding(read_json(path)), {**ours, "seed": seed}, free=("evaluation.every",))
            if fields:
                raise ConfigError(
                    f"{path}: is not of arms.{arm.name} as it is now (they differ in {', '.join(fields)}); undo the "
                    "change, or name another --workdir."
                )


def _deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: section for name, section in config.items() if name not in ("checkpoint", "logging")}
