"""Checks of a configuration alone, beyond the rules that every command applies (`grpo_jax/config/rules.py`)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grpo_jax.config import Config, QuestionsConfig, counted
from grpo_jax.doctor.findings import Check, Finding, note, warning
from grpo_jax.objectives import unread_fields

# The learning rates of the shipped configurations lie within a factor of nine of .0775 / sqrt(parameters): 2e-4 for
# .15M parameters, 1e-5 for 135M, 1e-6 and 8e-6 for 1.5B and 7B. Adapters need about ten times as much.
TYPICAL_RATE, OF_ADAPTERS = 0.0775, 10.0
TOO_HIGH, TOO_LOW = 20.0, 1 / 50  # times the typical rate

LARGE = 500_000_000  # parameters, whose activations in float32 are worth a thought anywhere
LARGE_FOR_FLOAT32 = 50_000_000  # on an accelerator, which multiplies bfloat16 several times as fast

BY_PATTERN = ("mathematics", "mathematics_any_form", "exact", "numeric")  # terms that find answers by answer_pattern


def finds_by_pattern(config: Config) -> bool:
    """Return whether a term of the reward judges what `task.reward.answer_pattern` finds."""
    return isinstance(config.task, QuestionsConfig) and any(term in BY_PATTERN for term in config.task.reward.terms)


@dataclass(frozen=True)
class Written:
    """A configuration, and what is known of its model without the weights."""

    config: Config
    parameters: int
    tied_head: bool
    platform: str  # JAX's name of the devices: cpu, gpu or tpu
    training_problems: int
    has_ratio: bool  # whether the objective compares the policy with the one that sampled


def _learning_rate(w: Written) -> Iterator[Finding]:
    rate, adapters = w.config.optimizer.learning_rate, w.config.model.lora is not None
    typical = TYPICAL_RATE / math.sqrt(w.parameters) * (OF_ADAPTERS if adapters else 1)
    if not TOO_LOW * typical <= rate <= TOO_HIGH * typical:
        yield warning(
            f"optimizer.learning_rate={rate:g}: is {rate / typical:.2g} times what is usual for "
            f"{'adapters of ' if adapters else ''}a policy of {w.parameters / 1e6:,.3g}M parameters; try about "
            f"{typical:.1g}."
        )


def _compute_dtype(w: Written) -> Iterator[Finding]:
    dtype, size = w.config.model.compute_dtype, f"a policy of {w.parameters / 1e6:,.0f}M parameters"
    cpu = w.platform == "cpu"
    if dtype == "float32" and w.parameters >= (LARGE if cpu else LARGE_FOR_FLOAT32):
        yield warning(
            f"model.compute_dtype='float32': {size} is sampled and trained with activations of twice the size, and on "
            "accelerators several times as slowly; set it to 'bfloat16'."
        )
    if dtype == "bfloat16" and cpu:
        yield warning(
            "model.compute_dtype='bfloat16': a CPU computes it more slowly than float32, and less exactly; set it to "
            "'float32', or run on an accelerator."
        )


def _old_logprobs(w: Written) -> Iterator[Finding]:
    c = w.config
    if c.model.compute_dtype == "bfloat16" and c.objective.old_logprobs == "sampler" and w.has_ratio:
        yield warning(
            "objective.old_logprobs='sampler': in bfloat16 the sampler's log-probabilities differ from the trainer's "
            "by rounding, which the ratio takes for a change of the policy; set it to 'trainer'."
        )


def _answer_asked_for(w: Written) -> Iterator[Finding]:
    task = w.config.task
    if not isinstance(task, QuestionsConfig) or task.reward.answer_pattern:
        return
    if finds_by_pattern(w.config) and "boxed" not in task.template + task.system:
        yield warning(
            f"task.template={task.template!r}: does not ask for a \\boxed{{}}, where task.reward.answer_pattern='' "
            "looks for the answer; ask for it, or write a pattern."
        )


def _kl_coef(w: Written) -> Iterator[Finding]:
    if w.config.objective.kl_coef >= 1:
        yield warning(
            f"objective.kl_coef={w.config.objective.kl_coef:g}: holds the policy to the base policy harder than the "
            "reward moves it; values from .001 to .1 are usual, and the paper has 0."
        )


def _unread(w: Written) -> Iterator[Finding]:
    objective = w.config.objective
    for field in unread_fields(objective):
        yield note(
            f"objective.{field}={getattr(objective, field):g}: {objective.name} does not read it, so it has no effect."
        )


def _epochs(w: Written) -> Iterator[Finding]:
    c = w.config
    epochs = c.train.steps * c.rollout.prompts_per_step / max(w.training_problems, 1)
    if epochs >= 50:
        yield note(
            f"train.steps={c.train.steps}: shows each of the {counted(w.training_problems, 'training problem', ',')} "
            f"about {epochs:,.0f} times, so expect the test score to stop rising before the reward does."
        )


def _warm_up(w: Written) -> Iterator[Finding]:
    c = w.config
    updates = c.train.steps * c.train.minibatches
    if c.optimizer.warmup_updates > updates / 2:
        yield warning(
            f"optimizer.warmup_updates={c.optimizer.warmup_updates}: is more than half of the "
            f"{counted(updates, 'update')} of the run, so the learning rate is hardly ever what it is set to; lower it."
        )


def _checkpoints(w: Written) -> Iterator[Finding]:
    c = w.config
    if c.checkpoint.every > c.train.steps and not c.checkpoint.minutes:
        yield warning(
            f"checkpoint.every={c.checkpoint.every}: the run has {counted(c.train.steps, 'step')}, so nothing is saved "
            "before its end, and a killed run loses everything; lower it, or set checkpoint.minutes."
        )


def _evaluations(w: Written) -> Iterator[Finding]:
    c = w.config
    if c.evaluation.every > c.train.steps:
        yield warning(
            f"evaluation.every={c.evaluation.every}: the run has {counted(c.train.steps, 'step')}, so there is no "
            "evaluation between its beginning and its end; lower it."
        )


def _tied_head(w: Written) -> Iterator[Finding]:
    if w.tied_head and w.config.rollout.engine is not None:
        yield note(
            "rollout.engine: the head is tied to the embedding, which one build of vLLM does not reload "
            "(docs/engines.md); the trial before the first step shows whether yours does."
        )


def _drafts(w: Written) -> Iterator[Finding]:
    drafts = w.config.rollout.speculation
    if drafts and w.platform == "cpu":
        yield warning(
            f"rollout.speculation={drafts}: each step of decoding reads {drafts + 1} rows for every completion, which "
            "costs a CPU about as much as right drafts save, or more (docs/performance.md); set it to 0."
        )


CHECKS: Sequence[Check[Written]] = (
    Check("learning rate for the model's size", _learning_rate),
    Check("dtype of activations for model and devices", _compute_dtype),
    Check("whose log-probabilities the ratio is taken to", _old_logprobs),
    Check("whether the answer is asked for where it is looked for", _answer_asked_for),
    Check("weight of the KL term", _kl_coef),
    Check("fields that the objective does not read", _unread),
    Check("how often each problem is seen", _epochs),
    Check("length of the warm-up", _warm_up),
    Check("whether anything is saved before the end", _checkpoints),
    Check("whether anything is evaluated before the end", _evaluations),
    Check("tied heads with a server", _tied_head),
    Check("whether drafts pay on these devices", _drafts),
)
