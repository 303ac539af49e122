"""The rules between the fields of a configuration. Each yields a sentence for whatever breaks it."""

import ipaddress
from collections.abc import Callable, Iterator

from grpo_jax.config.architecture import RopeConfig
from grpo_jax.config.schema import Config, QuestionsConfig, SamplingConfig, VllmConfig, WeightedSelectionConfig
from grpo_jax.config.sentences import counted


def _minibatches(c: Config) -> Iterator[str]:
    if c.rollout.prompts_per_step % c.train.minibatches:
        yield (
            f"train.minibatches={c.train.minibatches}: must divide rollout.prompts_per_step="
            f"{c.rollout.prompts_per_step}, so that minibatches are equal."
        )
        return
    groups = c.rollout.prompts_per_step // c.train.minibatches
    if groups % c.train.microbatch_groups:
        yield (
            f"train.microbatch_groups={c.train.microbatch_groups}: must divide the {counted(groups, 'group')} of a "
            "minibatch (rollout.prompts_per_step / train.minibatches)."
        )


def _sampling_batches(c: Config) -> Iterator[str]:
    r = c.rollout
    if r.prompts_per_step % r.prompts_per_batch:
        yield f"rollout.prompts_per_batch={r.prompts_per_batch}: must divide prompts_per_step={r.prompts_per_step}."
    first, batch = r.prompts_per_step * r.group_size, r.prompts_per_batch * r.group_size
    if r.max_rollouts and r.max_rollouts < first + batch:
        yield (
            f"rollout.max_rollouts={r.max_rollouts}: a step samples {counted(first, 'rollout')} before any is "
            f"replaced, and then {batch} at a time; raise it to at least {first + batch}, or set it to 0 to replace "
            "none."
        )


def _selection(c: Config) -> Iterator[str]:
    """Refuse a second choice of the groups to average: the inverse of a chance corrects for the selection alone."""
    selection = c.rollout.selection
    if not isinstance(selection, WeightedSelectionConfig) or not selection.unbiased:
        return
    if c.rollout.max_rollouts:
        yield (
            f"rollout.max_rollouts={c.rollout.max_rollouts}: whether a group is replaced depends on its rewards, which "
            "biases the gradient; set it to 0, or rollout.selection.unbiased to false."
        )
    if c.objective.denominator == "valid":
        yield (
            "objective.denominator='valid': an average over the groups with signal depends on which prompts are "
            "selected; set it to 'sampled', or rollout.selection.unbiased to false."
        )


def _questions(c: Config) -> Iterator[str]:
    if not isinstance(c.task, QuestionsConfig):
        return
    if "{question}" not in c.task.template:
        yield f"task.template={c.task.template!r}: must hold {{question}}, where the problem goes."
    if c.evaluation.every and not c.task.hold_out_validation:
        yield (
            "task.hold_out_validation=False: there is no validation split to evaluate on; set it to true, or "
            "evaluation.every to 0."
        )
    if c.task.chat_variables and not c.task.chat:
        yield (
            f"task.chat_variables={c.task.chat_variables}: without a chat template nothing reads them; set task.chat "
            "to true, or remove them."
        )
    if not c.task.model_stop_tokens and not c.task.stop_tokens:
        yield (
            "task.model_stop_tokens=False: no token would end a completion; name some in task.stop_tokens, or set it "
            "to true."
        )
    if not c.task.tokenizer and not c.model.checkpoint:
        yield "task.tokenizer='': there is no model.checkpoint to take it from; name a directory with a tokenizer."


def _origin(c: Config) -> Iterator[str]:
    if c.model.checkpoint and c.warm_start:
        yield (
            f"model.checkpoint={c.model.checkpoint!r}: a policy is loaded or trained from scratch, not both; set "
            "warm_start to none, or the checkpoint to ''."
        )
    if not c.model.checkpoint and not c.warm_start:
        yield "model.checkpoint='': there is no warm_start either; name a checkpoint, or write a section warm_start."
    elif not c.model.checkpoint and not c.model.architecture:
        yield "model.architecture: is missing; give it, or name a checkpoint that has one (model.checkpoint)."


def _heads(c: Config) -> Iterator[str]:
    m = c.model.architecture
    if m is None:
        return
    if m.num_heads % m.num_kv_heads:
        yield (
            f"model.architecture.num_kv_heads={m.num_kv_heads}: must divide model.architecture.num_heads={m.num_heads}."
        )
    if m.head_dim % 2:
        yield f"model.architecture.head_dim={m.head_dim}: must be even, because RoPE rotates pairs of dimensions."
    for field in ("num_heads", "num_kv_heads", "mlp_dim"):
        if getattr(m, field) % c.mesh.tensor:
            yield f"model.architecture.{field}={getattr(m, field)}: must be divisible by mesh.tensor={c.mesh.tensor}."
    if m.embed_dim % c.mesh.fsdp:
        yield f"model.architecture.embed_dim={m.embed_dim}: must be divisible by mesh.fsdp={c.mesh.fsdp}."


