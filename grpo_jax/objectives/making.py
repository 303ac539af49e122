"""Make an objective from a configuration."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from grpo_jax.config import ConfigError, ObjectiveConfig, Range, RolloutConfig, blaming, did_you_mean, imported
from grpo_jax.objectives.advantages import Estimator
from grpo_jax.objectives.aggregation import AGGREGATIONS
from grpo_jax.objectives.kl import KL_ESTIMATORS
from grpo_jax.objectives.objective import Objective
from grpo_jax.objectives.outcomes import Outcomes
from grpo_jax.objectives.ratios import CORRECTIONS
from grpo_jax.objectives.recipes import OBJECTIVES, Recipe
from grpo_jax.types import Groups

# The parameters of an objective's functions that have a field of their own in the section `objective`.
FIELDS: Mapping[str, str] = {
    "clip_low": "clip_low",
    "clip_high": "clip_high",
    "ddof": "std_ddof",
    "epsilon": "std_epsilon",
    "tolerance": "no_signal_tolerance",
}


def make_objective(config: ObjectiveConfig, group_size: int) -> Objective:
    """Make the objective that a configuration names, for groups of this size.

    Raises:
      ConfigError: if the name is unknown, the objective is not defined for groups of this size, a parameter is unknown
        or out of its range, a user's function fails or does not leave out completions without a verdict, or the shared
        prefix carries signal and should carry no gradient.
    """
    recipe = _recipe(config.name)
    if recipe.group_size not in (None, group_size):
        raise ConfigError(
            f"rollout.group_size={group_size}: the objective {config.name} is defined on groups of "
            f"{recipe.group_size}; set it to that, or objective.name to n_vs_m or grpo."
        )
    given: dict[str, float] = {name: getattr(config, field) for name, field in FIELDS.items()}
    functions = (recipe.advantages, recipe.surrogate)
    annotations = f"objective.name={config.name!r}: the annotations of its functions cannot be read"
    with blaming(annotations, "import what they name at run time, too"):
        parameters = [parameter for function in functions for parameter in _parameters(function)]
    _check_parameters(config, given, parameters)
    estimator, surrogate = (_bind(function, {**given, **config.parameters}) for function in functions)
    of_user = f"objective.name={config.name!r}: its" if ":" in config.name else ""
    if of_user:
        with blaming(f"{of_user} advantages cannot be used"):
            leaves_out_unscored = _leaves_out_unscored(estimator, group_size)
        if not leaves_out_unscored:
            raise ConfigError(
                f"{of_user} advantages use the reward of a completion that has no verdict, or give it an advantage; "
                "leave out what is not `scored` in the Outcomes, as mean_and_count in grpo_jax/objectives/outcomes.py "
                "does."
            )
    after_prefix = config.credit == "after_prefix"
    if after_prefix and not _balances_groups(estimator, group_size):
        raise ConfigError(
            f"objective.credit='after_prefix': under {config.name} the advantages of a group do not add up to 0, so "
            "the tokens with which all its completions begin carry signal; set it to 'all', or choose an objective "
            "whose baseline is the group's mean, such as grpo."
        )
    objective = Objective(
        advantages=estimator,
        surrogate=surrogate,
        aggregation=AGGREGATIONS[recipe.aggregation if config.aggregation == "published" else config.aggregation],
        surrogate_needs_reference=recipe.needs_reference,
        kl_coef=config.kl_coef,
        kl=KL_ESTIMATORS[config.kl_estimator],
        correction=partial(CORRECTIONS[config.importance_beyond], limit=config.importance_cap)
        if config.importance_cap
        else None,
        after_prefix=after_prefix,
        unit_rewards=recipe.unit_rewards,
        needs_success=recipe.needs_success,
        has_tolerance="tolerance" in _settable(_parameters(recipe.advantages)),
    )
    if of_user:
        with blaming(f"{of_user} surrogate cannot be used"):
            old, moved = _logprobs(group_size)
            if not jnp.isfinite(_gradient(objective, moved, old)).all():
                raise ValueError("its gradient is not finite")
    return objective


def _balances_groups(estimator: Estimator, group_size: int) -> bool:
    """Return whether every group's advantages add up to 0, as tried on a mixed group and on two of one kind."""

    @jax.jit
    def sums() -> Float[Array, " 3"]:
        rewards = _rewards(group_size)
        return estimator(_outcomes(rewards, rewards >= 0)).sum(-1)

    return bool(jnp.allclose(sums(), 0.0, atol=1e-5))


