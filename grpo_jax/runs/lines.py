"""The lines of metrics.jsonl: a training step, an evaluation, or a step of the warm start.

Each kind of line is a type. No other module knows its names in JSON. Numbers that are not finite are null in JSON and
NaN here. So are numbers that an earlier version did not write. Nothing here imports JAX.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from grpo_jax.config import known
from grpo_jax.json_record import number, plain

if TYPE_CHECKING:
    from grpo_jax.data import Split  # this imports JAX


class Stage(enum.StrEnum):
    """The stages of a run, by their names under "phase" in a line. Each counts its own steps."""

    WARM_START = "warm_start"
    TRAIN = "train"


class Measured(enum.StrEnum):
    """The metrics of an update that other modules read. An update may have others, and need not have all of these."""

    UPDATES = "updates"  # optimizer steps so far
    NONFINITE_IN_A_ROW = "nonfinite_in_a_row"

    LOSS = "loss"
    GRADIENT_NORM = "grad_norm"
    LEARNING_RATE = "learning_rate"
    CLIPPED_ABOVE = "clip_share/high"
    CLIPPED_BELOW = "clip_share/low"
    SAMPLER_DIFFERENCE = "sampler_difference"  # largest |difference| of a token's log-probability, against the trainer
    SAMPLER_DIFFERENCE_MEAN = "sampler_difference/mean"
    SAMPLER_KL = "sampler_difference/kl"
    # If there are several processes: the one that waited least for the others in this step, and how much longer another
    # did.
    SLOWEST = "slowest_process"
    SLOWEST_SECONDS = "slowest_process/seconds"


@dataclass(frozen=True)
class Line:
    """The fields of every line."""

    stage: ClassVar[Stage]
    kind: ClassVar[str]

    step: int  # of the stage

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return {"phase": self.stage.value, "step": self.step, "kind": self.kind}


@dataclass(frozen=True)
class SampleStatistics:
    """Statistics of all groups that a step has sampled."""

    reward: float  # mean over the scored completions
    terms: Mapping[str, float]  # of a weighted sum: the mean of each term before its weight, over what it scored
    # The share of right ones among the completions with a verdict on that; equal to the reward if that has no other
    # part. It is NaN if the reward says of none whether it is right, and so are the four shares that depend on it.
    accuracy: float
    signal_share: float  # the share of groups that carry signal (a pair does if one completion is right, one wrong)
    # 1 - p^G - (1-p)^G at the accuracy p, which is 2p(1-p) for pairs: the expected share with signal if all prompts
    # were equally hard. The true expectation is never larger, because this is concave in p. For rewards in {0, 1}.
    signal_share_bound: float
    signal_share_expected: float  # the same with an estimate of each prompt's own p from its earlier completions
    # The shares of groups without signal, by the reason; that nothing says what is right is none of them.
    all_right: float  # all completions are right
    all_wrong: float  # all have one reward, but not all are right
    unjudged: float  # there are fewer than two rewards
    truncated: float  # groups whose completions were all cut off; these are counted above, too
    without_signal: float  # the share of all sampled tokens in groups without signal
    # The number of groups without signal that new groups replaced, and of groups with signal that the step had no room
    # for. Both are 0 without resampling.
    replaced: int
    surplus: int
    unscored: int  # completions
    completion_length: float  # mean, in tokens
    truncated_share: float  # of completions
    # Minus the mean log-probability of the sampled tokens. Its expectation is the entropy per token of the sampled
    # distribution, which is the policy at temperature 1 and without filters.
    entropy: float
    tokens: int
    staleness: int  # steps from the policy that sampled to the one that learns: 0 without `rollout.delay`

    def to_json(self) -> dict[str, Any]:
        """Return the statistics by their names in a line."""
        terms = {f"{TERM}{name}": value for name, value in self.terms.items()}
        return {name: getattr(self, field) for field, name in STATISTICS.items()} | terms

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "SampleStatistics":
        """Return the statistics that a line of this version holds."""
        kinds = {field.name: field.type for field in fields(cls)}
        # Counts that were added later count what earlier versions never did, so they are 0.
        own: dict[str, Any] = {
            field: line.get(name, 0) if kinds[field] is int else number(line.get(name))
            for field, name in STATISTICS.items()
        }
        return cls(**own, terms={name.removeprefix(TERM): number(line[name]) for name in line if _of_term(name)})


TERM = "reward/"  # the prefix of a term's name
STATISTICS = {field.name: field.name for field in fields(SampleStatistics) if field.name != "terms"} | {
    "all_right": "groups/all_right",
    "all_wrong": "groups/all_wrong",
    "unjudged": "groups/unjudged",
    "truncated": "groups/truncated",
    "replaced": "groups/replaced",
    "surplus": "groups/surplus",
    "without_signal": "tokens/without_signal",
}
EARLIER_NAMES = {  # in lines of versions up to commit e597795, and what they are called now
    "valid_pair_share": "signal_share",
    "valid_share_bound": "signal_share_bound",
    "valid_share_expected": "signal_share_expected",
}


@dataclass(frozen=True)
class TrainLine(Line):
    """A training step."""

    stage = Stage.TRAIN
    kind = "train"

    prompts: int  # sampled so far
    rollouts: int  # so far
    sampled: SampleStatistics  # in this step
    seconds: float  # of training so far
    tokens_per_second: float
    minibatches: int  # of this step with any group to learn from; each is one update
    updates: int  # optimizer steps so far
    measured: Mapping[str, float]  # by the updates of this step; see `Measured`

    def to_json(self) -> dict[str, Any]:
        own = {field: getattr(self, field) for field in OF_STEP}
        return {**super().to_json(), **own, **self.sampled.to_json(), **self.measured}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "TrainLine":
        """Return the step that a line holds, written by this version or an earlier one."""
        line = {EARLIER_NAMES.get(name, name): value for name, value in line.items()}
        others = {"phase", "step", "kind", *OF_STEP, *STATISTICS.values()}
        return cls(
            step=line["step"],
            sampled=SampleStatistics.from_json(line),
            measured={name: number(value) for name, value in line.items() if name not in others and not _of_term(name)},
            **{field: line[field] for field in OF_STEP},
        )


# Fields that differ between any two runs of the same configuration.
TIMES = ("seconds", "tokens_per_second", Measured.SLOWEST, Measured.SLOWEST_SECONDS)
OF_STEP = ("prompts", "rollouts", "seconds", "tokens_per_second", "minibatches", "updates")


class Share(NamedTuple):
    """A mean over problems with its 95 % interval. All three are NaN if it is not known."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there was anything to compute it from."""
        return not math.isnan(self.value)

    def interval(self, to: str = " - ", form: str = ".3f") -> str:
        """Return the interval as text, or a dash if it is not known."""
        return f"{self.low:{form}}{to}{self.high:{form}}" if self.known else known(self.low)


