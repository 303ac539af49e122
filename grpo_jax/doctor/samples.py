"""Checks of groups that the base policy has sampled, of their rewards, and of one update."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from grpo_jax.config import Config, agreeing, counted
from grpo_jax.doctor.findings import Check, Finding, Tokens, error, note, warning
from grpo_jax.doctor.written import finds_by_pattern
from grpo_jax.evaluation import bootstrap_interval, right_of, says_whether_right
from grpo_jax.runs.groups import JudgedGroup
from grpo_jax.runs.lines import Measured

FEW = 0.02  # the share of groups with signal below which a run learns from hardly anything
NEARLY_ALL = 0.97
UNIFORM = 0.9  # of the entropy of a policy that knows nothing
RESAMPLES = 1000
# The largest mean |difference| of a token's log-probability between sampler and trainer.
TOLERANCE: Mapping[str, float] = {"float32": 1e-3, "bfloat16": 0.05}
QUANTISED = 0.1  # the same of a quantised sampler, which importance weights correct for: as a rule 1.1 or .9


@dataclass(frozen=True)
class Sampled:
    """Some steps of training by the base policy, which was not changed between them, and one update."""

    config: Config
    groups: Sequence[JudgedGroup]
    signal: Sequence[bool]  # which groups carry signal under the run's objective
    entropy: float  # minus the mean log-probability of the sampled tokens
    vocabulary: int
    unscored: Mapping[str, int]  # how many completions had no verdict, by reason
    has_ratio: bool  # whether the objective compares the policy with the one that sampled
    measured: Mapping[str, float]  # metrics of the update; none if no group carried signal
    seconds_sampling: float  # of a step, without compilation
    seconds_update: float  # NaN if no group carried signal
    tokens: Sequence[Tokens]  # the first completions
    recorded: Sequence[Tokens]  # the same, as an earlier diagnosis sampled them; empty: there is none

    @property
    def completions(self) -> int:
        return sum(len(group.completions) for group in self.groups)

    def share(self, number: float) -> str:
        """Return a number of completions as a part of all."""
        return f"{number:.0f} of {counted(self.completions, 'sampled completion')}"


def pair_shares(groups: Sequence[JudgedGroup]) -> Float[np.ndarray, " N"]:
    """Return an unbiased estimate, for each fully judged prompt, of the probability that a pair holds one right answer.

    That is 2p(1-p) if p is the prompt's probability of a right completion (arXiv 2510.00977). Among n completions with
    c right ones, 2c(n-c)/(n(n-1)) of the pairs hold one right answer.
    """
    right = right_of([group for group in groups if all(one.verdict.scored for one in group.completions)] or groups)
    n, c = right.shape[1], right.sum(axis=1)
    shares: np.ndarray = 2 * c * (n - c) / (n * (n - 1))
    return shares


def _signal(s: Sampled) -> Iterator[Finding]:
    share, right = float(np.mean(s.signal)), float(right_of(s.groups).mean())
    reward = {one.verdict.reward for group in s.groups for one in group.completions if one.verdict.scored}
    if right > NEARLY_ALL and share < 0.5:  # with partial credit right completions may differ in their rewards
        yield warning(
            f"task: {100 * right:.0f} % of {counted(s.completions, 'sampled completion')} are right already, so there "
            "is hardly anything to learn; take harder problems."
        )
    elif not any(s.signal) and len(reward) == 1:
        yield error(
            f"task: all {counted(s.completions, 'sampled completion')} have the reward {reward.pop():g}, so no group "
            "carries signal; take easier problems, a stronger model, or a reward with partial credit."
        )
    elif share < FEW:
        yield warning(
            f"task: {sum(s.signal)} of {counted(len(s.groups), 'group')} {agreeing(sum(s.signal), 'carries', 'carry')} "
            "signal, so an update learns from hardly anything; take problems that are neither too easy nor too hard, "
            "raise rollout.group_size, or set rollout.max_rollouts."
        )


def _cut_off(s: Sampled) -> Iterator[Finding]:
    cut_off = [one for group in s.groups for one in group.completions if not one.stopped]
    cut, room = len(cut_off), s.config.rollout.max_new_tokens
    early = sum(one.verdict.answer is None for one in cut_off)
    if cut == s.completions:
        yield warning(
            f"rollout.max_new_tokens={room}: not one of {counted(s.completions, 'sampled completion')} ended with a "
            "stop token; raise it, or name the token with which the model ends a text in task.stop_tokens."
        )
    elif early > s.completions / 2:
        yield warning(f"rollout.max_new_tokens={room}: {s.share(early)} were cut off before their answer; raise it.")
    elif cut > NEARLY_ALL * s.completions:
        yield warning(f"rollout.max_new_tokens={room}: {s.share(cut)} were cut off; raise it.")


def _without_answer(s: Sampled) -> Iterator[Finding]:
    stopped = [one for group in s.groups for one in group.completions if one.stopped and one.verdict.scored]
    none = sum(one.verdict.answer is None for one in stopped)
    if finds_by_pattern(s.config) and stopped and none > 0.9 * len(stopped):
        yield warning(
            f"task.reward.answer_pattern: {none} of {counted(len(stopped), 'sampled completion')} that ended "
            f"{agreeing(none, 'has', 'have')} no answer where it is looked for; ask for its form in task.template, or "
            "write a pattern that finds it."
        )


def _unscored(s: Sampled) -> Iterator[Finding]:
    number = sum(not one.verdict.scored for group in s.groups for one in group.completions)
    if number > 0.05 * s.completions:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(s.unscored.items()))
        yield warning(f"task.reward.terms: {s.share(number)} could not be judged ({reasons}); correct the reward.")


def _alike(s: Sampled) -> Iterator[Finding]:
    alike = sum(len({one.text for one in group.completions}) == 1 for group in s.groups)
    if alike > 0.9 * len(s.groups):
        yield warning(
            f"rollout.sampling.temperature={s.config.rollout.sampling.temperature:g}: in {alike} of "
            f"{counted(len(s.groups), 'group')} all completions are the same, so they cannot differ in their rewards; "
            "raise it."
        )


def _uniform(s: Sampled) -> Iterator[Finding]:
    """Warn of a policy that knows nothing, as with weights or a tokenizer that are not its own."""
    if s.config.rollout.sampling.truncated or s.config.rollout.sampling.temperature != 1:
        return
    if s.entropy > UNIFORM * math.log(s.vocabulary):
        yield warning(
            f"model.checkpoint={s.config.model.checkpoint!r}: the policy draws tokens almost evenly from all "
            f"{s.vocabulary:,} ({s.entropy:.2f} nats a token), as if its weights were random; name trained weights, "
            "and the tokenizer that belongs to them."
        )


def _sampler(s: Sampled) -> Iterator[Finding]:
    difference, objective = s.measured.get(Measured.SAMPLER_DIFFERENCE_MEAN, 0.0), s.config.objective
    quantization = s.config.rollout.quantization
    limit = TOLERANCE[s.config.model.compute_dtype] if quantization == "none" else QUANTISED
    if difference > limit and objective.old_logprobs == "sampler" and s.has_ratio:
        yield warning(
            f"objective.old_logprobs='sampler': its log-probabilities differ from the trainer's by {difference:.2g} a "
            "token, which the ratio takes for a change of the policy; set it to 'trainer'."
        )
    elif difference > limit and quantization != "none":
        yield warning(
            f"rollout.quantization={quantization!r}: the quantised policy's log-probabilities differ from the "
            f"trainer's by {difference:.2g} a token, so importance weights will vary much; set it to 'none'."
        )
    elif difference > limit:
        yield warning(
            f"rollout.engine: the sampler's log-probabilities differ from the trainer's by {difference:.2g} a token, "
            f"more than rounding explains ({limit:g}); see docs/engines.md, and set objective.importance_cap."
        )


def _recorded(s: Sampled) -> Iterator[Finding]:
    """Compare tokens with recorded ones. Keys depend on the seed alone, so only rounding changes tokens, seldom."""
    if not s.recorded:
        return
    pairs = list(zip(s.tokens, s.recorded, strict=False))
    if any(list(now.prompt) != list(then.prompt) for now, then in pairs):
        yield error(
            "--recorded: the prompts are other tokens than they were; compare the same configuration and seed, with "
            "the same problems, tokenizer and chat template."
        )
        return
    limit = TOLERANCE[s.config.model.compute_dtype]
    other = sum(list(now.completion) != list(then.completion) for now, then in pairs)
    differences = [
        abs(a - b)
        for now, then in pairs
        for a, b in itertools.islice(zip(now.logprobs, then.logprobs, strict=False), _equal_tokens(now, then))
    ]
    mean = float(np.mean(differences)) if differences else math.inf
    if mean > limit or other > len(pairs) / 2:
        yield error(
            f"--recorded: {other} of {counted(len(pairs), 'completion')} {agreeing(other, 'consists', 'consist')} of "
            f"other tokens than before, and log-probabilities of equal ones differ by {mean:.2g}, where rounding "
            f"explains {limit:g}; look for another checkpoint, dtype or kernel."
        )
    else:
        yield note(
            f"{len(pairs) - other} of {counted(len(pairs), 'completion')} "
            f"{agreeing(len(pairs) - other, 'consists', 'consist')} of the recorded tokens. Their log-probabilities "
            f"differ by {mean:.2g} on average."
        )


def _equal_tokens(now: Tokens, then: Tokens) -> int:
    """Return how many tokens two completions share at their beginnings."""
    pairs = zip(now.completion, then.completion, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _gradient(s: Sampled) -> Iterator[Finding]:
    norm, clip = s.measured.get(Measured.GRADIENT_NORM, 1.0), s.config.optimizer.clip_norm
    if not math.isfinite(norm):
        yield error(
            "model: the gradient of the first update is not finite; set model.compute_dtype to 'float32' to see "
            "whether the weights or their rounding is the cause."
        )
    elif norm == 0:
        yield error("objective: the gradient of the first update is 0; name another objective, or correct yours.")
    elif norm > 1000 * clip:
        yield warning(
            f"optimizer.clip_norm={clip:g}: the gradient of the first update is {norm:.2g} long, so clipping alone "
            "decides its size; lower the rewards' weights, or see whether objective.aggregation is meant."
        )


def _cost(s: Sampled) -> Iterator[Finding]:
    """State how much of a step is learned from, and what it costs."""
    if np.isnan(s.seconds_update):
        return
    steps, step = s.config.train.steps, s.seconds_sampling + s.seconds_update
    yield note(
        f"A step takes about {step:.3g} s here ({s.seconds_sampling:.3g} sampling and rewards, {s.seconds_update:.3g} "
        f"update), so train.steps={steps} take about {steps * step / 60:,.3g} minutes, without evaluations."
    )


def _pairs(s: Sampled) -> Iterator[Finding]:
    """Say whether pairs or resampling suit this model and data."""
    shares, rollout = pair_shares(s.groups), s.config.rollout
    share = float(shares.mean())
    if share == 0:
        return
    low, high = bootstrap_interval(shares, RESAMPLES, seed=0)
    learned = rollout.prompts_per_step * float(np.mean(s.signal))
    whole, rollouts = rollout.prompts_per_step * 2 / share, rollout.prompts_per_step * rollout.group_size
    if rollout.group_size > 2:
        hint = (
            f"as pairs its {counted(rollouts, 'rollout', ',')} would hold about {rollouts / 2 * share:,.0f} such pairs"
        )
    elif share >= 0.3:
        hint = "pairs suit this model and data"
    elif share >= 0.05:
        hint = (
            f"a step full of such pairs needs about {whole:,.0f} rollouts, by rollout.max_rollouts, or compare with a "
            "larger rollout.group_size"
        )
    else:
        hint = (
            f"a step full of such pairs needs about {whole:,.0f} rollouts, so easier problems or a larger "
            "rollout.group_size will cost less"
        )
    yield note(
        f"A pair holds one right and one wrong completion with probability {share:.3f} [{low:.3f}, {high:.3f}] "
        f"(2p(1-p), from {counted(s.completions, 'rollout')} of {counted(len(s.groups), 'problem')}); a step of "
        f"{counted(rollout.prompts_per_step, 'group')} of {rollout.group_size} learns from about {learned:.1f} of "
        f"them; {hint}."
    )


def _lengths(s: Sampled) -> Iterator[Finding]:
    lengths = [one.length for group in s.groups for one in group.completions]
    reasons = Counter(one.stop_reason for group in s.groups for one in group.completions)
    ended = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    known = says_whether_right(s.groups).any()
    right = f"{100 * right_of(s.groups).mean():.1f} % are right" if known else "nothing says which are right"
    yield note(
        f"Completions have {np.mean(lengths):.1f} tokens on average, of rollout.max_new_tokens="
        f"{s.config.rollout.max_new_tokens} ({ended}); {right}."
    )


CHECKS: Sequence[Check[Sampled]] = (
    Check("whether groups carry signal", _signal),
    Check("completions that are cut off", _cut_off),
    Check("completions without an answer", _without_answer),
    Check("completions that cannot be judged", _unscored),
    Check("groups of equal completions", _alike),
    Check("whether the policy knows anything", _uniform),
    Check("log-probabilities of sampler and trainer", _sampler),
    Check("tokens that were recorded", _recorded),
    Check("gradient of an update", _gradient),
    Check("lengths", _lengths),
    Check("share of pairs with signal", _pairs),
    Check("seconds a step", _cost),
)
