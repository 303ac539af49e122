"""Batches in flight: with `rollout.delay`, checkpoints hold what was sampled and not learned from yet.

A batch is written whole, with verdicts and advantages. So a continued run needs neither the policy that sampled it nor
the reward that judged it, and learns from the same numbers.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from grpo_jax.json_record import JsonRecord
from grpo_jax.objectives import Outcomes
from grpo_jax.rewards import Verdict
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.training.collect import Collected
from grpo_jax.training.visits import PRIOR_ROLLOUTS
from grpo_jax.types import Rollouts

# The arrays of a `Collected`. (The lengths among its outcomes are those of its rollouts.)
ROLLOUTS = tuple(field.name for field in fields(Rollouts))
OUTCOMES = ("rewards", "scored", "expected", "evidence", "success")
OTHERS = ("advantages", "chosen", "prompt_weights")


@dataclass(frozen=True)
class PackedArray(JsonRecord):
    """An array as text, bit for bit."""

    dtype: str
    shape: Sequence[int]
    data: str  # compressed, in base64

    @classmethod
    def of(cls, array: np.ndarray) -> "PackedArray":
        """Pack an array."""
        return cls(array.dtype.str, list(array.shape), base64.b64encode(zlib.compress(array.tobytes(), 1)).decode())

    def array(self) -> np.ndarray:
        """Return the array."""
        values = np.frombuffer(zlib.decompress(base64.b64decode(self.data)), np.dtype(self.dtype))
        return values.reshape(self.shape).copy()


@dataclass(frozen=True)
class InFlightCompletion(JsonRecord):
    """A `Completion` as a checkpoint holds it: with the terms of its reward, which a line of rollouts/ leaves out."""

    text: str
    length: int
    stopped: bool
    reward: float
    answer: str | None
    scored: bool
    right: bool | None
    terms: Mapping[str, float]

    @classmethod
    def of(cls, one: Completion) -> "InFlightCompletion":
        verdict = one.verdict
        judged = verdict.reward, verdict.answer, verdict.scored, verdict.right, verdict.terms
        return cls(one.text, one.length, one.stopped, *judged)

    def completion(self) -> Completion:
        verdict = Verdict(self.reward, self.answer, self.scored, self.right, self.terms)
        return Completion(self.text, self.length, self.stopped, verdict)


@dataclass(frozen=True)
class InFlightGroup(JsonRecord):
    """A `JudgedGroup` as a checkpoint holds it."""

    id: int
    prompt: str
    gold: str
    completions: Sequence[InFlightCompletion]


@dataclass(frozen=True)
class InFlight(JsonRecord):
    """A batch that was sampled and not learned from yet."""

    version: int  # of the weights that sampled it
    groups: Sequence[InFlightGroup]
    arrays: Mapping[str, PackedArray]  # by their names: ROLLOUTS, OUTCOMES and OTHERS
    passed: int | None = None  # `Collected.consumed`; None: an earlier version, which selected no prompts, wrote it

    @classmethod
    def of(cls, batch: Collected) -> "InFlight":
        """Return the record of a batch."""
        holders = (batch.rollouts, ROLLOUTS), (batch.outcomes, OUTCOMES), (batch, OTHERS)
        arrays = {name: getattr(holder, name) for holder, names in holders for name in names}
        return cls(
            batch.version,
            [
                InFlightGroup(one.id, one.prompt, one.gold, [InFlightCompletion.of(each) for each in one.completions])
                for one in batch.judged
            ],
            {name: PackedArray.of(array) for name, array in arrays.items()},
            batch.consumed,
        )

    def batch(self) -> Collected:
        """Return the batch."""
        arrays = {name: packed.array() for name, packed in self.arrays.items()}
        # Earlier versions wrote none of these. No advantage is computed again from the last two.
        arrays.setdefault("prompt_weights", np.ones(len(self.groups), np.float32))
        arrays.setdefault("evidence", np.full(len(self.groups), PRIOR_ROLLOUTS, np.float32))
        arrays.setdefault("success", np.clip(arrays["expected"], 0, 1))
        return Collected(
            judged=[
                JudgedGroup(one.id, one.prompt, one.gold, [each.completion() for each in one.completions])
                for one in self.groups
            ],
            rollouts=Rollouts(**{name: arrays[name] for name in ROLLOUTS}),
            outcomes=Outcomes(lengths=arrays["completion_lengths"], **{name: arrays[name] for name in OUTCOMES}),
            **{name: arrays[name] for name in OTHERS},
            consumed=len(self.groups) if self.passed is None else self.passed,
            version=self.version,
        )
