"""What makes a comparison fair, checked before anything runs: equal tests, equal starts, equal budgets, one scale."""

from typing import Any

from grpo_jax.config import Config, ConfigError, to_dict
from grpo_jax.studies.study import Arm, Budget, Study

# Of the sections that must be equal, what may differ: it changes neither the policy at the start nor the test.
FREE = ("task.credit", "evaluation.every")


def planned(config: Config, budget: Budget) -> float | None:
    """What a run spends; None where only the run itself can tell."""
    prompts = config.train.steps * config.rollout.prompts_per_step
    return {
        "prompts": prompts,
        "rollouts": prompts * config.rollout.group_size,
        "updates": config.train.steps * config.train.minibatches,
    }.get(budget)


def check_pairing(study: Study, where: str) -> None:
    """Raises ConfigError if the arms cannot be compared as the study says, or one of them cannot be run."""
    configs = {arm.name: _configuration(arm, study, where) for arm in study.arms}
    reference = configs[study.baseline]
    for name, config in configs.items():
        for section in ("task", "model", "warm_start", "evaluation"):
            differing = _differing(section, to_dict(reference)[section], to_dict(config)[section])
            if differing:
                raise ConfigError(
                    f"{where}: arms.{name}: differs from {study.baseline} in {', '.join(differing)}, so the two would "
                    "not have the same start and test; set it in `shared`."
                )
        mine, its = config.objective.std_ddof, reference.objective.std_ddof
        if mine != its:
            raise ConfigError(
                f"{where}: arms.{name}: objective.std_ddof={mine}, and {study.baseline} has {its}: that compares "
                "scales; set it in `shared`."
            )
        spent, matched = planned(config, study.matched), planned(reference, study.matched)
        if spent != matched and not config.rollout.max_rollouts:
            raise ConfigError(
                f"{where}: arms.{name}: spends {spent:,} {study.matched}, and {study.baseline} {matched:,}; match them "
                "by train.steps and rollout.prompts_per_step, or name another budget in `matched`."
            )
    for comparison in study.comparisons:
        limits = {name: planned(config, comparison.budget) for name, config in configs.items()}
        known = [limit for limit in limits.values() if limit is not None]
        if known and max(comparison.at) > max(known):
            raise ConfigError(
                f"{where}: comparisons.{comparison.budget}={comparison.at}: no arm spends more than {max(known):,}."
            )


def _configuration(arm: Arm, study: Study, where: str) -> Config:
    if "seed" in arm.overrides:
        raise ConfigError(f"{where}: arms.{arm.name}: overrides the seed; seeds are those of the study, for all arms.")
    try:
        return arm.configuration(study.seeds[0])
    except ConfigError as error:
        raise ConfigError(f"{where}: arms.{arm.name}: {error}") from error


def _differing(field: str, first: Any, second: Any) -> list[str]:
    if field in FREE or first == second:
        return []
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return [name for key in first for name in _differing(f"{field}.{key}", first[key], second[key])]
    return [field]
