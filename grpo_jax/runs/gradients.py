"""The record of an analysis of gradients: gradients/step_STEP.json. No other module knows the names in it.

`grpo_jax.analysis` makes it, and has the formulas. Nothing here imports JAX.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeAlias

from grpo_jax.json_record import Formerly, JsonRecord
from grpo_jax.runs.estimates import Estimate, TestedEstimate
from grpo_jax.runs.provenance import Provenance, Start


class Unit(enum.StrEnum):
    """The units of signal-to-noise ratios."""

    ROLLOUT = "rollout"
    TOKEN = "token"  # that was sampled
    LEARNED_TOKEN = "learned_token"  # of an update, which leaves out groups without signal
    PROMPT = "prompt"


class Advantage(enum.StrEnum):
    """The advantages whose gradients are analysed."""

    N_VS_M = "n_vs_m"
    GRPO = "grpo"
    DR_GRPO = "dr_grpo"
    RLOO = "rloo"


BySize: TypeAlias = Mapping[int, TestedEstimate]  # by group size
ByPair: TypeAlias = Mapping[str, TestedEstimate]  # by two group sizes; see `pair_of`


def pair_of(first: int, second: int) -> str:
    """Return the name of the comparison of two group sizes, the first over the second."""
    return f"{first}/{second}"


@dataclass(frozen=True)
class NoiseOfSize(JsonRecord):
    """Signal and noise of an advantage's gradient at one group size."""

    signal: Estimate  # the squared length of the expected gradient
    variance: Estimate  # per rollout
    within_share: Estimate  # of the variance: within prompts
    snr: Mapping[Unit, Estimate]


@dataclass(frozen=True)
class ScoreMeans(JsonRecord):
    """The squared length of a prompt's mean vector over that of a single vector."""

    summed: TestedEstimate  # of summed log-probabilities; its expectation is 0
    as_aggregated: TestedEstimate  # as the run's aggregation weighs them


@dataclass(frozen=True)
class OfArms(JsonRecord):
    """A quantity of each arm."""

    right: Estimate
    wrong: Estimate


@dataclass(frozen=True)
class VarianceOfArms(OfArms):
    """The variances of the arms, and what follows from them and their covariance."""

    covariance: Estimate
    rho: Estimate
    best_c: Estimate  # c*
    left_at_best: Estimate  # Var(g+ - c g-) / Var g+ at c*
    left_at_1: Estimate  # and at 1


@dataclass(frozen=True)
class Baseline(JsonRecord):
    """A rho, and the central 95 % of the values that arise by chance."""

    rho: float
    low: float
    high: float
    p: float  # the share of chance values that lie at least as far from their mean


@dataclass(frozen=True)
class ArmsOfSize(JsonRecord):
    """The arms of groups of one size."""

    both_share: Annotated[Estimate, Formerly("valid_share")]  # of groups: those that have both arms
    signal: OfArms  # the squared lengths of their means
    total: VarianceOfArms
    within: VarianceOfArms  # prompts
    across: VarianceOfArms
    split_prompts: int  # with two right and two wrong completions
    regrouped: Baseline  # rho within prompts, against randomly composed groups
    repaired: Baseline  # rho, against the g- of another prompt


@dataclass(frozen=True)
class ArmsBySize(JsonRecord):
    """The arms of groups, by group size. Names with "log" are of logarithms."""

    sizes: Mapping[int, ArmsOfSize]
    rho_total: BySize
    rho_within: BySize
    rho_across: BySize
    log_left_at_1: BySize  # Var(g+ - g-) / Var g+
    log_snr_gain_at_1: BySize  # signal-to-noise of g+ - g- over that of g+
    log_snr_gain_at_best: BySize  # and of g+ - c* g-


@dataclass(frozen=True)
class WeightingOfSize(JsonRecord):
    """The expected gradient of one group size."""

    measured: Estimate  # its length over that of pairs
    predicted: Estimate  # the same by Proposition 5.1
    agreement: Estimate  # the predicted length over the measured one
    cosine: Estimate  # with the expected gradient of pairs


@dataclass(frozen=True)
class WeightingBySize(JsonRecord):
    """The test of Proposition 5.1. Names with "log" are of logarithms."""

    prompts: int  # whose rollouts all have a verdict
    sizes: Mapping[int, WeightingOfSize]
    log_measured: BySize
    log_agreement: BySize
    cosine_below_1: BySize  # 1 - cosine


@dataclass(frozen=True)
class GradientStatistics(JsonRecord):
    """All statistics of rollouts' gradients."""

    sizes: Sequence[int]  # of groups
    reward: float | None  # mean; None: no rollout has a verdict
    unscored: int  # rollouts
    mean_length: float  # of rollouts, in tokens
    estimators: Mapping[Advantage, Mapping[int, NoiseOfSize]]  # by group size
    comparisons: Mapping[Advantage, Mapping[Unit, ByPair]]  # logarithms of ratios of signal-to-noise
    dividing_by_std: BySize  # the same with a division by the group's standard deviation over without; not for pairs
    scores: ScoreMeans
    arms: ArmsBySize | None  # None: the reward does not say what is right, or hardly any group has both arms
    weighting: WeightingBySize | None  # None: there are not just two rewards, one for right and one for wrong


@dataclass(frozen=True)
class AnalysisProvenance(JsonRecord):
    """Where the numbers of an analysis come from."""

    run: Provenance | None  # None: an earlier version began the run, which did not record it
    analysis: Start

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the provenance that these values hold. Earlier versions wrote {} if a run had not recorded it."""
        return super().from_json({**values, "run": values["run"] or None})


@dataclass(frozen=True, kw_only=True)
class Analysed(JsonRecord):
    """The policy whose gradient was analysed, and the size of the sample."""

    run: str  # the directory
    provenance: AnalysisProvenance | None = None  # None: an earlier version did not record it
    step: int
    prompts: int
    samples: int  # rollouts of each prompt
    parameters: int  # that are trained
    sketch: int | None  # numbers that stand for a gradient; None: gradients are whole
    aggregation: str  # over tokens, by its name in `grpo_jax.objectives.AGGREGATIONS`


@dataclass(frozen=True)
class GradientAnalysis(GradientStatistics, Analysed):
    """The analysis of the gradient at a checkpoint."""
