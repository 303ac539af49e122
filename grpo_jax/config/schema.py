"""The schema of a configuration: frozen dataclasses that define each field's type, range and default.

A field's comment explains its meaning, and the reason for its default. Fields without a default must be given by a
config file or a flag. `python launch/main.py --config=FILE --print-config` prints the values of all fields.

A field of type `A | None` is a section that may be absent. If several sections are possible (`A | B`), the value of
their first field decides which one it is. The fields of a section that a config file omits have their defaults.

Annotations mark other properties of a field or a section: `Range`, `Change`, `Before` and `MayBeEmpty`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlsplit

from grpo_jax.config.architecture import ArchitectureConfig
from grpo_jax.config.marks import (
    Before,
    Change,
    Count,
    CountOrZero,
    LearningRate,
    MayBeEmpty,
    NonNegative,
    Positive,
    Range,
    Seed,
    Share,
)


class ConfigError(ValueError):
    """A configuration that cannot run. Each argument is one sentence for the person who wrote the configuration."""

    def __str__(self) -> str:
        return "\n".join(self.args)


@dataclass(frozen=True)
class ModularExpressionsConfig:
    """The embedded task: grpo_jax/data/tasks/modular_expressions.py."""

    name: Literal["modular_expressions"]
    operations: Annotated[int, Range(1, 12)] = 3  # difficulty: `8+(8+(4+6))=` has three, which is hard in one's head
    operators: str = "+"  # any of + - *; a policy of 0.15M parameters learns + alone well enough
    modulus: Annotated[int, Range(2, 10)] = 10  # values are taken modulo this, so that each is one digit
    train_problems: Count = 16384  # distinct ones, an epoch; the demo sees each about twice
    right: Literal["answer", "derivation"] = "answer"  # derivation: only with all its lines, see rewards/chains.py
    credit: Literal["exact", "partial"] = "exact"  # exact: the paper's 0 and 1; partial: see rewards/chains.py


@dataclass(frozen=True)
class SourceConfig:
    """Where problems are read."""

    kind: str  # a key of grpo_jax.data.sources.KINDS, such as jsonl, or your own `package.module:function`
    path: str  # what grpo_jax.data.sources describes for each kind: a file, a pattern, a name, a directory
    split: str = ""  # tfds, huggingface: as in "train" or "train[:1000]"; other kinds have none
    prompt_field: str = "question"  # where a record has the question; dots go into nested records, numbers into lists
    answer_field: str = "answer"
    answer_format: Literal["plain", "boxed", "after_hashes"] = "plain"  # all, its last \boxed{}, after its last ####
    limit: CountOrZero = 0  # read only this many records from the beginning; 0: all


@dataclass(frozen=True)
class RewardConfig:
    """The reward of a completion: a weighted sum, and the limits of the processes that compare answers."""

    # Name -> weight; a name is a key of grpo_jax.rewards.REWARDS, or your own `package.module:function`. mathematics:
    # 1 for an answer that equals the gold one as mathematics, else 0.
    terms: dict[str, float] = field(default_factory=lambda: {"mathematics": 1.0})
    answer_pattern: str = ""  # a regular expression with one group, whose last match is the answer; "": last \boxed{}
    max_characters: Annotated[int, Range(1, 10_000)] = 1000  # of an answer; a longer one is wrong
    workers: Annotated[int, Range(1, 256), Change.FREE] = 1  # processes; one is enough for short answers
    seconds: Annotated[float, Range(0.05, 600)] = 5.0  # of CPU time for one pair of answers; most take milliseconds
    memory_mb: Annotated[int, Range(256, 65536)] = 1024  # of a worker
    overlong_tokens: CountOrZero = 0  # DAPO's buffer before max_new_tokens, along which `overlong` goes from 0 to -1


@dataclass(frozen=True, kw_only=True)
class QuestionsConfig:
    """Questions of data sets for a pretrained model: grpo_jax/data/tasks/questions.py."""

    name: Literal["questions"]
    train: SourceConfig
    test: SourceConfig | None = None  # None: a sixteenth of `train`, by a hash of the prompt
    hold_out_validation: bool = True  # whether an eighth of `train` is the validation split; False: there is none
    tokenizer: str = ""  # a directory; "" is the model's checkpoint
    system: str = ""  # the system message; "": none, unless the chat template has its own
    # The user's message, with {question}. The default asks for an answer where the default answer_pattern looks for it.
    template: str = "{question}\nThink step by step, and put the final answer within \\boxed{}."
    chat: bool = True  # use the tokenizer's chat template; False: for models without one
    # Variables of the chat template, as in {"enable_thinking": False}.
    chat_variables: dict[str, bool | int | float | str] = field(default_factory=dict)
    # More tokens that end a completion, each by its text or its id, as in ("</answer>", 151643).
    stop_tokens: Annotated[tuple[str | int, ...], MayBeEmpty()] = ()
    model_stop_tokens: bool = True  # whether the tokens that the model's files name end a completion, too
    max_prompt_tokens: Count = 1024  # longer problems are not trained on; nearly all of MATH are shorter
    # Compute the tokens before every question, such as a system message or examples, once for all rows of a batch.
    share_prefix: Annotated[bool, Before(False), Change.ROUNDING] = True
    reward: RewardConfig


@dataclass(frozen=True)
class OwnTaskConfig:
    """A task of the user's own: docs/tutorial.md."""

    name: Literal["own"]
    factory: str  # `package.module:NAME`, called with `parameters` by name; returns a grpo_jax.data.Task
    parameters: dict[str, float] = field(default_factory=dict)