def _norms(c: Config) -> Iterator[str]:
    m = c.model.architecture
    if m is not None and m.qk_norm_of_all_heads and not m.qk_norm:
        yield "model.architecture.qk_norm_of_all_heads=True: has no effect without qk_norm; set that, too."
    if m is not None and not m.pre_norms and not m.post_norms:
        yield "model.architecture.pre_norms=False: nothing would be normed; set post_norms, or leave pre_norms on."


def _windows(c: Config) -> Iterator[str]:
    m = c.model.architecture
    if m is not None and "sliding" in m.layer_types and m.sliding_window == 0:
        yield (
            f"model.architecture.sliding_window=0: model.architecture.layer_types={m.layer_types} has sliding layers; "
            "say how many tokens they see."
        )


def _fused_attention(c: Config) -> Iterator[str]:
    if c.model.attention == "fused" and c.model.compute_dtype == "float32":
        yield (
            "model.attention='fused': its kernels multiply in bfloat16; set model.compute_dtype to 'bfloat16', or "
            "model.attention to 'plain'."
        )
    m = c.model.architecture
    if c.model.attention == "fused" and m is not None and (m.attention_cap or "sliding" in m.layers):
        yield (
            "model.attention='fused': its kernels have neither soft-caps nor sliding windows, which this architecture "
            "has; set it to 'plain'."
        )


def _rope(c: Config) -> Iterator[str]:
    m = c.model.architecture
    for name in ("rope", "local_rope") if m else ():
        if m and (rope := getattr(m, name)):
            yield from _of_rope(f"model.architecture.{name}", rope, m.head_dim)


