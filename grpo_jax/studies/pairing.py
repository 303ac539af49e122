"""The rules of a fair comparison, checked before anything runs: equal starts, tests and budgets, and one scale."""

from typing import Any

from grpo_jax.config import Config, ConfigError, QuestionsConfig, differing, may_judge, to_dict
from grpo_jax.evaluation.paired import WIDEST
from grpo_jax.studies.study import Arm, Budget, Study

# Fields of the sections below that may differ, because they change neither the policy at the start nor the test.
MAY_DIFFER = ("task.credit", "evaluation.every")

COUNTED: tuple[Budget, ...] = ("prompts", "rollouts", "updates")  # known before a run


def planned(config: Config, budget: Budget) -> int | None:
    """Return the budget that a run spends (for updates, at most); None if only the run can tell, as with resampling."""
    if config.rollout.max_rollouts and budget in ("prompts", "rollouts"):
        return None
    prompts = config.train.steps * config.rollout.prompts_per_step
    return {
        "prompts": prompts,
        "rollouts": prompts * config.rollout.group_size,
        "updates": config.train.steps * config.train.minibatches,
    }.get(budget)


def check_pairing(study: Study, where: str) -> None:
    """Raise ConfigError if the arms cannot be compared as the study says, or if one of them cannot be run."""
    configs = {arm.name: _configuration(arm, study, where) for arm in study.arms}
    reference = configs[study.baseline]
    for name, config in configs.items():
        mistake = (
            _same_conditions(config, reference, study)
            or _same_delay(config, reference, study)
            or _same_scale(config, reference, study)
            or _same_budget(config, reference, study)
            or _long_enough(config, study)
            or _evaluated(config, study)
            or _judged(config)
        )
        if mistake:
            raise ConfigError(f"{where}: arms.{name}: {mistake}")


# Each of these returns a sentence on a mistake in an arm, or "".


def _same_conditions(config: Config, reference: Config, study: Study) -> str:
    fields = unlike(config, reference)
    if not fields:
        return ""
    return (
        f"differs from {study.baseline} in {', '.join(fields)}, so the two would not have the same start and test; set "
        "the same value in `shared`."
    )


def unlike(config: Config, reference: Config) -> list[str]:
    """Return the fields in which two runs differ, among those that decide the base policy or the test."""
    return differing(_conditions(config), _conditions(reference), free=MAY_DIFFER)


def _conditions(config: Config) -> dict[str, Any]:
    """Return the values that decide the base policy and the measurements."""
    values = to_dict(config)
    sections = {name: values[name] for name in ("task", "model", "warm_start", "evaluation", "mesh")}
    return {**sections, "rollout": {"max_new_tokens": config.rollout.max_new_tokens}}


def _same_delay(config: Config, reference: Config, study: Study) -> str:
    if "rollout.delay" in study.varies or not (clause := unlike_delays(config, reference, study.baseline)):
        return ""
    return f"{clause}; set it in `shared`, or write `varies` = ('rollout.delay',) if that is the question."


def unlike_delays(config: Config, reference: Config, baseline: str) -> str:
    """Return a clause on how two runs differ in staleness; "" if they do not."""
    mine, its = config.rollout.delay, reference.rollout.delay
    if mine == its:
        return ""
    return f"rollout.delay={mine}, and {baseline} has {its}: one learns from samples of an older policy than the other"


def _same_scale(config: Config, reference: Config, study: Study) -> str:
    mine, its = config.objective.std_ddof, reference.objective.std_ddof
    if mine == its:
        return ""
    return (
        f"objective.std_ddof={mine}, and {study.baseline} has {its}: this would compare scales of the gradient; set it "
        "in `shared`."
    )


def _same_budget(config: Config, reference: Config, study: Study) -> str:
    spent, matched = planned(config, study.matched), planned(reference, study.matched)
    if spent is None and study.matched in COUNTED:
        return (
            f"rollout.max_rollouts={config.rollout.max_rollouts}: groups are replaced, so only the run can tell how "
            f"many {study.matched} it samples; set `matched` to updates."
        )
    if spent == matched or spent is None or matched is None:
        return ""
    return (
        f"spends {spent:,} {study.matched}, and {study.baseline} {matched:,}; match them with train.steps and "
        "rollout.prompts_per_step, or name another budget in `matched`."
    )


def _long_enough(config: Config, study: Study) -> str:
    for comparison in study.comparisons:
        limit = planned(config, comparison.budget)
        if limit is not None and max(comparison.at) > limit:
            return (
                f"spends {limit:,} {comparison.budget}, and comparisons.{comparison.budget}={comparison.at} goes "
                "beyond; compare at no more than every arm spends."
            )
    return ""


def _evaluated(config: Config, study: Study) -> str:
    """Check that curves are known at the points of comparison (see `grpo_jax.evaluation.paired.is_known_at`)."""
    if not config.evaluation.every:
        return "evaluation.every=0: without validation there is no curve; set it to a number of steps."
    for comparison in study.comparisons:
        limit = planned(config, comparison.budget)
        if limit is None:
            continue  # the report leaves out points that it cannot read
        per_step = limit / config.train.steps
        apart = config.evaluation.every * per_step
        for at in comparison.at:
            # Neither at an evaluation nor between two that are close together.
            if at % apart and at != limit and apart > WIDEST * at:
                return (
                    f"evaluation.every={config.evaluation.every}: evaluates every {apart:,.0f} {comparison.budget}, "
                    f"too seldom for comparisons.{comparison.budget}={at:,}; set it to at most "
                    f"{max(int(WIDEST * at / per_step), 1)}, or compare later."
                )
    return ""


def _judged(config: Config) -> str:
    if not isinstance(config.task, QuestionsConfig) or may_judge(config.task.reward):
        return ""
    return (
        f"task.reward.terms={dict(config.task.reward.terms)}: none says what is right, so there is no pass@1 to "
        "compare; add a term that judges answers, such as mathematics."
    )


def _configuration(arm: Arm, study: Study, where: str) -> Config:
    if "seed" in arm.overrides:
        raise ConfigError(f"{where}: arms.{arm.name}: overrides the seed; all arms have the seeds of the study.")
    try:
        return arm.configuration(study.seeds[0])
    except ConfigError as error:
        raise ConfigError(f"{where}: arms.{arm.name}: {error}") from error
