"""A checkpoint's config.json, and checks of its values."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_jax.config import ConfigError
from grpo_jax.config.architecture import FAMILIES, WRAPPERS, Family
from grpo_jax.policy.huggingface.config_keys import RENAMED


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
