"""The record of an evaluation on suites: suites.json. No other module knows the names in it.

Nothing here imports JAX.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from grpo_jax.json_record import number, plain
from grpo_jax.runs.lines import Scores
from grpo_jax.runs.provenance import Code, Provenance

SUITES_FILE = "suites.json"


@dataclass(frozen=True)
class EvaluatedPolicy:
    """Where an evaluated policy comes from: a checkpoint in Hugging Face's format, or a step of a run."""

    checkpoint: str = ""
    run: str = ""
    step: int = 0  # of the run

    def __str__(self) -> str:
        return f"{self.run}, step {self.step}" if self.run else self.checkpoint

    def to_json(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return {"run": self.run, "step": self.step} if self.run else {"checkpoint": self.checkpoint}


class SuiteShares(NamedTuple):
    """The shares of n samples that are reported of a suite, or their means over suites."""

    mean: float  # mean@n
    passed: float  # pass@n, unbiased
    best: float  # best@n of n draws with replacement
    majority: float  # maj@n

    def to_json(self, n: int) -> dict[str, float | None]:
        """Return the shares by their names with n samples of each problem; null if a share is not known."""
        return dict(zip((f"mean@{n}", f"pass@{n}", _best(n), f"maj@{n}"), map(plain, self), strict=True))


@dataclass(frozen=True)
class SuiteScores:
    """The scores of a policy on a suite. Fields that earlier versions did not write are None."""

    scores: Scores
    best: float  # see `SuiteShares`
    seconds: float  # of sampling and judging, without compilation
    problems_hash: str
    versions: Mapping[str, str]
    code: Code | None

    @property
    def shares(self) -> SuiteShares:
        """The shares that are averaged over suites."""
        return SuiteShares(self.scores.mean.value, self.scores.pass_at[-1].value, self.best, self.scores.majority.value)

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        return {
            **self.scores.to_json(),
            _best(self.scores.samples): plain(self.best),
            "seconds": self.seconds,
            "problems_hash": self.problems_hash,
            "versions": dict(self.versions),
            **({} if self.code is None else {"code": self.code.to_json()}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SuiteScores":
        """Return the scores that these values hold."""
        scores = Scores.from_json(values)
        return cls(
            scores=scores,
            best=number(values[_best(scores.samples)]),
            seconds=values["seconds"],
            problems_hash=values["problems_hash"],
            versions=values["versions"],
            code=Code.from_json(values["code"]) if values.get("code") else None,
        )


@dataclass
class SuiteReport:
    """The scores of a policy on all suites so far. Fields that earlier versions did not write are None."""

    policy: EvaluatedPolicy
    config_hash: str
    provenance: Provenance | None = None
    suites: dict[str, SuiteScores] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """The number of samples of each problem."""
        return next(iter(self.suites.values())).scores.samples

    @property
    def average(self) -> SuiteShares:
        """The means over suites. Each suite counts the same, however many problems it has; NaN if one is not known."""
        columns = zip(*(one.shares for one in self.suites.values()), strict=True)
        return SuiteShares(*(float(np.mean(column)) for column in columns))

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "policy": self.policy.to_json(),
            "config_hash": self.config_hash,
            **({} if self.provenance is None else {"provenance": self.provenance.to_json()}),
            "average": self.average.to_json(self.samples),
            "suites": {name: one.to_json() for name, one in self.suites.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SuiteReport":
        """Return the report that these values hold, written by this version or an earlier one.

        Raises:
          KeyError, TypeError, ValueError: if they are not a report.
        """
        return cls(
            policy=EvaluatedPolicy(**values["policy"]),
            config_hash=values["config_hash"],
            provenance=Provenance.from_json(values["provenance"]) if values.get("provenance") else None,
            suites={name: SuiteScores.from_json(one) for name, one in values["suites"].items()},
        )


def _best(n: int) -> str:
    return f"best@{n}_with_replacement"
