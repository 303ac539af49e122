"""The record of a finished run: summary.json. No other module knows the names in it. Nothing here imports JAX."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np

from grpo_jax.config import Config, digest, to_dict
from grpo_jax.json_record import Formerly, JsonRecord, number, plain
from grpo_jax.runs.lines import Measured, Scores, Share, TrainLine
from grpo_jax.runs.phases import TOTAL, training_seconds
from grpo_jax.runs.provenance import Provenance
from grpo_jax.runs.versions import versions

# Why pass@1 and what comes with it may not be known.
WITHOUT_VERDICTS = "the reward does not say of any completion whether it is right, or could judge none."


@dataclass(frozen=True)
class EvaluationResult(JsonRecord):
    """The scores of an evaluation that a summary repeats. They are NaN if the reward does not say what is right."""

    pass_at_1: Share
    pass_at_k: Share
    majority: float  # maj@k
    samples: int  # k: completions of each problem
    mean_length: float  # of completions, in tokens
    truncated_share: float  # of completions
    problems: int
    curve: Sequence[float]  # pass@1 to pass@k

    @classmethod
    def of(cls, scores: Scores) -> "EvaluationResult":
        """Return the result of an evaluation with these scores."""
        return cls(
            pass_at_1=scores.pass_at[0],
            pass_at_k=scores.pass_at[-1],
            majority=scores.majority.value,
            samples=scores.samples,
            mean_length=scores.mean_length,
            truncated_share=scores.truncated_share,
            problems=scores.problems,
            curve=[share.value for share in scores.pass_at],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        shares = {"pass@1": self.pass_at_1, "pass@k": self.pass_at_k}
        return {
            **{name: plain(share.value) for name, share in shares.items()},
            "maj@k": plain(self.majority),
            "k": self.samples,
            "mean_length": self.mean_length,
            "truncated_share": self.truncated_share,
            "problems": self.problems,
            "interval": {name: plain([share.low, share.high]) for name, share in shares.items()},
            "pass@k curve": plain(list(self.curve)),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the result that these values hold."""
        pass_at_1, pass_at_k = (
            Share(*map(number, (values[name], *values["interval"][name]))) for name in ("pass@1", "pass@k")
        )
        return cls(
            pass_at_1=pass_at_1,
            pass_at_k=pass_at_k,
            majority=number(values["maj@k"]),
            samples=values["k"],
            mean_length=values["mean_length"],
            truncated_share=values["truncated_share"],
            problems=values["problems"],
            curve=[*map(number, values["pass@k curve"])],
        )


@dataclass(frozen=True)
class ProcessUse(JsonRecord):
    """The time and memory that one of several processes needed."""

    host: str
    seconds: Mapping[str, float]  # by phase
    waited: float  # seconds of these spent waiting for others before an exchange; least for the slowest process
    host_bytes: int  # the most memory that it had used on its host
    device_bytes: Mapping[int, int]  # and on each of its devices that counts it, by id
    slowest_steps: int = 0  # in which it was the slowest; see `Measured`
    awaited: float = 0.0  # the seconds that another one waited longer than it in these steps

    @property
    def peak_device_bytes(self) -> int:
        """The most bytes that it had used on one of its devices; 0 if none counts them."""
        return max(self.device_bytes.values(), default=0)


@dataclass(frozen=True, kw_only=True)
class Summary(JsonRecord):
    """The result of a finished run. Fields that earlier versions did not write are None."""

    base: EvaluationResult  # of the test split before training
    final: EvaluationResult  # and after it
    prompts: int  # sampled
    rollouts: int
    updates: int  # optimizer steps taken
    signal_share: Annotated[float, Formerly("valid_pair_share")]  # of all groups that were sampled
    sampler_difference: float  # the largest of any step; see `Measured`
    seconds: Mapping[str, float]  # by phase; see `grpo_jax.runs.phases`
    steps: int | None = None
    seed: int
    config_hash: str
    versions: Mapping[str, str]
    # The process that finished the run: its seconds to the end of its first step, and the most memory, in bytes, that
    # it had used on its "host" and on one "device".
    seconds_to_first_step: float | None = None
    peak_bytes: Mapping[str, int] | None = None
    lanes: int | None = None  # completions that a training step decoded at once; 0: whole batches
    processes: Sequence[ProcessUse] | None = None  # if there were several, in their order
    provenance: Provenance | None = None

    @property
    def training_seconds(self) -> float:
        """Seconds of training; see `grpo_jax.runs.phases`."""
        return training_seconds(self.seconds)

    @property
    def total_seconds(self) -> float:
        """Seconds from the start to the end, of all starts together."""
        return self.seconds[TOTAL]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the summary that these values hold. Earlier versions wrote {} if a run had not recorded provenance."""
        return super().from_json({**values, "provenance": values.get("provenance") or None})


def summarize_run(
    config: Config,
    training: Sequence[TrainLine],
    tests: Mapping[int, Scores],
    seconds: Mapping[str, float],
    updates: int,
) -> Summary:
    """Return the summary of a finished run.

    Args:
      training: the lines of all steps.
      tests: scores on the test split by step, before the first and after the last step.
      seconds: by phase; see `grpo_jax.training.clock`.
      updates: optimizer steps taken.
    """
    last = training[-1]
    differences = [line.measured.get(Measured.SAMPLER_DIFFERENCE, math.nan) for line in training]
    return Summary(
        base=EvaluationResult.of(tests[0]),
        final=EvaluationResult.of(tests[config.train.steps]),
        prompts=last.prompts,
        rollouts=last.rollouts,
        updates=updates,
        signal_share=_signal_share(training),
        sampler_difference=max(filter(math.isfinite, differences), default=0.0),
        seconds=dict(seconds),
        steps=config.train.steps,
        seed=config.seed,
        config_hash=digest(to_dict(config)),
        versions=versions(),
    )


def _signal_share(training: Sequence[TrainLine]) -> float:
    """Return the share of all sampled groups; with resampling, steps differ in how many groups they sample."""
    groups = np.diff([line.prompts for line in training], prepend=0)
    return float(np.average([line.sampled.signal_share for line in training], weights=groups))