Module = Literal["query", "key", "value", "out", "gate", "up", "down"]


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters (arXiv 2106.09685): only they are trained, and all other parameters stay unchanged."""

    rank: Count = 16  # 4 % of the parameters of a model of 135M
    alpha: Annotated[float, Range(1e-3, 1e4)] = 32.0  # adapters are scaled by alpha / rank; twice the rank is usual
    modules: tuple[Module, ...] = ("query", "key", "value", "out", "gate", "up", "down")  # in every layer

    @property
    def scale(self) -> float:
        """The factor of the adapters."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class ModelConfig:
    """The origin of the policy, and how it is computed."""

    checkpoint: str = ""  # a directory in Hugging Face's format; "": the warm start trains a policy from scratch
    architecture: ArchitectureConfig | None = None  # None: that of the checkpoint's config.json
    # The dtype of activations; parameters and optimizer are always float32. bfloat16 is for TPU and GPU.
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    # One compiled layer in a loop, which compiles fast, or all layers unrolled, which runs faster on CPU.
    scan_layers: bool = False
    # The part that the backward pass recomputes: none, all, or all but matmuls. "none" is fastest if memory suffices.
    remat: Annotated[Literal["none", "full", "dots"], Change.ROUNDING] = "none"
    # For whole rows. plain runs everywhere; fused is a kernel for long rows in bfloat16, on TPU and GPU.
    attention: Literal["plain", "fused"] = "plain"
    lora: LoraConfig | None = None  # None: all parameters are trained


@dataclass(frozen=True)
class WarmStartConfig:
    """How the base policy is trained from scratch. The defaults fit the embedded task: half a minute on two cores."""

    full_steps: CountOrZero = 350  # supervised steps on solutions that write every line, which teach how to compute
    skip_steps: CountOrZero = 130  # then steps on solutions that leave lines out; more of them lower pass@1
    skip_probability: Share = 0.7  # of each intermediate line, in the second phase
    batch_size: Count = 128
    full_learning_rate: LearningRate = 2e-3
    skip_learning_rate: LearningRate = 1e-3
    weight_decay: NonNegative = 0.01
    seed: Seed = 0  # of parameters and data, not touched by the run's seed: so runs of all seeds share a base policy
    checkpoint_every: Annotated[Count, Change.FREE] = 100  # steps: what a killed warm start loses at most
    # Finished warm starts, by recipe; "" is $XDG_CACHE_HOME/grpo_jax, or ~/.cache/grpo_jax.
    cache_dir: Annotated[str, Change.FREE] = ""


