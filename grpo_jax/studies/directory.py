"""A study's directory. Its study.json records the study.

study.json                 the study
runs/ARM/seed_S/           a run directory
logs/ARM.seed_S.log        the output of that run
compiled/                  compiled programs, which runs share
report/                    written when all runs are finished
"""

import dataclasses
import json
from pathlib import Path

from grpo_jax.config import CHANGEABLE_FREELY, ROUNDING, ConfigError, differing, to_dict
from grpo_jax.files import CONFIG_FILE, STUDY_FILE, read_json, run_config, write_whole
from grpo_jax.studies.loading import from_json, to_json
from grpo_jax.studies.study import Study, StudyRun


def read_study(workdir: Path) -> Study:
    """Return the study of a directory, as it was begun.

    Raises:
      FileNotFoundError: if the directory has no study.
      ConfigError: if study.json is damaged.
    """
    path = workdir / STUDY_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{workdir}: has no study.json; name the directory of a study")
    values = read_json(path)
    try:
        return from_json(values)
    except ValueError as error:
        sentence = str(error).rstrip(".")
        raise ConfigError(f"{path}: is damaged ({sentence}); restore it, or name another directory.") from error


def begin(study: Study, workdir: Path) -> None:
    """Write study.json, whole or not at all. A study that exists may get more seeds, and its question other words.

    Raises:
      ConfigError: if the directory belongs to another study or to a run, if a run in it has another configuration (for
        example because a config file was edited), or if it cannot be written to.
    """
    if (workdir / CONFIG_FILE).exists():
        raise ConfigError(f"--workdir={workdir}: is the directory of a run; name another for a study.")
    if (workdir / STUDY_FILE).exists():
        _check_same(read_study(workdir), study, workdir)
    _check_runs(study, workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_whole(workdir / STUDY_FILE, json.dumps(to_json(study), indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"--workdir={workdir}: cannot be written to ({error.strerror}); name another.") from error


def _check_same(there: Study, here: Study, workdir: Path) -> None:
    removed = sorted(set(there.seeds) - set(here.seeds))
    if removed:
        raise ConfigError(
            f"--workdir={workdir}: has the seeds {removed}, which the study no longer has; seeds can be added, but not "
            "removed."
        )
    alike = dataclasses.replace(there, seeds=here.seeds, question=here.question)
    if fields := differing(to_json(alike), to_json(here)):
        raise ConfigError(
            f"--workdir={workdir}: belongs to another study (they differ in {', '.join(fields)}); name another "
            "directory."
        )


def _check_runs(study: Study, workdir: Path) -> None:
    """Raise ConfigError if the config.json of a run is not that of the study.

    How often a finished run was saved or evaluated may differ, and so may what decides no more than the last digits.
    """
    for arm in study.arms:
        ours = to_dict(arm.configuration(study.seeds[0]))
        for seed in study.seeds:
            run = StudyRun(arm, seed)
            path = run.directory(workdir) / CONFIG_FILE
            if not path.exists():
                continue
            free = (*ROUNDING, *(CHANGEABLE_FREELY if run.finished(workdir) else ()))
            fields = differing(run_config(path.parent), {**ours, "seed": seed}, free=free)
            if fields:
                raise ConfigError(
                    f"{path}: differs from arms.{arm.name} as it is now (in {', '.join(fields)}); undo the change, or "
                    "name another --workdir."
                )