def _leaves_out_unscored(estimator: Estimator, group_size: int) -> bool:
    """Return whether a completion without a verdict gets no advantage, and changes no other, as tried on three groups.

    Its reward is 0 in a run. An estimator that takes it for a reward of 0 would learn that it was wrong.
    """

    @jax.jit
    def advantages(unscored: Float[Array, ""]) -> Array:  # of any shape, since the estimator may be a user's
        scored = jnp.arange(group_size)[None] > jnp.array([[0], [0], [-1]])
        return estimator(_outcomes(jnp.where(scored, _rewards(group_size), unscored), scored))

    found = advantages(jnp.float32(0.0))
    if found.shape != (3, group_size):
        raise ValueError(f"for rewards of the shape {(3, group_size)} their shape is {found.shape}")
    if not jnp.isfinite(found).all():
        raise ValueError("they are not finite")
    return bool((found[:2, 0] == 0).all() & jnp.array_equal(found, advantages(jnp.float32(1.0))))


def _rewards(group_size: int) -> Float[Array, "3 G"]:
    """Return the rewards of a mixed group, of one that is all right, and of one that is all wrong."""
    places = jnp.arange(group_size)
    return jnp.stack([places % 2, places >= 0, places < 0]).astype(jnp.float32)


def _outcomes(rewards: Float[Array, "3 G"], scored: Bool[Array, "3 G"]) -> Outcomes:
    """Return three groups with these rewards, of which no two completions are of one length."""
    lengths = jnp.broadcast_to(jnp.arange(rewards.shape[1]) + 1, rewards.shape)
    past = {"expected": jnp.array([0.3, 0.5, 0.9]), "evidence": jnp.full(3, 2.0), "success": jnp.full(3, 0.4)}
    return Outcomes(rewards=rewards, scored=scored, lengths=lengths, **past)


def check_updates(config: ObjectiveConfig, objective: Objective, rollout: RolloutConfig, minibatches: int) -> None:
    """Raise ConfigError if an objective without a ratio would learn from samples of an older policy.

    It would if a batch has several updates, or if an older policy samples (`rollout.delay`) and no importance weights
    correct for that.

    Without a ratio to the old policy, as in A log pi, the gradient stays the same when the policy moves. This is
    measured by moving the policy a little, within every clip. So it works for the surrogate of any `Recipe`.
    """
    uncorrected = rollout.delay > 0 and objective.correction is None
    if minibatches == 1 and not uncorrected:
        return
    old, moved = _logprobs(rollout.group_size)
    if not jnp.allclose(_gradient(objective, old, old), _gradient(objective, moved, old), rtol=1e-6, atol=0.0):
        return
    if minibatches > 1:
        raise ConfigError(
            f"train.minibatches={minibatches}: {config.name} has no ratio to an old policy and is for one update a "
            "batch; set it to 1, or choose an objective with a ratio, such as grpo."
        )
    raise ConfigError(
        f"rollout.delay={rollout.delay}: {config.name} has no ratio to the older policy that samples; set "
        "objective.old_logprobs to 'trainer' and objective.importance_cap to 1 or more, or choose an objective with a "
        "ratio, such as grpo."
    )


def check_resampling(config: ObjectiveConfig, objective: Objective, rollout: RolloutConfig) -> None:
    """Raise ConfigError if groups are to be replaced, and advantages cannot be estimated for each group alone.

    Advantages that are not finite would count as signal.
    """
    if not rollout.max_rollouts:
        return
    cannot = f"rollout.max_rollouts={rollout.max_rollouts}: the advantages of {config.name} cannot be used for a group"
    with blaming(f"{cannot} alone, by which it is or is not replaced", "correct them, or set it to 0"):
        rewards = _rewards(rollout.group_size)
        if not jnp.isfinite(jax.jit(objective.advantages_alone)(_outcomes(rewards, rewards >= 0))).all():
            raise ValueError("they are not finite")


def has_ratio(objective: Objective, group_size: int) -> bool:
    """Return whether the gradient of an objective depends on the log-probabilities of the policy that sampled.

    Importance weights between sampler and trainer do not count.
    """
    alone = dataclasses.replace(objective, correction=None)
    old, moved = _logprobs(group_size)
    return not jnp.allclose(_gradient(alone, old, old), _gradient(alone, old, moved), rtol=1e-6, atol=0.0)


def _logprobs(group_size: int) -> tuple[Float[Array, "1 G 3"], Float[Array, "1 G 3"]]:
    """Return log-probabilities of a group, and others that are within every clip of them."""
    old = jnp.full((1, group_size, 3), -1.0)
    return old, old + jnp.linspace(-0.03, 0.02, old.size).reshape(old.shape)


