"""What the fields of a configuration must be to one another: each rule returns the sentence to say, or ""."""

from collections.abc import Callable

from grpo_jax.config.schema import Config


def _pairs(c: Config) -> str:
    if c.objective.name == "two_grpo" and c.rollout.group_size != 2:
        return (
            f"rollout.group_size={c.rollout.group_size}: the objective two_grpo is defined on pairs; "
            "set it to 2, or objective.name to n_vs_m or grpo."
        )
    return ""


def _minibatches(c: Config) -> str:
    if c.rollout.prompts_per_step % c.train.minibatches:
        return (
            f"train.minibatches={c.train.minibatches}: must divide rollout.prompts_per_step="
            f"{c.rollout.prompts_per_step}, so that minibatches are equal."
        )
    groups = c.rollout.prompts_per_step // c.train.minibatches
    if groups % c.train.microbatch_groups:
        return (
            f"train.microbatch_groups={c.train.microbatch_groups}: must divide the {groups} groups of a minibatch "
            "(rollout.prompts_per_step / train.minibatches)."
        )
    return ""


def _heads(c: Config) -> str:
    m = c.model
    if m.num_heads % m.num_kv_heads:
        return f"model.num_kv_heads={m.num_kv_heads}: must divide model.num_heads={m.num_heads}."
    if m.head_dim % 2:
        return f"model.head_dim={m.head_dim}: must be even, because RoPE rotates pairs of dimensions."
    for field in ("num_heads", "num_kv_heads", "mlp_dim"):
        if getattr(m, field) % c.mesh.tensor:
            return f"model.{field}={getattr(m, field)}: must be divisible by mesh.tensor={c.mesh.tensor}."
    if m.embed_dim % c.mesh.fsdp:
        return f"model.embed_dim={m.embed_dim}: must be divisible by mesh.fsdp={c.mesh.fsdp}."
    return ""


def _rope(c: Config) -> str:
    rope = c.model.rope
    if rope.scaling == "llama3" and rope.low_frequency_factor >= rope.high_frequency_factor:
        return (
            f"model.rope.low_frequency_factor={rope.low_frequency_factor:g}: must be below "
            f"model.rope.high_frequency_factor={rope.high_frequency_factor:g}."
        )
    return ""


def _temperature(c: Config) -> str:
    if c.rollout.sampling.temperature == 0:
        return (
            "rollout.sampling.temperature=0: greedy completions of a prompt are all the same, so no group carries "
            "signal; set it above 0 (1 is the paper's)."
        )
    return ""


def _samples(c: Config) -> str:
    if c.evaluation.sampling.temperature == 0 and max(c.evaluation.test_samples, c.evaluation.validation_samples) > 1:
        return (
            "evaluation.sampling.temperature=0: greedy samples of a problem are all the same; set "
            "evaluation.test_samples and evaluation.validation_samples to 1, or a temperature above 0."
        )
    return ""


def _truncation(c: Config) -> str:
    if c.rollout.sampling.truncated and c.objective.old_logprobs == "sampler":
        return (
            "objective.old_logprobs='sampler': with top_k, top_p or min_p on, the sampler's log-probs are over a cut "
            "vocabulary and the trainer's over all of it; set it to 'trainer', or switch the filters off."
        )
    return ""


def _importance(c: Config) -> str:
    if c.objective.importance_cap and c.objective.old_logprobs == "sampler":
        return (
            f"objective.importance_cap={c.objective.importance_cap}: the correction is between the sampler's and the "
            "trainer's old log-probs; set objective.old_logprobs to 'trainer', or the cap to 0."
        )
    return ""


def _kl(c: Config) -> str:
    if c.objective.kl_coef and c.objective.kl_estimator == "k1":
        return (
            "objective.kl_estimator='k1': inside a loss its expected gradient is exactly zero; use 'k2' (the gradient "
            "of KL(policy||base)) or 'k3' (of KL(base||policy))."
        )
    return ""


def _kl_denominator(c: Config) -> str:
    if c.objective.kl_coef and c.objective.denominator == "valid":
        return (
            "objective.denominator='valid': with a KL term every group takes part in the loss; set it to 'sampled', "
            "or objective.kl_coef to 0."
        )
    return ""


def _enough_problems(c: Config) -> str:
    if c.rollout.prompts_per_step > c.task.train_problems:
        return (
            f"rollout.prompts_per_step={c.rollout.prompts_per_step}: there are only task.train_problems="
            f"{c.task.train_problems}, and a step's prompts are distinct; lower one or raise the other."
        )
    return ""


def _best(c: Config) -> str:
    if c.checkpoint.keep_best and not c.evaluation.every:
        return (
            f"checkpoint.keep_best={c.checkpoint.keep_best}: the best is known by evaluation only; set "
            "evaluation.every above 0, or keep_best to 0."
        )
    if c.checkpoint.keep_best and c.checkpoint.every % c.evaluation.every:
        return (
            f"checkpoint.every={c.checkpoint.every}: with checkpoint.keep_best each checkpoint needs an evaluation; "
            f"set it to a multiple of evaluation.every={c.evaluation.every}, or keep_best to 0."
        )
    return ""


def _warmup(c: Config) -> str:
    updates = c.train.steps * c.train.minibatches
    if c.optimizer.warmup_updates >= updates:
        return (
            f"optimizer.warmup_updates={c.optimizer.warmup_updates}: must be below the {updates} updates of the run "
            "(train.steps x train.minibatches)."
        )
    return ""


RULES: tuple[Callable[[Config], str], ...] = (
    _pairs,
    _minibatches,
    _heads,
    _rope,
    _temperature,
    _samples,
    _truncation,
    _importance,
    _kl,
    _kl_denominator,
    _enough_problems,
    _best,
    _warmup,
)