def _of_rope(name: str, rope: RopeConfig, head_dim: int) -> Iterator[str]:
    rotated = rope.rotated(head_dim)
    if rope.share < 1 and (rotated == 0 or rotated % 2):
        yield (
            f"{name}.share={rope.share:g}: rotates {rotated} of the model.architecture.head_dim={head_dim} dimensions; "
            "must be an even number above 0, because RoPE rotates pairs of dimensions."
        )
    factors = rope.short_factors
    if rope.scaling == "longrope" and (len(factors) != rotated // 2 or any(factor <= 0 for factor in factors)):
        yield (
            f"{name}.short_factors={factors}: longrope needs {counted(rotated // 2, 'number')} above 0, one for each "
            "pair of dimensions that is rotated."
        )
    if rope.scaling in ("llama3", "yarn") and rope.low_frequency_factor >= rope.high_frequency_factor:
        yield (
            f"{name}.low_frequency_factor={rope.low_frequency_factor:g}: must be below {name}.high_frequency_factor="
            f"{rope.high_frequency_factor:g}."
        )


def _lora(c: Config) -> Iterator[str]:
    modules = c.model.lora.modules if c.model.lora else ()
    if len(set(modules)) < len(modules):
        yield f"model.lora.modules={modules}: names a module twice; name each once."
    of_mlp = [name for name in modules if name in ("gate", "up", "down")]
    if of_mlp and c.model.architecture and c.model.architecture.num_experts:
        yield (
            f"model.lora.modules={modules}: experts have no adapters; leave out {', '.join(of_mlp)}, and keep those of "
            "attention."
        )


def _experts(c: Config) -> Iterator[str]:
    m = c.model.architecture
    if m is not None and not (m.num_experts == m.experts_per_token == 0 or 0 < m.experts_per_token <= m.num_experts):
        yield (
            f"model.architecture.experts_per_token={m.experts_per_token}: must be from 1 to "
            f"model.architecture.num_experts={m.num_experts}, or both must be 0."
        )


def _greedy_setting(sampling: SamplingConfig) -> str:
    """Return the setting that leaves only the likeliest token, as in "top_k=1"; empty if there is none."""
    greedy = {
        "temperature": sampling.temperature == 0,
        "top_k": sampling.top_k == 1,
        "min_p": sampling.min_p >= 1 - 2**-25,  # which is 1 in float32
    }
    return next((f"{name}={getattr(sampling, name):.10g}" for name, alone in greedy.items() if alone), "")


def _greedy_rollouts(c: Config) -> Iterator[str]:
    if setting := _greedy_setting(c.rollout.sampling):
        yield (
            f"rollout.sampling.{setting}: greedy completions of a prompt are all the same, so no group carries signal; "
            "the paper has temperature=1, top_k=0 and min_p=0."
        )


def _greedy_samples(c: Config) -> Iterator[str]:
    setting = _greedy_setting(c.evaluation.sampling)
    if setting and max(c.evaluation.test_samples, c.evaluation.validation_samples) > 1:
        yield (
            f"evaluation.sampling.{setting}: greedy samples of a problem are all the same; set "
            "evaluation.test_samples and evaluation.validation_samples to 1, or change this setting."
        )


def _truncation(c: Config) -> Iterator[str]:
    if c.rollout.sampling.truncated and c.objective.old_logprobs == "sampler":
        yield (
            "objective.old_logprobs='sampler': with top_k, top_p or min_p on, the sampler's log-probs are over a cut "
            "vocabulary and the trainer's over all of it; set it to 'trainer', or switch the filters off."
        )
    elif c.rollout.sampling.truncated and not c.objective.importance_cap:
        yield (
            "objective.importance_cap=0: with top_k, top_p or min_p on, completions are not the policy's, and without "
            "a correction the gradient is biased; set it to 1 or more, or switch the filters off."
        )


def _importance(c: Config) -> Iterator[str]:
    if 0 < c.objective.importance_cap < 1:
        yield f"objective.importance_cap={c.objective.importance_cap}: must be at least 1, or 0 for no correction."
    if c.objective.importance_cap and c.objective.old_logprobs == "sampler":
        yield (
            f"objective.importance_cap={c.objective.importance_cap}: the correction is between the sampler's and the "
            "trainer's old log-probs; set objective.old_logprobs to 'trainer', or the cap to 0."
        )
    if c.objective.importance_cap == 1 and c.objective.importance_beyond == "mask":
        yield (
            "objective.importance_cap=1: with objective.importance_beyond='mask' only tokens with a ratio of exactly 1 "
            "are learned from; set it above 1, or importance_beyond to 'truncate'."
        )


def _address(c: Config) -> Iterator[str]:
    engine = c.rollout.engine
    if not isinstance(engine, VllmConfig):
        return
    try:
        host, _ = engine.host_and_port
    except ValueError:
        yield f"rollout.engine.address={engine.address!r}: must be HOST:PORT, as in 127.0.0.1:8000."
        return
    if not engine.remote and not _is_loopback(host):
        yield (
            f"rollout.engine.address={engine.address!r}: is not this machine's own, and whoever reaches a vLLM server "
            "in development mode can run code in it; tunnel it to 127.0.0.1, or set rollout.engine.remote to true if "
            "nobody else is on that network (docs/engines.md)."
        )


def _adapters(c: Config) -> Iterator[str]:
    if c.rollout.adapters_alone and c.model.lora is None:
        yield "rollout.engine.adapters='alone': all parameters are trained; set it to 'merged', or set model.lora."


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _other_sampler(c: Config) -> Iterator[str]:
    """Require a correction for an engine with kernels of its own, whose policy is not exactly the trainer's."""
    if c.rollout.engine is None:
        return
    name = f"rollout.engine.name={c.rollout.engine.name!r}"
    if c.rollout.sampling.truncated:
        yield (
            f"{name}: with top_k, top_p or min_p on, its log-probs are over a cut vocabulary, and its cut differs from "
            "the trainer's; switch these filters of rollout.sampling off."
        )
    if c.objective.old_logprobs == "sampler":
        yield (
            f"{name}: its log-probs are not exactly the trainer's; set objective.old_logprobs to 'trainer', and "
            "objective.importance_cap to 1 or more."
        )
    elif not c.objective.importance_cap:
        yield (
            f"{name}: its completions are not exactly the policy's, and without a correction the gradient is biased; "
            "set objective.importance_cap to 1 or more."
        )


def _quantization(c: Config) -> Iterator[str]:
    """Require a correction for a quantised sampler, whose policy is not exactly the trainer's."""
    r, o = c.rollout, c.objective
    if r.quantization == "none":
        return
    name = f"rollout.quantization={r.quantization!r}"
    if r.engine:
        yield (
            f"{name}: rollout.engine.name={r.engine.name!r} samples with weights that it makes itself; quantise them "
            "with the server's own flags, and set this to 'none'."
        )
    elif o.old_logprobs == "sampler":
        yield (
            f"{name}: the sampler's log-probs are those of the quantised policy, not the trainer's; set "
            "objective.old_logprobs to 'trainer', and objective.importance_cap to 1 or more."
        )
    elif not o.importance_cap:
        yield (
            f"{name}: completions are the quantised policy's, and without a correction the gradient is biased; set "
            "objective.importance_cap to 1 or more."
        )


def _speculation(c: Config) -> Iterator[str]:
    r = c.rollout
    if r.speculation and r.engine:
        yield (
            f"rollout.speculation={r.speculation}: rollout.engine.name={r.engine.name!r} decodes with drafts of its "
            "own, or none; set it to 0."
        )
    elif r.speculation >= r.max_new_tokens:
        yield (
            f"rollout.speculation={r.speculation}: must be below rollout.max_new_tokens={r.max_new_tokens}, since no "
            "completion is longer; set it to a few tokens, or to 0."
        )


def _delay(c: Config) -> Iterator[str]:
    """Require the ratio or importance weights to correct for completions of an older policy."""
    o, r = c.objective, c.rollout
    other_reason = r.engine or r.sampling.truncated or r.quantization != "none"
    if c.rollout.delay and o.old_logprobs == "trainer" and not o.importance_cap and not other_reason:
        yield (
            f"rollout.delay={c.rollout.delay}: completions are an older policy's, and the ratio to the newest one does "
            "not correct for that; set objective.importance_cap to 1 or more, or objective.old_logprobs to 'sampler'."
        )


def _rollout_share(c: Config) -> Iterator[str]:
    share = f"mesh.rollout_share={c.mesh.rollout_share:g}"
    if c.mesh.rollout_share and c.rollout.engine:
        yield f"{share}: rollout.engine.name={c.rollout.engine.name!r} samples elsewhere; set the share to 0."
    elif c.mesh.rollout_share and not c.rollout.delay:
        yield (
            f"{share}: without a delay the devices that sample and those that train would wait for each other; set "
            "rollout.delay to 1, or the share to 0."
        )


def _kl(c: Config) -> Iterator[str]:
    if c.objective.kl_coef and c.objective.kl_estimator == "k1":
        yield (
            "objective.kl_estimator='k1': inside a loss its expected gradient is exactly zero; use 'k2' (the gradient "
            "of KL(policy||base)) or 'k3' (of KL(base||policy))."
        )
    if c.objective.kl_coef and c.objective.denominator == "valid":
        yield (
            "objective.denominator='valid': with a KL term every group takes part in the loss; set it to 'sampled', "
            "or objective.kl_coef to 0."
        )


def _best(c: Config) -> Iterator[str]:
    if c.checkpoint.keep_best and not c.evaluation.every:
        yield (
            f"checkpoint.keep_best={c.checkpoint.keep_best}: only evaluations tell which checkpoint is the best; set "
            "evaluation.every above 0, or keep_best to 0."
        )
    elif c.checkpoint.keep_best and c.checkpoint.every % c.evaluation.every:
        yield (
            f"checkpoint.every={c.checkpoint.every}: with checkpoint.keep_best each checkpoint needs an evaluation; "
            f"set it to a multiple of evaluation.every={c.evaluation.every}, or keep_best to 0."
        )


def _weight_decay(c: Config) -> Iterator[str]:
    o, w = c.optimizer, c.warm_start
    decays = [("optimizer", o.weight_decay, o.learning_rate)]
    if w:
        decays.append(("warm_start", w.weight_decay, max(w.full_learning_rate, w.skip_learning_rate)))
    for section, decay, rate in decays:
        if decay * rate >= 1:
            yield (
                f"{section}.weight_decay={decay:g}: with a learning rate of {rate:g} an update takes away "
                f"{100 * decay * rate:.0f} % of each weight; lower it."
            )


def _clip_norm(c: Config) -> Iterator[str]:
    o = c.optimizer
    if o.clip_norm <= o.epsilon:
        yield (
            f"optimizer.clip_norm={o.clip_norm:g}: leaves a gradient that vanishes beside optimizer.epsilon="
            f"{o.epsilon:g} in Adam's denominator; raise it, for example to 1."
        )


def _warmup(c: Config) -> Iterator[str]:
    updates = c.train.steps * c.train.minibatches
    if c.optimizer.warmup_updates >= updates:
        yield (
            f"optimizer.warmup_updates={c.optimizer.warmup_updates}: must be below the {counted(updates, 'update')} of "
            "the run (train.steps x train.minibatches)."
        )


RULES: tuple[Callable[[Config], Iterator[str]], ...] = (
    _minibatches,
    _sampling_batches,
    _selection,
    _questions,
    _origin,
    _heads,
    _norms,
    _experts,
    _windows,
    _fused_attention,
    _rope,
    _lora,
    _greedy_rollouts,
    _greedy_samples,
    _truncation,
    _importance,
    _address,
    _adapters,
    _other_sampler,
    _quantization,
    _speculation,
    _delay,
    _rollout_share,
    _kl,
    _best,
    _weight_decay,
    _clip_norm,
    _warmup,
)