UNKNOWN = Share(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Scores:
    """The scores of an evaluation.

    In the shares, a completion without a verdict counts as wrong. If no completion has one, because the reward does not
    say what is right or could judge nothing, the shares are not known. Neither is the majority, if a right completion
    has no answer.
    """

    pass_at: Sequence[Share]  # the unbiased pass@k, for every k from 1 to the number of samples
    mean: Share  # mean@n
    majority: Share  # maj@n
    mean_reward: float  # of the scored completions
    mean_length: float  # of completions, in tokens
    truncated_share: float  # of completions
    unscored: int  # completions without a reward or, if others have one, without a verdict
    problems: int

    @property
    def samples(self) -> int:
        """The number n of completions of each problem."""
        return len(self.pass_at)

    def to_json(self) -> dict[str, Any]:
        """Return the scores by their names in a line."""
        shares = {f"pass@{k}": share for k, share in enumerate(self.pass_at, start=1)}
        shares |= {f"mean@{self.samples}": self.mean, f"maj@{self.samples}": self.majority}
        return {
            **{name: plain(share.value) for name, share in shares.items()},
            "interval": {name: plain([share.low, share.high]) for name, share in shares.items()},
            "mean_reward": plain(self.mean_reward),
            "mean_length": self.mean_length,
            "truncated_share": self.truncated_share,
            "unscored": self.unscored,
            "problems": self.problems,
            "samples": self.samples,
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Scores":
        """Return the scores that a line holds."""
        n = line["samples"]

        def share(name: str) -> Share:
            return Share(*map(number, (line[name], *line["interval"][name])))

        return cls(
            pass_at=[share(f"pass@{k}") for k in range(1, n + 1)],
            mean=share(f"mean@{n}"),
            majority=share(f"maj@{n}"),
            mean_reward=number(line.get("mean_reward")),
            mean_length=line["mean_length"],
            truncated_share=line["truncated_share"],
            unscored=line["unscored"],
            problems=line["problems"],
        )


@dataclass(frozen=True)
class EvaluationLine(Line):
    """An evaluation of the policy after a step."""

    stage = Stage.TRAIN
    kind = "evaluation"

    split: str  # the name of a `grpo_jax.data.Split`
    scores: Scores

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "split": self.split, **self.scores.to_json()}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "EvaluationLine":
        """Return the evaluation that a line holds."""
        return cls(line["step"], line["split"], Scores.from_json(line))


@dataclass(frozen=True)
class WarmStartLine(Line):
    """A step of the warm start. No code reads it."""

    stage = Stage.WARM_START
    kind = "warm_start"

    loss: float

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "loss": self.loss}


