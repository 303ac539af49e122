"""A checkpoint's config.json: reading an architecture from it, and writing it, by the table of families.

Old files (`rope_theta`, `rope_scaling`, `sliding_window_pattern`) and new ones (`rope_parameters`, `layer_types`) use
different keys for the same things; both are read.
"""

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grpo_jax.config import ArchitectureConfig, ConfigError, RopeConfig, counted
from grpo_jax.config.architecture import FAMILIES, FULL, KEYS, SLIDING, WRAPPERS, Family
from grpo_jax.policy.huggingface.config_keys import HARMLESS, OFF, RENAMED

LAYER_TYPES: Mapping[str, Literal["full", "sliding"]] = {FULL: "full", SLIDING: "sliding"}
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


@dataclass(frozen=True)
class ConfigFile:
    """The values of a config.json."""

    where: str  # where it came from, for messages
    values: Mapping[str, Any]
    wrapped: bool = False  # whether it is the text model within a model that also reads images

    @property
    def family(self) -> Family:
        """The family. Raises ConfigError if it is not supported."""
        return FAMILIES[self.choice("model_type", self.values.get("model_type"), list(FAMILIES))]

    def refuse(self, key: str, value: Any, remedy: str) -> ConfigError:
        """Return the error that refuses a value."""
        return ConfigError(f"{self.where}: {key}={value!r}: {remedy}.")

    def choice(self, key: str, value: Any, supported: list[str]) -> str:
        """Return the value, if it is supported."""
        if value not in supported:
            raise self.refuse(key, value, f"is not supported; supported are {', '.join(supported)}")
        return str(value)

    def number(self, key: str, value: Any) -> float:
        """Return the value, if it is a number above 0."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.refuse(key, value, "must be a number above 0")
        return float(value)

    def count(self, key: str, value: Any) -> int:
        """Return the value, if it is a whole number above 0."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.refuse(key, value, "must be a whole number above 0")
        return value

    def flag(self, key: str, value: Any) -> bool:
        """Return the value, if it is true or false; null is false."""
        if value is not None and not isinstance(value, bool):
            raise self.refuse(key, value, "must be true or false")
        return bool(value)

    def only_known(self, values: Mapping[str, Any], known: Collection[str], of: str = "") -> None:
        """Refuse keys that nothing here reads, since they may change what the model computes; null has no effect."""
        for key, value in values.items():
            if key not in known and value is not None:
                raise self.refuse(
                    of + key, value, "is unknown here and may change what the model computes; remove it if it does not"
                )

    def section(self, key: str, value: Any) -> Mapping[str, Any]:
        """Return the value, if it is an object; null is an empty one."""
        if value is not None and not isinstance(value, Mapping):
            raise self.refuse(key, value, "must be an object with keys, or null")
        return value or {}


def read_config_file(directory: Path) -> ConfigFile:
    """Read the config.json of a checkpoint.

    Raises:
      ConfigError: if there is none, or it is not a JSON object.
    """
    where = f"model.checkpoint={directory}: config.json"
    try:
        values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"model.checkpoint={directory}: has no config.json; name a directory in Hugging Face's format."
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: cannot be read: {error}; fetch it again.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: is not a JSON object; fetch it again.")
    values = {RENAMED.get(key, key): value for key, value in values.items()}
    if values.get("model_type") in WRAPPERS:
        return _text_part(where, values)
    return ConfigFile(where, values)


def _text_part(where: str, values: Mapping[str, Any]) -> ConfigFile:
    """Return the text model's own config.json, taken from that of a model that also reads images."""
    model_type = WRAPPERS[values["model_type"]]
    text = ConfigFile(where, values).section("text_config", values.get("text_config"))
    cap = text.get("final_logit_softcapping")
    if cap is not None:  # transformers applies it in the text model alone and not in this one, so it is ambiguous
        raise ConfigFile(f"{where}: text_config", text).refuse("final_logit_softcapping", cap, "is not supported")
    ids = ("bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype", "tie_word_embeddings")
    shared = {key: values[key] for key in ids if values.get(key) is not None}
    if values.get("quantization_config") is not None:
        shared["quantization_config"] = values["quantization_config"]
    named = {"model_type": model_type, "architectures": [FAMILIES[model_type].architecture]}
    return ConfigFile(f"{where}: text_config", {**shared, **text, **named}, wrapped=True)


