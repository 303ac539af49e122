"""What a configuration is: frozen dataclasses that say what each field means and which values it may take.

A field of kind `A | None` is a section that may be absent. Where one of several sections may stand (`A | B`), their
first fields tell them apart.

The config files (`configs/*.py`) say why a field has the value it has.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal


class ConfigError(ValueError):
    """A configuration that cannot run. Each argument is one sentence for the person who wrote the configuration."""

    def __str__(self) -> str:
        return "\n".join(self.args)


@dataclass(frozen=True)
class Range:
    """The values a number may take: low <= value <= high, or low < value where `open_low` is set."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def admits(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high  # False for NaN

    def __str__(self) -> str:
        low = f"above {self.low:.10g}" if self.open_low else f"at least {self.low:.10g}"
        if self.low == -math.inf:
            return f"at most {self.high:.10g}"
        return low if self.high == math.inf else f"{low} and at most {self.high:.10g}"


Count = Annotated[int, Range(1)]
CountOrNone = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, 1e12, open_low=True)]
NonNegative = Annotated[float, Range(0, 1e12)]
Share = Annotated[float, Range(0, 1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]


@dataclass(frozen=True)
class ModularExpressionsConfig:
    """The embedded task: grpo_jax/data/tasks/modular_expressions.py."""

    name: Literal["modular_expressions"]
    operations: Annotated[int, Range(1, 12)]  # binary operations in an expression: the difficulty
    operators: str  # which of + - * appear
    modulus: Annotated[int, Range(2, 10)]  # values are taken modulo this, so that each is one digit
    train_problems: Count  # distinct; an epoch
    right: Literal["answer", "derivation"]  # whether the answer is enough: rewards/derivation.py
    credit: Literal["exact", "partial"]  # of what is wrong: none, or for right lines (rewards/partial_credit.py)


@dataclass(frozen=True)
class SourceConfig:
    """Where problems are read."""

    kind: Literal["jsonl", "parquet", "tfds", "huggingface", "arithmetic", "reasoning_gym"]
    path: str  # what grpo_jax.data.sources describes for each kind: a file, a pattern, a name, a directory
    split: str  # tfds, huggingface: as in "train" or "train[:1000]"; others: ""
    prompt_field: str  # where a record has the question; dots go into nested records, numbers into lists
    answer_field: str
    answer_format: Literal["plain", "boxed", "after_hashes"]  # all of it, its last \boxed{}, what follows its last ####
    limit: CountOrNone  # read only the first so many records; 0 is all


@dataclass(frozen=True)
class RewardConfig:
    """What a completion is worth: a weighted sum, and the limits of the processes that compare answers."""

    terms: dict[str, float]  # name -> weight; a key of grpo_jax.rewards.REWARDS, or your own `package.module:function`
    answer_pattern: str  # a regular expression with one group, whose last match is the answer; "" is the last \boxed{}
    max_characters: Annotated[int, Range(1, 10_000)]  # of an answer; a longer one is wrong
    workers: Annotated[int, Range(1, 256)]  # processes
    seconds: Annotated[float, Range(0.05, 600)]  # of CPU time for one pair of answers in a worker
    memory_mb: Annotated[int, Range(256, 65536)]  # of a worker
    overlong_tokens: CountOrNone  # DAPO's buffer before max_new_tokens, along which `overlong` goes from 0 to -1


@dataclass(frozen=True)
class QuestionsConfig:
    """Questions of data sets for a pretrained model: grpo_jax/data/tasks/questions.py."""

    name: Literal["questions"]
    train: SourceConfig
    test: SourceConfig | None  # None: a share of `train`, by a hash of the prompt
    hold_out_validation: bool  # whether an eighth of `train` is the validation split; False: there is none
    tokenizer: str  # a directory; "" is the model's checkpoint
    system: str  # the system's message; "" is none
    template: str  # of the user's message, with {question}
    chat: bool  # through the tokenizer's chat template, or as it is
    max_prompt_tokens: Count  # longer problems are not trained on
    reward: RewardConfig


@dataclass(frozen=True)
class OwnTaskConfig:
    """A task of the user's own: docs/tutorial.md."""

    name: Literal["own"]
    factory: str  # `package.module:NAME`, called with `parameters` by name; returns a grpo_jax.data.Task
    parameters: dict[str, float]


@dataclass(frozen=True)
class RopeConfig:
    """Rotary positions, and how they are stretched beyond the length that a model was made for."""

    theta: Positive  # base of the rotary frequencies
    scaling: Literal["none", "linear", "llama3"]
    factor: Annotated[float, Range(1)]  # context extension factor of the scaling
    low_frequency_factor: Positive  # llama3: wavelengths above original_length / this are stretched fully
    high_frequency_factor: Positive  # llama3: wavelengths below original_length / this are left alone
    original_length: Count  # llama3: context length before the extension


@dataclass(frozen=True)
class ArchitectureConfig:
    """The decoder's shape. What only some families have names them; grpo_jax/policy/families.py is the whole list."""

    vocab_size: CountOrNone  # 0: the tokenizer's; more gives rows without a token, so that devices can share them
    embed_dim: Count
    num_layers: Count
    num_heads: Count
    num_kv_heads: Count  # grouped-query attention: each serves num_heads / num_kv_heads query heads
    head_dim: Count
    mlp_dim: Count
    activation: Literal["silu", "gelu_tanh"]  # of the MLP's gate; gelu_tanh: Gemma
    qkv_bias: bool  # Qwen2
    qk_norm: bool  # Qwen3, Gemma 3
    post_norms: bool  # Gemma: what attention and MLP give is normed before it is added to the residual stream
    norm_offset: bool  # Gemma: norms scale by 1 + their parameter
    scaled_embedding: bool  # Gemma: embeddings are multiplied by sqrt(embed_dim)
    tied_head: bool  # the output head is the transposed embedding
    norm_epsilon: Positive
    query_scale: NonNegative  # Gemma: of the products of queries and keys; 0: head_dim ** -0.5
    attention_cap: NonNegative  # Gemma 2: scores become cap * tanh(scores / cap); 0 is off
    logit_cap: NonNegative  # Gemma 2: the same for the logits; 0 is off
    layer_types: tuple[Literal["full", "sliding"], ...]  # of the first layers, then again from the start
    sliding_window: CountOrNone  # Mistral, Gemma: tokens that a sliding layer sees, the token itself included
    rope: RopeConfig
    local_rope: RopeConfig | None  # Gemma 3: of sliding layers; None: rope is of all

    @property
    def layers(self) -> tuple[Literal["full", "sliding"], ...]:
        """The type of every layer."""
        return tuple(self.layer_types[index % len(self.layer_types)] for index in range(self.num_layers))


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters (arXiv 2106.09685): they alone are trained, and all other parameters stay as they were."""

    rank: Count
    alpha: Positive  # adapters are scaled by alpha / rank
    modules: tuple[Literal["query", "key", "value", "out", "gate", "up", "down"], ...]  # of every layer

    @property
    def scale(self) -> float:
        """What adapters are multiplied by."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class ModelConfig:
    """Where the policy comes from, and how it is computed."""

    checkpoint: str  # a directory in Hugging Face's format; "" is a policy made from nothing by the warm start
    architecture: ArchitectureConfig | None  # None: as the checkpoint's config.json says
    compute_dtype: Literal["float32", "bfloat16"]  # of activations; parameters and optimizer are always float32
    scan_layers: bool  # one compiled layer in a loop (compiles fast) or all layers unrolled (runs faster on CPU)
    remat: Literal["none", "full", "dots"]  # what the backward pass recomputes: nothing, all, or all but matmuls
    attention: Literal["plain", "fused"]  # of whole rows; fused: by a kernel, where the platform (TPU, GPU) has one
    lora: LoraConfig | None  # None: all parameters are trained


@dataclass(frozen=True)
class WarmStartConfig:
    """How the base policy is made from nothing."""

    full_steps: CountOrNone  # supervised steps on solutions that write every line
    skip_steps: CountOrNone  # then steps on solutions that leave lines out
    skip_probability: Share  # of each intermediate line, in the second phase
    batch_size: Count
    full_learning_rate: Positive
    skip_learning_rate: Positive
    weight_decay: NonNegative
    seed: Seed  # of the base policy's parameters and its data; not touched by the run's seed
    checkpoint_every: Count  # steps
    cache_dir: str  # finished warm starts, by recipe; "" is $XDG_CACHE_HOME/grpo_jax, or ~/.cache/grpo_jax


@dataclass(frozen=True)
class SamplingConfig:
    """The distribution that tokens are drawn from. Temperature comes first, then top-k, top-p and min-p."""

    temperature: NonNegative  # 0 is greedy
    top_k: CountOrNone  # 0 is off
    top_p: Annotated[float, Range(0, 1, open_low=True)]  # 1 is off
    min_p: Annotated[float, Range(0, 1)]  # 0 is off

    @property
    def truncated(self) -> bool:
        """Whether a filter cuts tokens off, so that the sampled distribution is not the policy's."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


@dataclass(frozen=True)
class RolloutConfig:
    """What one step samples."""

    prompts_per_step: Count
    prompts_per_batch: Count  # of them sampled at once: it bounds the cache's memory
    success_half_life: Positive  # steps after which what a prompt's completions came to counts half: see successes.py
    max_rollouts: CountOrNone  # a step may take to replace groups without signal by fresh prompts; 0 is leave them out
    group_size: Annotated[int, Range(2, 4096)]  # completions of each prompt
    max_new_tokens: Count  # the stop token included
    noise: Literal["independent", "antithetic", "common"]  # what a group's completions share: sampling/noise.py
    sampling: SamplingConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the policy is updated towards."""

    name: str  # a key of grpo_jax.objectives.OBJECTIVES, or your own `package.module:NAME`
    parameters: dict[str, float]  # of this objective alone, such as DPO's beta; those not named are as published
    aggregation: Literal["published", "sequence", "token", "group_token", "constant", "sum"]  # how tokens are averaged
    denominator: Literal["sampled", "valid"]  # whether groups without signal count in the average
    clip_low: Share  # 1 is off: a ratio is never below 0
    clip_high: Annotated[float, Range(0)]  # inf is off
    std_ddof: Annotated[int, Range(0, 1)]  # GRPO's standard deviation: 0 as in the paper, 1 as in verl and TRL
    std_epsilon: NonNegative  # added to that standard deviation
    no_signal_tolerance: NonNegative  # a group whose rewards spread no wider than this carries no signal
    old_logprobs: Literal["sampler", "trainer"]  # the denominator of the ratio
    importance_cap: NonNegative  # of importance sampling between sampler and trainer; 0 is off
    importance_beyond: Literal["truncate", "mask"]  # what is done with tokens beyond it (mask: or below its inverse)
    kl_coef: NonNegative  # of the KL to the frozen base policy; 0 is off
    kl_estimator: Literal["k1", "k2", "k3"]


@dataclass(frozen=True)
class OptimizerConfig:
    """How far an update goes."""

    learning_rate: Positive
    warmup_updates: CountOrNone  # linear, in optimizer steps
    schedule: Literal["constant", "cosine"]  # after the warm-up; cosine would reach 0 if every step had an update
    weight_decay: NonNegative  # 0 is Adam, above it AdamW; norms and biases are never decayed
    beta1: Annotated[float, Range(0, 0.999999)]
    beta2: Annotated[float, Range(0, 0.999999)]
    epsilon: Positive
    clip_norm: Annotated[float, Range(0, open_low=True)]  # of the global gradient; inf is off
    max_nonfinite: CountOrNone  # updates in a row that may be skipped as not finite before the run stops


@dataclass(frozen=True)
class TrainConfig:
    """How long to train, and in which portions."""

    steps: Count  # rollout batches
    minibatches: Count  # optimizer steps per rollout batch
    microbatch_groups: Count  # groups whose activations are in memory at once
    logprob_chunk: CountOrNone  # positions whose logits are in memory at once; 0 is all


@dataclass(frozen=True)
class EvaluationConfig:
    """Measurements on held-out problems: of the test split before and after, of the validation split on a schedule."""

    every: CountOrNone  # steps between evaluations on the validation split; 0 is never
    validation_problems: CountOrNone  # 0 is all that the task has
    validation_samples: Count
    test_problems: CountOrNone  # of the evaluation before and after training; 0 is all that the task has
    test_samples: Count
    prompts_per_batch: Count
    bootstrap: Count  # resamples of the problems, for the intervals
    sampling: SamplingConfig


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept to continue from."""

    every: Count  # steps
    keep_last: Count
    keep_best: CountOrNone  # by validation pass@1


@dataclass(frozen=True)
class LoggingConfig:
    """What a run writes down beside its metrics."""

    rollouts_every: CountOrNone  # steps between rollout batches written out in full; 0 is never
    arms_every: CountOrNone  # steps between measurements of the gradient's two arms, each about an update; 0 is never
    tensorboard: bool


@dataclass(frozen=True)
class MeshConfig:
    """How many devices along each axis of the mesh."""

    data: Annotated[int, Range(-1)]  # -1: all devices that fsdp and tensor leave
    fsdp: Count
    tensor: Count


@dataclass(frozen=True)
class Config:
    """A run."""

    seed: Seed
    task: ModularExpressionsConfig | QuestionsConfig | OwnTaskConfig
    model: ModelConfig
    warm_start: WarmStartConfig | None  # None: the base policy is the checkpoint
    rollout: RolloutConfig
    objective: ObjectiveConfig
    optimizer: OptimizerConfig
    train: TrainConfig
    evaluation: EvaluationConfig
    checkpoint: CheckpointConfig
    logging: LoggingConfig
    mesh: MeshConfig