def _gradient(
    objective: Objective, logprobs: Float[Array, "1 G 3"], sampler_logprobs: Float[Array, "1 G 3"]
) -> Float[Array, "1 G 3"]:
    """Return the gradient with respect to log-probabilities of a group in which every second completion is right."""
    groups = Groups.without_texts(
        completion_lengths=jnp.full(logprobs.shape[:-1], logprobs.shape[-1]),
        advantages=jnp.where(jnp.arange(logprobs.shape[1]) % 2 == 0, 1.0, -1.0)[None],
        sampler_logprobs=sampler_logprobs,
        reference_logprobs=jnp.full(logprobs.shape, -1.0) if objective.surrogate_needs_reference else None,
    )
    alone = dataclasses.replace(objective, kl_coef=0.0)  # the gradient of a KL term does not involve the advantages
    return jax.jit(jax.grad(lambda values: alone.loss(values, groups).total))(logprobs)


def unread_fields(config: ObjectiveConfig) -> list[str]:
    """Return the fields that a configuration has changed, although no function of its objective reads them."""
    recipe, default = _recipe(config.name), ObjectiveConfig()
    read = _settable([*_parameters(recipe.advantages), *_parameters(recipe.surrogate)])
    unread = [field for name, field in FIELDS.items() if name not in read]
    return [field for field in unread if getattr(config, field) != getattr(default, field)]


def keeps_reference(config: ObjectiveConfig) -> bool:
    """Return whether a run keeps the base policy as the reference, which its objective or a KL term may need.

    Raises:
      ConfigError: if the objective is unknown.
    """
    return _recipe(config.name).needs_reference or config.kl_coef > 0


def _recipe(name: str) -> Recipe:
    """Return the recipe of this name: one of OBJECTIVES, or the user's own `package.module:NAME`."""
    if ":" not in name:
        if name not in OBJECTIVES:
            raise ConfigError(
                f"objective.name={name!r}: unknown; {did_you_mean(name, list(OBJECTIVES))} "
                "A Recipe of your own is named package.module:NAME."
            )
        return OBJECTIVES[name]
    recipe = imported("objective.name", name)
    if (
        not isinstance(recipe, Recipe)
        or recipe.aggregation not in AGGREGATIONS
        or not (callable(recipe.advantages) and callable(recipe.surrogate))
    ):
        raise ConfigError(
            f"objective.name={name!r}: is not a Recipe of two functions, with an aggregation out of "
            f"{', '.join(AGGREGATIONS)}; make it one, see grpo_jax/objectives/recipes.py."
        )
    return recipe


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return a function's parameters after the first one, with evaluated annotations, which may hold a `Range`."""
    return list(inspect.signature(function, eval_str=True).parameters.values())[1:]


def _settable(parameters: Sequence[inspect.Parameter]) -> list[str]:
    """Return the names of the parameters that a configuration can set."""
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def _check_parameters(
    config: ObjectiveConfig, given: Mapping[str, float], parameters: Sequence[inspect.Parameter]
) -> None:
    """Raise ConfigError if a value cannot reach its parameter, or is out of its range.

    Args:
      given: the values of fields, by the parameters' names.
      parameters: those of both functions.
    """
    settable = _settable(parameters)
    own = [name for name in settable if name not in given]
    for parameter in parameters:
        if parameter.name not in settable and parameter.name in {*given, *config.parameters}:
            raise ConfigError(
                f"objective.name={config.name!r}: its parameter {parameter.name} is not keyword-only, so nothing in a "
                "configuration sets it; write * before it."
            )
    for name, value in config.parameters.items():
        if name not in own:
            has = did_you_mean(name, own) if own else "it has none; take the entry out."
            raise ConfigError(f"objective.parameters.{name}={value}: is not a parameter of {config.name}; {has}")
        annotations = [parameter.annotation for parameter in parameters if parameter.name == name]
        for allowed in (mark for kind in annotations for mark in getattr(kind, "__metadata__", ())):
            if isinstance(allowed, Range) and not allowed.admits(value):
                raise ConfigError(f"objective.parameters.{name}={value}: must be {allowed}.")


def _bind(function: Callable[..., Any], values: Mapping[str, float]) -> Callable[..., Any]:
    """Return the function with its parameters set to these values; values of other parameters are ignored."""
    return partial(function, **{name: values[name] for name in _settable(_parameters(function)) if name in values})
