"""Make a reward from a configuration."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import regex

from grpo_jax.config import ConfigError, RewardConfig, did_you_mean, imported
from grpo_jax.rewards import terms
from grpo_jax.rewards.extraction import compiled, extract
from grpo_jax.rewards.mathematics.reward import Mathematics
from grpo_jax.rewards.per_attempt import PerAttempt
from grpo_jax.rewards.service import Served, Service
from grpo_jax.rewards.verdict import Attempt, Equating, Reward, Verdict
from grpo_jax.rewards.weighted_sum import Term, WeightedSum


def _mathematics(config: RewardConfig, max_new_tokens: int) -> Mathematics:
    return Mathematics(config)


def _mathematics_any_form(config: RewardConfig, max_new_tokens: int) -> Mathematics:
    return Mathematics(config, any_form=True)


REWARDS: Mapping[str, Callable[[RewardConfig, int], Equating]] = {
    "mathematics": _mathematics,
    "mathematics_any_form": _mathematics_any_form,
    "exact": terms.exact,
    "numeric": terms.numeric,
    "boxed_format": terms.boxed_format,
    "overlong": terms.overlong,
    "last_value": terms.last_value_of_chain,
}


def make_reward(config: RewardConfig, max_new_tokens: int) -> Reward:
    """Return the weighted sum that a configuration describes. No process starts before `warm` or `judge`.

    Args:
      max_new_tokens: the length at which completions are cut off.

    Raises:
      ConfigError: for a name, weight, pattern or function that cannot be used.
    """
    if not config.terms:
        raise ConfigError(f"task.reward.terms={{}}: must have at least one term; known are {', '.join(REWARDS)}.")
    for name, weight in config.terms.items():
        if not 1e-12 <= abs(weight) <= 1e12:
            raise ConfigError(f"task.reward.terms.{name}={weight}: must be from 1e-12 to 1e12, or the same below 0.")
    _check_pattern(config.answer_pattern)
    return WeightedSum([Term(name, config.terms[name], _make(name, config, max_new_tokens)) for name in _order(config)])


def _order(config: RewardConfig) -> list[str]:
    """Return the terms in the order in which they decide what is right.

    The project's own come first, as `REWARDS` lists them, then the user's by descending weight. The order in the
    configuration must not matter, because a dictionary is the same in any order.
    """
    ours = [name for name in REWARDS if name in config.terms]
    others = sorted(config.terms.keys() - set(ours), key=lambda name: (-config.terms[name], name))
    return ours + others


def _make(name: str, config: RewardConfig, max_new_tokens: int) -> Equating:
    if ":" in name:
        return _of_user(name, config.answer_pattern)
    if name not in REWARDS:
        raise ConfigError(
            f"task.reward.terms={name!r}: no such reward; {did_you_mean(name, list(REWARDS))} "
            "A function of your own is named package.module:function."
        )
    return REWARDS[name](config, max_new_tokens)


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups  # which has fewer constructs than regex
        compiled(pattern)
    except (re.error, regex.error) as error:
        raise ConfigError(f"task.reward.answer_pattern={pattern!r}: is not a regular expression: {error}.") from error
    if pattern and groups != 1:
        raise ConfigError(f"task.reward.answer_pattern={pattern!r}: must have exactly one group, which is the answer.")


def _of_user(name: str, answer_pattern: str) -> Equating:
    """Return the reward of `package.module:NAME`: a function of an `Attempt`, or a `Service`.

    A number of 1 or more is right. A function that returns a `Verdict` says itself what is right, or that it does not
    know.
    """
    function = imported("task.reward.terms", name)
    if isinstance(function, Service):
        return Served(name, function, answer_pattern)
    if not callable(function):
        raise ConfigError(
            f"task.reward.terms={name!r}: is not a function; name one that takes an Attempt and returns a number, or a "
            "Service."
        )
    if mistake := _not_of_one_attempt(function):
        raise ConfigError(
            f"task.reward.terms={name!r}: {mistake}; write a function that takes one Attempt and returns a number."
        )

    def verify(attempt: Attempt) -> Verdict:
        found = function(attempt)
        if found is None:
            raise TypeError("returned None, not a number; does one of its paths lack a return?")
        if isinstance(found, Verdict):
            return found if found.answer is not None else replace(found, answer=answer_in(attempt))
        reward = float(found)
        return Verdict(reward, answer_in(attempt), right=reward >= 1)

    def answer_in(attempt: Attempt) -> str | None:
        return extract(attempt.completion, answer_pattern)

    return PerAttempt(name, verify)


def _not_of_one_attempt(function: Callable[..., Any]) -> str:
    """Return a clause on why a function cannot be called with one attempt, or ""."""
    if isinstance(function, type) and not issubclass(function, int | float | Verdict):
        return "is a class"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is asynchronous (async def), and nothing would await it"
    if inspect.isgeneratorfunction(function):
        return "is a generator (it has a yield)"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a few functions written in C
        return ""
    try:
        signature.bind(None)
    except TypeError as error:
        return f"cannot be called with one argument, {signature} ({error})"
    return ""
