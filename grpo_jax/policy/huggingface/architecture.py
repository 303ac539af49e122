"""An architecture in a checkpoint's config.json: reading it, and writing it, by the table of families.

Old files (`sliding_window_pattern`) and new ones (`layer_types`) use different keys for the same things; both are read.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from grpo_jax.config import ArchitectureConfig, ConfigError
from grpo_jax.config.architecture import FAMILIES, FULL, KEYS, SLIDING, Family
from grpo_jax.policy.huggingface.config_file import ConfigFile, read_config_file
from grpo_jax.policy.huggingface.config_keys import HARMLESS, OFF
from grpo_jax.policy.huggingface.rotations import check_rotation, read_rotations, rotation_values, settled_rotation

LAYER_TYPES: Mapping[str, Literal["full", "sliding"]] = {FULL: "full", SLIDING: "sliding"}


def read_architecture(directory: Path) -> ArchitectureConfig:
    """Return the architecture that a checkpoint's config.json describes.

    Raises:
      ConfigError: if there is no such file, or the decoder lacks what it asks for.
    """
    return parse_architecture(read_config_file(directory))


def read_positions(directory: Path) -> int | None:
    """Return the tokens of the longest row that a checkpoint says it is for (max_position_embeddings); None: nothing.

    Raises:
      ConfigError: if there is no config.json, or that is no number.
    """
    file = read_config_file(directory)
    given = file.values.get("max_position_embeddings")
    return None if given is None else file.count("max_position_embeddings", given)


def parse_architecture(file: ConfigFile) -> ArchitectureConfig:
    """Return the architecture that these values describe. Raises ConfigError for what the decoder lacks."""
    family = file.family
    for key, only in {**OFF, **family.fixed}.items():
        value = file.values.get(key)
        if value is not None and value != only and key not in family.defaults:
            raise file.refuse(key, value, f"is not supported; the only supported value is {json.dumps(only)}")
    file.only_known(file.values, family.defaults.keys() | family.fixed.keys() | OFF.keys() | HARMLESS)
    architectures = file.values.get("architectures")
    if architectures is not None and family.architecture not in architectures:
        raise file.refuse("architectures", architectures, f"is not supported; {family.architecture} is read")
    values = {key: file.values.get(key, default) for key, default in family.defaults.items()}

    def count(key: str, absent: int | None = None) -> int:
        return absent if values[key] is None and absent else file.count(key, values[key])

    embed_dim, num_heads = count("hidden_size"), count("num_attention_heads")
    rope, local_rope = read_rotations(file, family, values)
    readers: Mapping[type, Callable[[str, Any], Any]] = {bool: file.flag, int: file.count, float: file.number}
    given = {
        field.name: readers[type(field.default)](KEYS[field.name], values[KEYS[field.name]])
        for field in dataclasses.fields(ArchitectureConfig)
        if values.get(KEYS.get(field.name, "")) is not None
    }
    architecture = ArchitectureConfig(
        vocab_size=count("vocab_size"),
        embed_dim=embed_dim,
        num_layers=count("num_hidden_layers"),
        num_heads=num_heads,
        num_kv_heads=count("num_key_value_heads", num_heads),
        head_dim=count("head_dim", embed_dim // num_heads),
        mlp_dim=count(family.mlp_dim),
        tied_head=file.flag("tie_word_embeddings", values["tie_word_embeddings"]),
        norm_epsilon=file.number("rms_norm_eps", values["rms_norm_eps"]),
        query_scale=_query_scale(file, values),
        **given,
        **_layers(file, family, values),
        rope=rope,
        local_rope=local_rope,
        **family.features,
    )
    if architecture.num_heads % architecture.num_kv_heads:
        raise file.refuse("num_key_value_heads", architecture.num_kv_heads, f"must divide the {num_heads} query heads")
    if architecture.head_dim % 2:
        raise file.refuse("head_dim", architecture.head_dim, "must be even, because RoPE rotates pairs of dimensions")
    for one in (architecture.rope, architecture.local_rope or architecture.rope):
        check_rotation(file, one, architecture.head_dim)
    return architecture


def _query_scale(file: ConfigFile, values: Mapping[str, Any]) -> float:
    if "query_pre_attn_scalar" in values:
        return file.number("query_pre_attn_scalar", values["query_pre_attn_scalar"]) ** -0.5
    if "attention_multiplier" in values:
        return file.number("attention_multiplier", values["attention_multiplier"])
    return 0.0


def _layers(file: ConfigFile, family: Family, values: Mapping[str, Any]) -> dict[str, Any]:
    count = file.count("num_hidden_layers", values["num_hidden_layers"])
    if "sliding_window_pattern" in values:
        file.count("sliding_window_pattern", values["sliding_window_pattern"])
    if values.get("max_window_layers") != 0:  # all layers slide
        file.count("max_window_layers", values.get("max_window_layers", 1))
    file.flag("use_sliding_window", values.get("use_sliding_window"))
    listed = values.get("layer_types")
    if listed is not None and (not isinstance(listed, list) or len(listed) != count):
        raise file.refuse("layer_types", listed, f"must name a type for each of the num_hidden_layers={count}")
    written = values.get("_sliding_window_pattern")
    if listed is None and written not in (None, values.get("sliding_window_pattern")):
        raise file.refuse("_sliding_window_pattern", written, "is not read; name the layers in layer_types")
    names = family.layer_types(values) if listed is None else listed
    types = [LAYER_TYPES[file.choice("layer_types", name, list(LAYER_TYPES))] for name in names]
    types = [types[index % len(types)] for index in range(count)]
    if "sliding" not in types:
        return {"layer_types": ("full",), "sliding_window": 0}
    window = values["sliding_window"] if values.get("use_sliding_window", True) else None
    if window is None:
        raise file.refuse("sliding_window", window, "layer_types has sliding_attention; say how many tokens it sees")
    return {"layer_types": _period(types), "sliding_window": file.count("sliding_window", window)}


def _period(types: Sequence[str]) -> tuple[Any, ...]:
    """Return the shortest beginning that gives all types when it is repeated."""
    return next(
        tuple(types[:length])
        for length in range(1, len(types) + 1)
        if all(kind == types[index % length] for index, kind in enumerate(types))
    )


def describe(architecture: ArchitectureConfig, max_positions: int) -> dict[str, Any]:
    """Return a config.json for a policy that came from no checkpoint, of the first family that reads it correctly.

    Args:
      max_positions: tokens of the longest row for which the model is used. Rotary positions have no end, but servers
        cut rows at max_position_embeddings, so it is the family's default if that is more.

    Raises:
      ConfigError: if no family has this combination of features.
    """
    a = architecture
    for model_type, family in FAMILIES.items():
        values = {
            "model_type": model_type,
            "vocab_size": a.vocab_size,
            "hidden_size": a.embed_dim,
            "intermediate_size": a.mlp_dim,
            "moe_intermediate_size": a.mlp_dim,
            "num_hidden_layers": a.num_layers,
            "num_attention_heads": a.num_heads,
            "num_key_value_heads": a.num_kv_heads,
            "head_dim": a.head_dim,
            "max_position_embeddings": max(max_positions, family.defaults["max_position_embeddings"]),
            "rms_norm_eps": a.norm_epsilon,
            "tie_word_embeddings": a.tied_head,
            **rotation_values(a.rope, a.local_rope or a.rope, family),
            "use_sliding_window": "sliding" in a.layers,
            "sliding_window": a.sliding_window or None,
            "layer_types": [FULL if kind == "full" else SLIDING for kind in a.layers],
            "query_pre_attn_scalar": round(a.query_scale**-2) if a.query_scale else a.head_dim,
            "attention_multiplier": a.query_scale or a.head_dim**-0.5,
            **{key: getattr(a, field) or None for field, key in KEYS.items()},
        }
        known = {key: value for key, value in values.items() if key in family.defaults or key == "model_type"}
        described = {**known, **{key: value for key, value in family.fixed.items() if value is not None}}
        with suppress(ConfigError):  # of families that lack what this architecture has
            if settled(parse_architecture(ConfigFile("config.json", described))) == settled(a):
                return {"architectures": [family.architecture], **described}
    raise ConfigError(
        f"model.architecture: no family has this combination of features; families are {', '.join(FAMILIES)}, see "
        "grpo_jax/config/architecture.py."
    )


def check_same(file: ConfigFile, architecture: ArchitectureConfig) -> None:
    """Raise ConfigError if the file describes another architecture. Vocabularies may differ: one may be padded."""
    theirs, ours = (dataclasses.replace(one, vocab_size=0) for one in (parse_architecture(file), architecture))
    other = ", ".join(different_fields(theirs, ours))
    if other:
        raise ConfigError(f"{file.where}: is of another model than the policy, whose {other} is different.")


def different_fields(one: ArchitectureConfig, other: ArchitectureConfig) -> list[str]:
    """Return the fields in which two architectures differ, without fields that neither of them reads."""
    one, other = settled(one), settled(other)
    return [field.name for field in dataclasses.fields(one) if getattr(one, field.name) != getattr(other, field.name)]


def settled(architecture: ArchitectureConfig) -> ArchitectureConfig:
    """Return an equivalent architecture in which unread fields have a fixed value, and implied ones are written out."""
    a = architecture
    sliding = "sliding" in a.layers
    return dataclasses.replace(
        a,
        layer_types=a.layers,
        sliding_window=a.sliding_window if sliding else 0,
        qk_norm_of_all_heads=a.qk_norm and a.qk_norm_of_all_heads,
        query_scale=round(a.query_scale or a.head_dim**-0.5, 12),
        rope=settled_rotation(a.rope),
        local_rope=settled_rotation(a.local_rope or a.rope) if sliding else None,
    )
