"""Configuration: the schema of a run, the rules between its fields, and how it is loaded."""

from grpo_jax.config import command_line
from grpo_jax.config.loading import did_you_mean, digest, from_dict, load, to_dict
from grpo_jax.config.schema import (
    CheckpointConfig,
    Config,
    ConfigError,
    EvaluationConfig,
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RolloutConfig,
    RopeConfig,
    SamplingConfig,
    TaskConfig,
    TrainConfig,
    WarmStartConfig,
)

__all__ = [
    "CheckpointConfig",
    "Config",
    "ConfigError",
    "EvaluationConfig",
    "LoggingConfig",
    "MeshConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "RolloutConfig",
    "RopeConfig",
    "SamplingConfig",
    "TaskConfig",
    "TrainConfig",
    "WarmStartConfig",
    "command_line",
    "did_you_mean",
    "digest",
    "from_dict",
    "load",
    "to_dict",
]