@dataclass(frozen=True)
class SamplingConfig:
    """The distribution that tokens are drawn from: temperature, then top-k, top-p, min-p. By default the policy's own.

    The paper trains on the policy's own distribution, and an evaluation measures the trained policy.
    """

    # 0 is greedy. Below .01 vLLM would sample at .01, and in float32 the noise is rounded beside the divided logits.
    temperature: Annotated[float, Range(0.01, 100, or_zero=True)] = 1.0
    top_k: CountOrZero = 0  # 0 is off
    top_p: Annotated[float, Range(1e-6, 1)] = 1.0  # 1 is off; less than 1e-6 would be greedy in any vocabulary
    min_p: Annotated[float, Range(0, 1)] = 0.0  # 0 is off

    @property
    def truncated(self) -> bool:
        """Whether a filter cuts tokens off, so that the sampled distribution is not the policy's."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


@dataclass(frozen=True, kw_only=True)
class VllmConfig:
    """A vLLM server that samples all completions: docs/engines.md."""

    name: Literal["vllm"] = "vllm"
    address: Annotated[str, Change.FREE] = "127.0.0.1:8000"  # HOST:PORT
    # Whether the address may be another machine's. Whoever reaches the server can run code in it.
    remote: Annotated[bool, Change.FREE] = False
    # A directory that the server sees under the same name. Weights pass through it.
    weights: Annotated[str, Change.FREE]
    # How the adapters of model.lora reach the server: merged into whole weights, or alone, in much smaller files. For
    # "alone" the server needs --enable-lora, and the checkpoint that is trained.
    adapters: Annotated[Literal["merged", "alone"], Change.ROUNDING] = "merged"
    requests: Annotated[Count, Change.FREE] = 256  # at once; vLLM decodes as many by default
    # For one answer, waiting in the server's queue included.
    seconds: Annotated[float, Range(1e-3, 1e6), Change.FREE] = 600.0
    retries: Annotated[CountOrZero, Change.FREE] = 8  # of a request that gets no answer: enough for a restart
    wait: Annotated[Positive, Change.FREE] = 1.0  # seconds before the first retry; doubles up to a minute
    # The largest mean |difference| between the server's and the trainer's log-probabilities of the canary's tokens.
    # Chosen for bfloat16; in float32 set 1e-3.
    tolerance: Annotated[Positive, Change.FREE] = 0.05

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The parts of the address. Raises ValueError if it is not HOST:PORT."""
        parts = urlsplit(f"//{self.address}")
        if not parts.hostname or not parts.port or parts.netloc != self.address or parts.username is not None:
            raise ValueError(self.address)
        return parts.hostname, parts.port


@dataclass(frozen=True)
class WeightedSelectionConfig:
    """Prompts by chance: those that promise more signal for their tokens are likelier (training/selection.py)."""

    name: Literal["weighted"]
    candidates: Count = 4  # prompts of the order for each one that is sampled
    # The share of the chance that all candidates have alike, which bounds the weights: by 5.
    floor: Annotated[float, Range(1e-6, 1)] = 0.2
    unbiased: bool = True  # weigh each group by the inverse of its prompt's chance; False: all weigh 1


