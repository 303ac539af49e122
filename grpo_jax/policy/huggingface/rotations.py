"""Rotations of queries and keys (RoPE) in a config.json: reading and writing them.

Old files (`rope_theta`, `rope_scaling`) and new ones (`rope_parameters`) use different keys; both are read.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from grpo_jax.config import RopeConfig, counted
from grpo_jax.config.architecture import FULL, SLIDING, Family
from grpo_jax.policy.huggingface.config_file import ConfigFile

SCALINGS: Mapping[str, Literal["none", "linear", "llama3", "yarn", "longrope"]] = {
    "default": "none",
    "linear": "linear",
    "llama3": "llama3",
    "yarn": "yarn",
    "longrope": "longrope",
    "su": "longrope",  # its name in Phi-3's first files
}
LONGROPE_KEYS = ("short_factor", "long_factor", "original_max_position_embeddings", "attention_factor")
ROPE_KEYS: Mapping[str, frozenset[str]] = {  # a scaling's name -> the keys that may stand beside it
    kind: frozenset({"type", "rope_type", "rope_theta", "factor", "partial_rotary_factor", *more})
    for kind, more in {
        "default": (),
        "linear": ("original_max_position_embeddings",),
        "llama3": ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
        "yarn": ("beta_slow", "beta_fast", "original_max_position_embeddings", "attention_factor", "truncate"),
        "longrope": LONGROPE_KEYS,
        "su": LONGROPE_KEYS,
    }.items()
}
# Scalings that leave high frequencies alone -> the keys of RopeConfig's low and high factor, with their defaults.
BLENDS: Mapping[str, Mapping[str, float | None]] = {
    "llama3": {"low_freq_factor": None, "high_freq_factor": None},
    "yarn": {"beta_slow": 1.0, "beta_fast": 32.0},
}
UNSCALED = RopeConfig()  # for the values that are not read without a scaling


def read_rotations(file: ConfigFile, family: Family, values: Mapping[str, Any]) -> tuple[RopeConfig, RopeConfig | None]:
    """Return the rotation of all layers and None, or those of full and of sliding layers.

    `rope_scaling` takes precedence, as in transformers.

    Raises:
      ConfigError: if the file has no such rotation, or one that the decoder lacks.
    """
    given, new = (file.section(key, values[key]) for key in ("rope_scaling", "rope_parameters"))
    if family.local_theta is None:
        return _rotation(file, given or new, values), None
    if new and not {FULL, SLIDING} <= new.keys():
        raise file.refuse("rope_parameters", dict(new), f"must hold {FULL} and {SLIDING}, as each has its own")
    full, sliding = (file.section(f"rope_parameters.{kind}", new.get(kind)) for kind in (FULL, SLIDING))
    return (
        _rotation(file, {**full, **given}, values),
        _rotation(file, sliding, {**values, "rope_theta": values["rope_local_base_freq"]}),
    )


def _rotation(file: ConfigFile, given: Mapping[str, Any], values: Mapping[str, Any]) -> RopeConfig:
    """Return a rotation.

    Args:
      file: for messages.
      given: `rope_parameters`, or the part of it for a type of layer.
      values: of the whole file, in which families have some of the same keys, or their defaults.
    """
    kind = file.choice("rope_type", given.get("rope_type", given.get("type", "default")), list(SCALINGS))
    file.only_known(given, ROPE_KEYS[kind], "rope_parameters.")
    share = given.get("partial_rotary_factor", values.get("partial_rotary_factor", 1.0))
    if "partial_rotary_factor" not in values and share not in (None, 1.0):
        raise file.refuse("partial_rotary_factor", share, "is not supported; leave it out")
    plain = dataclasses.replace(
        UNSCALED,
        theta=file.number("rope_theta", given.get("rope_theta", values["rope_theta"])),
        share=1.0 if share is None else file.number("partial_rotary_factor", share),
    )
    if kind == "default":
        return plain
    longest, scaling, factor = values["max_position_embeddings"], SCALINGS[kind], given.get("factor")
    named = values.get("original_max_position_embeddings") or given.get("original_max_position_embeddings", longest)
    original = file.count("original_max_position_embeddings", named)
    if scaling == "longrope" and factor is None:
        factor = max(1.0, file.count("max_position_embeddings", longest) / original)
    scaled = dataclasses.replace(plain, scaling=scaling, factor=file.number("factor", factor))
    if scaling == "linear":
        return scaled
    amplitude = given.get("attention_factor")
    extended = dataclasses.replace(
        scaled,
        original_length=original,
        amplitude=0.0 if amplitude is None else file.number("attention_factor", amplitude),
    )
    if scaling == "longrope":
        factors = given.get("short_factor")
        if not isinstance(factors, list):
            raise file.refuse("short_factor", factors, "must be a list of numbers")
        return dataclasses.replace(extended, short_factors=tuple(file.number("short_factor", one) for one in factors))
    low, high = BLENDS[kind].items()
    return dataclasses.replace(
        extended,
        low_frequency_factor=file.number(low[0], given.get(low[0]) or low[1]),
        high_frequency_factor=file.number(high[0], given.get(high[0]) or high[1]),
        whole_dimensions=file.flag("truncate", given.get("truncate", True)),
    )


def check_rotation(file: ConfigFile, rope: RopeConfig, head_dim: int) -> None:
    """Raise ConfigError if heads of this size cannot be rotated so."""
    rotated, factors = rope.rotated(head_dim), rope.short_factors
    if rotated == 0 or rotated % 2:
        raise file.refuse("partial_rotary_factor", rope.share, "must rotate an even number of dimensions")
    if rope.scaling == "longrope" and len(factors) != rotated // 2:
        remedy = f"must have {counted(rotated // 2, 'number')}, one for each rotated pair of dimensions"
        raise file.refuse("short_factor", list(factors), remedy)


def rotation_values(rope: RopeConfig, local: RopeConfig, family: Family) -> dict[str, Any]:
    """Return rotations as values of a family's config.json, and some under keys that the family may lack.

    The keys are those of transformers 4, which 5 reads as well, wherever they suffice.

    Args:
      local: the rotation of sliding layers, if the family has one for them.
    """
    if family.local_theta is not None and local.scaling != "none":
        return {"rope_parameters": {FULL: _parameters(rope), SLIDING: _parameters(local)}}
    scaling = {
        key: value for key, value in _parameters(rope).items() if key not in ("rope_theta", "partial_rotary_factor")
    }
    return {
        "rope_theta": rope.theta,
        "rope_scaling": scaling if rope.scaling != "none" else None,
        "rope_local_base_freq": local.theta,
        "partial_rotary_factor": rope.share,
        "original_max_position_embeddings": rope.original_length,
    }


def settled_rotation(rope: RopeConfig) -> RopeConfig:
    """Return an equivalent rotation in which unread fields have a fixed value."""
    parameters = _parameters(rope)
    implied = {"partial_rotary_factor": 1.0, "max_position_embeddings": rope.original_length}
    return _rotation(ConfigFile("config.json", {}), parameters, {**parameters, **implied})


def _parameters(rope: RopeConfig) -> dict[str, Any]:
    """Return a rotation as `rope_parameters`."""
    kind = next(theirs for theirs, ours in SCALINGS.items() if ours == rope.scaling)
    values: dict[str, Any] = {"rope_type": kind, "rope_theta": rope.theta}
    if rope.share != 1:
        values["partial_rotary_factor"] = rope.share
    if kind != "default":
        values["factor"] = rope.factor
    if kind in BLENDS:
        values["original_max_position_embeddings"] = rope.original_length
        values |= dict(zip(BLENDS[kind], (rope.low_frequency_factor, rope.high_frequency_factor), strict=True))
    if kind == "yarn":
        values["truncate"] = rope.whole_dimensions
    elif kind == "longrope":
        values["original_max_position_embeddings"] = rope.original_length
        values["short_factor"] = values["long_factor"] = list(rope.short_factors)  # nothing here reads the long ones
    if kind in ("yarn", "longrope") and rope.amplitude:
        values["attention_factor"] = rope.amplitude
    return values
