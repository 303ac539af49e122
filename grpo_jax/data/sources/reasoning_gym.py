"""Procedural problems of reasoning-gym. Only its generators are used: its scorers `eval` what a model writes."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import parse_qsl

from grpo_jax.config import ConfigError, SourceConfig, did_you_mean
from grpo_jax.data.sources.records import Records
from grpo_jax.randomness import TextStream, spread_seed

# These tasks make other problems in another process, because they iterate over sets of texts or draw from Python's
# global generator. Measured with reasoning-gym 0.1.25, 40 problems of every task, with different hash seeds.
UNREPEATABLE = frozenset(
    {
        "codeio",
        "intermediate_integration",
        "isomorphic_strings",
        "knight_swap",
        "list_functions",
        "polynomial_multiplication",
        "ransom_note",
        "word_ladder",
    }
)


def open_reasoning_gym(config: SourceConfig) -> Records:
    """Return the first `limit` problems of a task with a seed, as in "chain_sum?seed=0&max_digits=1".

    Each problem is made on access.

    Raises:
      ConfigError: if the seed or the limit is missing, and for a task or an option that cannot be used.
    """
    import reasoning_gym as gym

    name, _, query = config.path.partition("?")
    known = gym.factory.DATASETS
    if name not in known:
        raise ConfigError(f"path={config.path!r}: unknown task {name}; {did_you_mean(name, list(known))}")
    if name in UNREPEATABLE:
        raise ConfigError(
            f"path={config.path!r}: reasoning-gym makes other problems of {name} in every process, so no run could"
            " continue; write some to a file and read it as jsonl, or choose another task."
        )
    options = _options(query, config.path)
    if type(options.get("seed")) is not int:
        raise ConfigError(f"path={config.path!r}: has no whole number as its seed; add one, as in {name}?seed=0.")
    if config.limit == 0:
        raise ConfigError("limit=0: reasoning_gym makes any number of problems; say how many.")
    allowed = [field.name for field in fields(known[name][1]) if field.name not in ("seed", "size")]
    for option in options.keys() - {"seed", *allowed}:
        raise ConfigError(f"path={config.path!r}: unknown option {option}; {did_you_mean(option, allowed)}")
    try:
        data = gym.create_dataset(name, **{**options, "seed": _spread(options["seed"]), "size": config.limit})
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"path={config.path!r}: impossible options ({error}); change them.") from error
    return Records(config.limit, data.__getitem__, lambda index: f"{config.path}, {index}")


def _options(query: str, path: str) -> Mapping[str, Any]:
    try:
        return {name: _value(text) for name, text in parse_qsl(query, strict_parsing=bool(query))}
    except ValueError as error:
        raise ConfigError(f"path={path!r}: {error}; write options as in chain_sum?seed=0&max_digits=1.") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _spread(seed: int) -> int:
    """Return the seed for reasoning-gym, which makes problem i with seed + i and takes at most 31 bits."""
    return spread_seed(TextStream.REASONING_GYM, seed) // 2