@dataclass(frozen=True)
class SkippingSelectionConfig:
    """Prompts in their order, without some whose last groups carried no signal: training/selection.py."""

    name: Literal["skipping"]
    # The chance to sample a prompt whose last group carried no signal; squared after two such groups, and so on.
    explore: Annotated[float, Range(0, 1, open_low=True)] = 0.5


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """The samples of one step."""

    prompts_per_step: Count = 32  # the batch of the shipped studies
    prompts_per_batch: Annotated[Count, Change.ROUNDING] = 32  # prefilled at once: it bounds the cache's memory
    # Steps after which an earlier result of a prompt counts half (training/visits.py). The estimate is logged.
    # two_grpo_rescaled, history_baseline and a weighted selection use it.
    success_half_life: Positive = 200.0
    # The most rollouts of a step if groups without signal are replaced by new ones; 0: none is replaced.
    max_rollouts: CountOrZero = 0
    group_size: Annotated[int, Range(2, 4096), Change.INHERITED] = 2  # completions of each prompt: a pair
    max_new_tokens: Annotated[Count, Change.INHERITED]  # the stop token included
    # Completions that are decoded at once; the others wait, and take the place of one that has stopped. 0: all of a
    # batch. Fewer are faster if lengths differ much, and need a smaller cache. -1: automatic (`automatic_lanes` in
    # sampling/lane_counts.py), since the best number depends on how many completions there are, and on the device.
    lanes: Annotated[int, Range(-1), Change.ROUNDING, Before(0)] = -1
    # Tokens that are drafted after each token, and read together with it; those that are right need no step of their
    # own (sampling/speculation.py). Completions stay the same. 0: none, because on CPUs drafts seldom pay
    # (docs/performance.md).
    speculation: Annotated[CountOrZero, Change.ROUNDING] = 0
    # The dtype of the kernels that sample, evaluations excepted: the model's, or int8 with a scale for each output
    # channel (policy/int8.py), which needs less memory. int8 also needs `objective.importance_cap`, because its policy
    # is not exactly the trainer's.
    quantization: Literal["none", "int8"] = "none"
    # The noise that a group's completions share (sampling/noise.py). In the paper they share none.
    noise: Literal["independent", "antithetic", "common"] = "independent"
    engine: VllmConfig | None = None  # what samples; None: the JAX sampler, on the devices that train
    # Steps between the policy that samples a batch and the one that learns from it. 0 is on-policy, as in the paper. 1
    # lets a server, or devices of their own (mesh.rollout_share), sample during the update; more is no faster.
    delay: CountOrZero = 0
    # Which prompts of the order are sampled; None: all, one after the other.
    selection: WeightedSelectionConfig | SkippingSelectionConfig | None = None
    sampling: SamplingConfig

    @property
    def adapters_alone(self) -> bool:
        """Whether the engine takes adapters apart from the weights under them."""
        return isinstance(self.engine, VllmConfig) and self.engine.adapters == "alone"


@dataclass(frozen=True)
class ObjectiveConfig:
    """The objective of the updates."""

    name: str = "two_grpo"  # a key of grpo_jax.objectives.OBJECTIVES, or your own `package.module:NAME`
    parameters: dict[str, float] = field(default_factory=dict)  # of this objective alone, such as DPO's beta
    # How tokens are averaged. published: as in the paper that introduced the objective.
    aggregation: Literal["published", "sequence", "token", "group_token", "constant", "sum"] = "published"
    # Which tokens carry gradient. after_prefix: those from the first one on at which the completions of a group differ.
    credit: Literal["all", "after_prefix"] = "all"
    # What the loss is averaged over. sampled: all groups of the step, so the gradient's size follows the share with
    # signal. valid: those with signal alone.
    denominator: Literal["sampled", "valid"] = "sampled"
    clip_low: Share = 0.2  # 1 is off: a ratio is never below 0; .2 is the paper's
    clip_high: Annotated[float, Range(0)] = 0.28  # inf is off; .28 is the paper's
    std_ddof: Annotated[int, Range(0, 1)] = 0  # of GRPO's standard deviation: 0 as in the paper, 1 as in verl and TRL
    std_epsilon: NonNegative = 0.0  # added to that standard deviation; groups without spread are left out anyway
    no_signal_tolerance: NonNegative = 1e-6  # rewards of a group that spread no wider than this do not differ
    # The log-probabilities in the ratio's denominator. Those of the sampler are already computed, and in float32 they
    # equal the trainer's up to 1e-5.
    old_logprobs: Literal["sampler", "trainer"] = "sampler"
    importance_cap: NonNegative = 0.0  # of importance sampling between sampler and trainer; 0 is off
    importance_beyond: Literal["truncate", "mask"] = "truncate"  # beyond the cap; mask: also below its inverse
    kl_coef: NonNegative = 0.0  # of the KL to the frozen base policy; 0 is off, as in the paper
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"  # k3 is that of GRPO


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its learning rate."""

    learning_rate: LearningRate
    warmup_updates: CountOrZero = 5  # linear, in optimizer steps
    # After the warm-up. constant is the paper's; cosine would reach 0 if every step had an update.
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: NonNegative = 0.0  # 0 is Adam, above it AdamW; norms and biases are never decayed
    beta1: Annotated[float, Range(0, 0.999999)] = 0.9
    beta2: Annotated[float, Range(0, 0.999999)] = 0.999
    epsilon: Annotated[float, Range(1e-18, 1)] = 1e-8  # gradients below 1e-18 have no square in float32
    clip_norm: Annotated[float, Range(1e-12)] = 1.0  # of the global gradient; inf is off; 1 is verl's
    max_nonfinite: CountOrZero = 3  # updates in a row that may be skipped as not finite before the run stops


@dataclass(frozen=True)
class TrainConfig:
    """How long to train, and in which portions."""

    steps: Annotated[Count, Change.LENGTH]  # rollout batches
    minibatches: Count = 1  # optimizer steps per rollout batch; 1 is on-policy
    # Groups whose activations are in memory at once. 1 needs the least memory; more are faster if they fit.
    microbatch_groups: Annotated[Count, Change.ROUNDING] = 1
    # Positions whose logits are in memory at once, and computed again for the gradient; 0: all, and only once.
    logprob_chunk: Annotated[CountOrZero, Change.ROUNDING] = 32
    # Seconds without progress (a step, or a part of an evaluation) after which the process shows where it is stuck, and
    # ends; 0 is never. An hour is longer than any step, and than compiling a large model.
    stuck_after: Annotated[float, Range(0), Change.FREE, Before(0.0)] = 3600.0


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Measurements on held-out problems: of the test split before and after, of the validation split on a schedule."""

    every: Annotated[CountOrZero, Change.FREE] = 50  # steps between evaluations on the validation split; 0 is never
    validation_problems: CountOrZero = 256  # 0 is all that the task has
    validation_samples: Count = 4
    test_problems: CountOrZero = 1024  # of the evaluation before and after training; 0 is all that the task has
    test_samples: Count = 8
    prompts_per_batch: Annotated[Count, Change.ROUNDING] = 128  # problems sampled at once
    bootstrap: Count = 1000  # resamples of the problems, for the intervals
    sampling: SamplingConfig