def read_architecture(directory: Path) -> ArchitectureConfig:
    """Return the architecture that a checkpoint's config.json describes.

    Raises:
      ConfigError: if there is no such file, or the decoder lacks what it asks for.
    """
    return parse_architecture(read_config_file(directory))


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
    rope, local_rope = _ropes(file, family, values)
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
        rotated, factors = one.rotated(architecture.head_dim), one.short_factors
        if rotated == 0 or rotated % 2:
            raise file.refuse("partial_rotary_factor", one.share, "must rotate an even number of dimensions")
        if one.scaling == "longrope" and len(factors) != rotated // 2:
            remedy = f"must have {counted(rotated // 2, 'number')}, one for each rotated pair of dimensions"
            raise file.refuse("short_factor", list(factors), remedy)
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


def _ropes(file: ConfigFile, family: Family, values: Mapping[str, Any]) -> tuple[RopeConfig, RopeConfig | None]:
    """Return the rotation of all layers and None, or those of full and of sliding layers.

    `rope_scaling` takes precedence, as in transformers.
    """
    given, new = (file.section(key, values[key]) for key in ("rope_scaling", "rope_parameters"))
    if family.local_theta is None:
        return _rope(file, given or new, values), None
    if new and not {FULL, SLIDING} <= new.keys():
        raise file.refuse("rope_parameters", dict(new), f"must hold {FULL} and {SLIDING}, as each has its own")
    full, sliding = (file.section(f"rope_parameters.{kind}", new.get(kind)) for kind in (FULL, SLIDING))
    return (
        _rope(file, {**full, **given}, values),
        _rope(file, sliding, {**values, "rope_theta": values["rope_local_base_freq"]}),
    )


def _rope(file: ConfigFile, given: Mapping[str, Any], values: Mapping[str, Any]) -> RopeConfig:
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


def describe(architecture: ArchitectureConfig, max_positions: int) -> dict[str, Any]:
    """Return a config.json for a policy that came from no checkpoint, of the first family that reads it correctly.

    Rotations are written with the keys of transformers 4, which 5 reads as well, wherever they suffice.

    Args:
      max_positions: tokens of the longest row for which the model is used. Rotary positions have no end, but servers
        cut rows at max_position_embeddings, so it is the family's default if that is more.

    Raises:
      ConfigError: if no family has this combination of features.
    """
    a = architecture
    local = a.local_rope or a.rope
    scaling = _rope_parameters(a.rope)
    for key in ("rope_theta", "partial_rotary_factor"):
        scaling.pop(key, None)
    old = {
        "rope_theta": a.rope.theta,
        "rope_scaling": scaling if a.rope.scaling != "none" else None,
        "rope_local_base_freq": local.theta,
        "partial_rotary_factor": a.rope.share,
        "original_max_position_embeddings": a.rope.original_length,
    }
    new = {"rope_parameters": {FULL: _rope_parameters(a.rope), SLIDING: _rope_parameters(local)}}
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
            **(old if family.local_theta is None or local.scaling == "none" else new),
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


def _rope_parameters(rope: RopeConfig) -> dict[str, Any]:
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

    def settled_rope(rope: RopeConfig) -> RopeConfig:
        parameters = _rope_parameters(rope)
        implied = {"partial_rotary_factor": 1.0, "max_position_embeddings": rope.original_length}
        return _rope(ConfigFile("config.json", {}), parameters, {**parameters, **implied})

    return dataclasses.replace(
        a,
        layer_types=a.layers,
        sliding_window=a.sliding_window if sliding else 0,
        qk_norm_of_all_heads=a.qk_norm and a.qk_norm_of_all_heads,
        query_scale=round(a.query_scale or a.head_dim**-0.5, 12),
        rope=settled_rope(a.rope),
        local_rope=settled_rope(a.local_rope or a.rope) if sliding else None,
    )
