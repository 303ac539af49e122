"""Find the field that a user means by a name from another section, or from TRL, verl or Tunix."""

import typing
from collections.abc import Iterator, Sequence

from grpo_jax.config import fields
from grpo_jax.config.sentences import did_you_mean, nearest

MOST = 3  # fields that are suggested at most; nobody would read a longer list
LIKENESS = 0.8  # of a misspelt name to a name elsewhere; stricter than within a section, since there are many

# The fields, or flags, that mean what a name means elsewhere. A name is given without its sections, unless it would be
# ambiguous. Names that are the same here, such as learning_rate, are left out. docs/coming_from.md explains them all.
EQUAL = {
    # TRL
    "model": "model.checkpoint",
    "model_name_or_path": "model.checkpoint",
    "num_generations": "rollout.group_size",
    "max_completion_length": "rollout.max_new_tokens",
    "beta": "objective.kl_coef",
    "epsilon": "objective.clip_low",
    "epsilon_high": "objective.clip_high",
    "warmup_steps": "optimizer.warmup_updates",
    "max_grad_norm": "optimizer.clip_norm",
    "lr_scheduler_type": "optimizer.schedule",
    "save_steps": "checkpoint.every",
    "eval_steps": "evaluation.every",
    "output_dir": "--workdir",
    # verl
    "lora_rank": "model.lora.rank",
    "lora_alpha": "model.lora.alpha",
    "train_files": "task.train.path",
    "val_files": "task.test.path",
    "max_prompt_length": "task.max_prompt_tokens",
    "max_response_length": "rollout.max_new_tokens",
    "train_batch_size": "rollout.prompts_per_step",
    "rollout.n": "rollout.group_size",
    "val_kwargs.n": "evaluation.validation_samples",
    "clip_ratio_low": "objective.clip_low",
    "clip_ratio_high": "objective.clip_high",
    "kl_loss_coef": "objective.kl_coef",
    "rollout_is_threshold": "objective.importance_cap",
    "lr": "optimizer.learning_rate",
    "lr_warmup_steps": "optimizer.warmup_updates",
    "clip_grad": "optimizer.clip_norm",
    "total_training_steps": "train.steps",
    "save_freq": "checkpoint.every",
    "test_freq": "evaluation.every",
    "default_local_dir": "--workdir",
    # Tunix
    "train_micro_batch_size": "train.microbatch_groups",
    "rollout_micro_batch_size": "rollout.prompts_per_batch",
    "eval_every_n_steps": "evaluation.every",
    "checkpoint_root_directory": "--workdir",
    "max_tokens_to_generate": "rollout.max_new_tokens",
}

