"""Which prompts a step samples, and how much the group of each weighs in the gradient.

Without `rollout.selection` a step takes the next prompts of the order, one after the other. The two selections below
go by earlier completions (`grpo_jax.training.visits`) and by chance. Besides these, they depend on the cursor, the step
and the run's seed alone, so a continued run selects the same prompts, on any mesh.

**weighted** takes n candidates, the next ones of the order, and samples B of them. Candidate i is drawn by

    q_i = floor / n + (1 - floor) s_i / sum_j s_j,      s_i = sqrt(v_i / c_i),      v_i = 1 - p_i^G - (1 - p_i)^G,

with p_i the estimate of its chance to be right, so that v_i is 2p(1-p) for pairs, and c_i the estimated length of its
completions. If the squared length of a group's gradient is proportional to v_i, its chance of a signal, these s_i
estimate the mean of all candidates' gradients with the least variance for a given number of tokens (for independent
draws: they minimise sum_i v_i / q_i where sum_i q_i c_i is given). If the estimates p_i and c_i are wrong, only the
variance is larger.

A prompt occurs at most once in a step. So the draws are systematic: the candidates lie on a line, one after the other,
and the length of each is pi_i = B q_i, its chance to be sampled. B points at distance 1 from one another are shifted
together by one uniform number, and each picks the candidate on which it lies. So each candidate is sampled with
probability pi_i exactly. Its group weighs

    w_i = B / (n pi_i) = 1 / (n q_i),

and the mean of w_i g_i over the B groups has the expectation of the mean of g over all candidates (Horvitz and
Thompson, 1952). Candidates are all prompts in turn, so this is the gradient that plain sampling estimates. pi_i may not
exceed 1: candidates with more are certain, and the others share the rest. w_i is at most 1 / floor. With `unbiased`
off, all groups weigh 1, and the gradient is that of prompts weighted by q_i.

**skipping** follows GRESO (arXiv 2506.02177): a prompt whose last z groups carried no signal is sampled with the chance
explore^z. GRESO adapts `explore` during training, separately for easy and for hard prompts; here it is fixed. All
groups weigh 1, so the gradient favours prompts that carried signal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from grpo_jax.config import Config, SkippingSelectionConfig, WeightedSelectionConfig
from grpo_jax.data import Problem, PromptSource
from grpo_jax.randomness import TextStream, text_generator
from grpo_jax.training.visits import Visits, signal_chance

Uniform: TypeAlias = Callable[[], float]  # draws a number in [0, 1)

CERTAIN = 1 - 1e-9  # rounding must not let two points fall on one candidate


@dataclass(frozen=True)
class BatchStart:
    """Where a batch of prompts begins, and the step that will learn from it."""

    source: PromptSource
    cursor: int
    step: int


@dataclass(frozen=True)
class Selected:
    """The prompts of a batch."""

    problems: list[Problem]
    weights: Float[np.ndarray, " N"]  # factors of their groups' losses
    consumed: int  # how many prompts of the order were sampled or left out


def select_prompts(config: Config, visits: Visits, start: BatchStart, number: int) -> Selected:
    """Return `number` distinct prompts out of those from the start to the end of its epoch, which must be enough."""
    uniform = text_generator(TextStream.SELECTION, config.seed, start.step, start.cursor).random
    return SELECTIONS[type(config.rollout.selection)](config, visits, start, number, uniform)


def _in_order(config: Config, visits: Visits, start: BatchStart, number: int, uniform: Uniform) -> Selected:
    return Selected(start.source.take(start.cursor, number), np.ones(number, np.float32), number)


def _weighted(config: Config, visits: Visits, start: BatchStart, number: int, uniform: Uniform) -> Selected:
    selection = config.rollout.selection
    assert isinstance(selection, WeightedSelectionConfig)
    size = min(selection.candidates * number, start.source.left(start.cursor))
    candidates = start.source.take(start.cursor, size)
    ids = [problem.id for problem in candidates]
    signal = signal_chance(visits.successes.expected(ids, start.step), config.rollout.group_size)
    lengths = visits.lengths.expected(ids, start.step)
    chances = inclusion_chances(np.sqrt(signal / lengths), number, selection.floor)
    chosen = systematic_sample(chances, shift=uniform())
    weights = number / (size * chances[chosen]) if selection.unbiased else np.ones(number)
    return Selected([candidates[index] for index in chosen], weights.astype(np.float32), size)


def inclusion_chances(
    scores: Float[np.ndarray, " candidates"], number: int, floor: float
) -> Float[np.ndarray, " candidates"]:
    """Return the chance of each candidate to be among the `number` sampled ones; the chances add up to that number.

    Args:
      scores: s, to which the chances are proportional, but for the floor; if all are 0, all chances are alike.
      floor: the share of the chances that all candidates have alike.
    """
    n, total = len(scores), scores.sum(dtype=np.float64)
    proportional = scores / total if total > 0 else np.full(n, 1 / n)
    chances = number * (floor / n + (1 - floor) * proportional)
    certain = np.zeros(n, bool)
    while (chances[~certain] > CERTAIN).any():
        certain |= chances > CERTAIN
        left = number - certain.sum()
        chances = np.where(certain, 1.0, chances * (left / max(chances[~certain].sum(), 1e-300)))
    return chances


def systematic_sample(chances: Float[np.ndarray, " candidates"], shift: float) -> Int[np.ndarray, " number"]:
    """Return the indices of the candidates that are sampled, in their order: each with its chance, none twice.

    Args:
      chances: at most 1 each; they add up to a whole number.
      shift: uniform in [0, 1).
    """
    certain = np.flatnonzero(chances > CERTAIN)
    others = np.flatnonzero(chances <= CERTAIN)
    ends = np.cumsum(chances[others])
    points = shift + np.arange(round(float(chances.sum())) - len(certain))
    drawn = np.minimum(np.searchsorted(ends, points, side="right"), len(others) - 1)  # the last end may be rounded down
    return np.sort(np.concatenate([certain, others[drawn]]))


def _skipping(config: Config, visits: Visits, start: BatchStart, number: int, uniform: Uniform) -> Selected:
    selection = config.rollout.selection
    assert isinstance(selection, SkippingSelectionConfig)
    chosen: list[int] = []
    skipped: list[int] = []
    for cursor in range(start.cursor, start.cursor + start.source.left(start.cursor)):
        (streak,) = visits.streaks.of([start.source.take(cursor, 1)[0].id])
        (chosen if uniform() < selection.explore**streak else skipped).append(cursor)
        if len(chosen) == number:
            break
    # If the epoch ends before, the first of those that were skipped are sampled after all.
    taken = sorted([*chosen, *skipped[: number - len(chosen)]])
    problems = [start.source.take(each, 1)[0] for each in taken]
    return Selected(problems, np.ones(number, np.float32), len(chosen) + len(skipped))


SELECTIONS: Mapping[type, Callable[[Config, Visits, BatchStart, int, Uniform], Selected]] = {
    type(None): _in_order,
    WeightedSelectionConfig: _weighted,
    SkippingSelectionConfig: _skipping,
}