@dataclass(frozen=True)
class CheckpointConfig:
    """The checkpoints that are kept."""

    every: Count = 100  # steps: what a killed run loses at most
    # Minutes after which the next step is saved, too; 0: only `every` decides. It matters where steps take long: half
    # an hour is little to lose, and much longer than it takes to write a checkpoint.
    minutes: Annotated[float, Range(0), Before(0.0)] = 30.0
    keep_last: Count = 2  # two, in case the newest is damaged
    keep_best: CountOrZero = 1  # by validation pass@1


@dataclass(frozen=True)
class LoggingConfig:
    """The files that a run writes in addition to its metrics."""

    rollouts_every: CountOrZero = 1  # steps between rollout batches written out in full; 0 is never
    # Steps between measurements of the gradient's arms (its parts from positive and from negative advantages), each of
    # which costs about an update; 0 is never.
    arms_every: Annotated[CountOrZero, Before(0)] = 20
    # Where the metrics go besides metrics.jsonl: tensorboard, wandb, trackio, mlflow, or a tracker of your own as
    # package.module:NAME (docs/tracking.md).
    trackers: Annotated[tuple[str, ...], MayBeEmpty()] = ("tensorboard",)


@dataclass(frozen=True)
class MeshConfig:
    """How many devices along each axis of the mesh."""

    data: Annotated[int, Range(-1)] = -1  # -1: all devices that fsdp and tensor leave
    fsdp: Count = 1
    tensor: Count = 1
    # The share of the devices that samples, during the updates, and does nothing else; the other axes are then those of
    # the rest. 0: all devices do both in turn. It needs `rollout.delay`.
    rollout_share: Share = 0.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """A run."""

    seed: Seed = 0  # of the order of prompts and of all sampling
    task: Annotated[ModularExpressionsConfig | QuestionsConfig | OwnTaskConfig, Change.INHERITED]
    model: Annotated[ModelConfig, Change.INHERITED]
    warm_start: Annotated[WarmStartConfig | None, Change.INHERITED] = None  # None: the base policy is the checkpoint
    rollout: RolloutConfig
    objective: ObjectiveConfig
    optimizer: OptimizerConfig
    train: TrainConfig
    evaluation: Annotated[EvaluationConfig, Change.INHERITED]
    checkpoint: Annotated[CheckpointConfig, Change.FREE]
    logging: Annotated[LoggingConfig, Change.FREE]
    mesh: Annotated[MeshConfig, Change.ROUNDING]