# Those with other values or another unit.
SIMILAR = {
    # TRL
    "train_dataset": "task.train",
    "eval_dataset": "task.test",
    "reward_funcs": "task.reward.terms",
    "reward_weights": "task.reward.terms",
    "peft_config": "model.lora",
    "generation_batch_size": "rollout.prompts_per_step",
    "per_device_train_batch_size": "train.microbatch_groups",
    "steps_per_generation": "train.minibatches",
    "gradient_accumulation_steps": "train.minibatches",
    "max_steps": "train.steps",
    "num_train_epochs": "train.steps",
    "chat_template_kwargs": "task.chat_variables",
    "delta": "objective.parameters.dual_clip",
    "loss_type": "objective.aggregation",
    "scale_rewards": "objective.name",
    "importance_sampling_level": "objective.name",
    "use_vllm": "rollout.engine.name",
    "vllm_mode": "rollout.engine.name",
    "vllm_server_host": "rollout.engine.address",
    "vllm_server_port": "rollout.engine.address",
    "vllm_importance_sampling_correction": "objective.old_logprobs",
    "vllm_importance_sampling_clip_max": "objective.importance_cap",
    "bf16": "model.compute_dtype",
    "gradient_checkpointing": "model.remat",
    "log_completions": "logging.rollouts_every",
    "resume_from_checkpoint": "--workdir",
    # verl
    "model.path": "model.checkpoint",
    "enable_gradient_checkpointing": "model.remat",
    "prompt_key": "task.train.prompt_field",
    "ground_truth": "task.train.answer_field",
    "custom_reward_function.path": "task.reward.terms",
    "ppo_mini_batch_size": "train.minibatches",
    "ppo_micro_batch_size_per_gpu": "train.microbatch_groups",
    "adv_estimator": "objective.name",
    "norm_adv_by_std_in_grpo": "objective.name",
    "loss_mode": "objective.name",
    "clip_ratio_c": "objective.parameters.dual_clip",
    "loss_agg_mode": "objective.aggregation",
    "use_kl_loss": "objective.kl_coef",
    "kl_loss_type": "objective.kl_estimator",
    "filter_groups.enable": "rollout.max_rollouts",
    "max_num_gen_batches": "rollout.max_rollouts",
    "rollout_is": "objective.old_logprobs",
    "rollout.name": "rollout.engine.name",
    "resume_mode": "--workdir",
    # Tunix
    "kl_loss_mode": "objective.kl_estimator",
    "advantage_estimator": "objective.name",
    "loss_algo": "objective.name",
    "reward_fns": "task.reward.terms",
    "mini_batch_size": "train.minibatches",
    "actor_optimizer": "optimizer",
    "checkpointing_options": "checkpoint",
    "eos_tokens": "task.stop_tokens",
    "rollout_engine": "rollout.engine",
    "role_to_mesh": "mesh.data",
}


def suggestion(name: str, word: str, known: Sequence[str], *, value: str = "", before: str = "--config.") -> str:
    """Return the end of a sentence about an unknown field or flag, with the nearest known one.

    Names that exist elsewhere come first, then names misspelt here, then names misspelt elsewhere.

    Args:
      name: as somebody wrote it, with or without sections: "train.learning_rate", "actor.optim.lr", "lr".
      word: the part of it that is unknown.
      known: what may stand in its place.
      value: what follows a suggested field, as in "=3".
      before: what comes before it.
    """

    def found(name: str) -> str:
        return _elsewhere(name.replace("-", "_").split("."), known, value, before)

    if there := found(name):
        return there
    if not nearest(word, known):
        names = {field.rpartition(".")[2] for field, _ in fields.leaves()} | EQUAL.keys() | SIMILAR.keys()
        if there := found(nearest(name.rpartition(".")[2], sorted(names), LIKENESS)):
            return there
    return did_you_mean(word, known)


def _elsewhere(words: Sequence[str], known: Sequence[str], value: str, before: str) -> str:
    for first in range(len(words)):
        sought = ".".join(words[first:])
        equal = [*([EQUAL[sought]] if sought in EQUAL else []), *dict.fromkeys(_ours(sought))]
        in_section = [field for field in equal if field.startswith(f"{words[0]}.")]
        suggested = _usable(in_section or equal, known)
        if 0 < len(suggested) <= MOST:
            return f"did you mean {' or '.join(f'{_written(field, before)}{value}' for field in suggested)}?"
        if sought in SIMILAR and (similar := _usable([SIMILAR[sought]], known)):
            return f"the nearest is {_written(similar[0], before)}, which takes other values (docs/coming_from.md)."
    return ""


def _ours(sought: str) -> Iterator[str]:
    """Yield the fields of this name, which may lack sections, and the entry of a dictionary, which may not."""
    for field, kind in fields.leaves():
        if f".{field}".endswith(f".{sought}"):
            yield field
        elif sought.startswith(f"{field}.") and typing.get_origin(fields.base(kind)) is dict:
            yield sought


def _usable(found: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return those that are fields, or flags of this command."""
    return [one for one in found if not one.startswith("--") or one in known]


def _written(field: str, before: str) -> str:
    return field if field.startswith("--") else f"{before}{field}"