def read_line(line: Mapping[str, Any]) -> TrainLine | EvaluationLine | None:
    """Return the step or the evaluation that a line in JSON holds; None for a step of the warm start.

    Raises:
      KeyError, TypeError, ValueError: if it holds nothing of the kind.
    """
    kinds = {kind.kind: kind.from_json for kind in (TrainLine, EvaluationLine)}
    return kinds[line["kind"]](line) if line["kind"] in kinds else None


@dataclass(frozen=True)
class RunMetrics:
    """The lines of a run's metrics.jsonl, without those of its warm start."""

    training: Sequence[TrainLine]
    evaluations: Sequence[EvaluationLine]

    @classmethod
    def from_json(cls, lines: Iterable[Mapping[str, Any]]) -> "RunMetrics":
        """Return the metrics that lines hold. Raise KeyError, TypeError or ValueError if they hold none."""
        read = [read_line(line) for line in lines]
        return cls(
            [line for line in read if isinstance(line, TrainLine)],
            [line for line in read if isinstance(line, EvaluationLine)],
        )

    def of_split(self, split: "Split") -> list[EvaluationLine]:
        """Return the evaluations on a split."""
        return [line for line in self.evaluations if line.split == split.name]

    def spent(self, budget: str, evaluations: Sequence[EvaluationLine]) -> list[float]:
        """Return how much of a budget the training had spent at each of these evaluations.

        Args:
          budget: prompts, rollouts, tokens, updates or seconds.
        """
        of_steps: Iterable[float]
        if budget == "tokens":
            of_steps = accumulate(line.sampled.tokens for line in self.training)
        else:
            of_steps = (getattr(line, budget) for line in self.training)
        used = dict(zip((line.step for line in self.training), of_steps, strict=True))
        return [used.get(line.step, 0) for line in evaluations]


def curve(line: Mapping[str, Any]) -> str:
    """Return the name of the curves that a line in JSON belongs to: its kind, and that of a split, if it has one."""
    return "_".join(line[name].lower() for name in ("kind", "split") if name in line)


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line in JSON, without those that are not finite, by the names of their curves."""
    return {
        f"{curve(line)}/{name}": value
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    }


def _of_term(name: str) -> bool:
    return name.startswith(TERM)
