"""The record of a judged group. Training and evaluations write one per line, and all other code reads it.

rollouts/*.jsonl hold `TrainingGroup`s, evaluation/*.jsonl `JudgedGroup`s. No other module knows the names in a line,
or how earlier versions wrote them. Nothing here imports JAX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.config import ConfigError
from grpo_jax.rewards import Verdict

VERSION = 1  # of the format of a line; the first lines had no version

STOPPED, CUT_OFF = "stop", "length"  # the names of the two ways in which a completion can end


def carries_signal(advantages: Float[np.ndarray, "*groups G"]) -> Bool[np.ndarray, "*groups"]:
    """Return which groups carry signal, which means that some advantage is not 0.

    This is the only definition of signal. Under most objectives it needs rewards that differ within the group;
    `psr`, `nsr`, `w_reinforce` and `reinforce_pp` also learn from groups that are all right or all wrong, and
    `history_baseline` learns from nearly all of them, because a prompt's history seldom expects exactly their rewards.
    """
    return (advantages != 0).any(axis=-1)


@dataclass(frozen=True)
class Completion:
    """A completion with its verdict."""

    text: str  # without the stop token
    length: int  # in tokens, the stop token included
    stopped: bool  # by a stop token; False: it was cut off at the maximum length
    verdict: Verdict

    @property
    def reward(self) -> float | None:
        """The reward, or None if the verifier gave no verdict."""
        return self.verdict.reward if self.verdict.scored else None

    @property
    def stop_reason(self) -> str:
        """Why it ended, in one word."""
        return STOPPED if self.stopped else CUT_OFF


@dataclass(frozen=True)
class TrainingCompletion(Completion):
    """A completion that a training step sampled. Fields that earlier versions did not write are None."""

    advantage: float
    logprob: float  # of the whole completion, under the distribution that it was sampled from
    tokens: Sequence[int] | None
    token_logprobs: Sequence[float] | None


@dataclass(frozen=True)
class JudgedGroup:
    """The completions of one prompt."""

    id: int  # of the problem
    prompt: str
    gold: str
    completions: Sequence[Completion]

    def to_json(self) -> dict[str, Any]:
        """Return the group as JSON values, with a column for each field of its completions.

        The reward of a completion without a verdict is null.
        """
        completions = self.completions
        return {
            "version": VERSION,
            "id": self.id,
            "prompt": self.prompt,
            "gold": self.gold,
            "completions": [one.text for one in completions],
            "answers": [one.verdict.answer for one in completions],
            "rewards": [one.reward for one in completions],
            "right": [one.verdict.right for one in completions],
            "scored": [one.verdict.scored for one in completions],
            "stop_reasons": [one.stop_reason for one in completions],
            "lengths": [one.length for one in completions],
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Self:
        """Return the group that a line holds.

        Raises:
          ConfigError: if the line is of a newer version.
          KeyError, TypeError, ValueError: if the line holds no group.
        """
        return cls._read(_current(line))

    @classmethod
    def _read(cls, line: Mapping[str, Any]) -> Self:
        return cls(line["id"], line["prompt"], line["gold"], [Completion(**one) for one in _completions(line)])


@dataclass(frozen=True)
class TrainingGroup(JudgedGroup):
    """A group that a training step sampled, with its advantages."""

    completions: Sequence[TrainingCompletion]
    step: int
    chosen: bool  # False: a new group replaced it, or the step had no room for it
    expected: float | None  # the prompt's reward as estimated before the step; None: not written by an earlier version
    policy_step: int  # the step after which the policy was saved that sampled all completions
    weight: float = 1.0  # a factor of the group's loss
    evidence: float | None = None  # how many completions `expected` counts as; None: not written by an earlier version

    @property
    def signal(self) -> bool:
        """Whether the group carries signal."""
        return bool(carries_signal(np.array([one.advantage for one in self.completions])))

    @property
    def extremes(self) -> tuple[TrainingCompletion, TrainingCompletion]:
        """The completions with the highest and the lowest advantage."""
        # Not max and min: if all advantages are equal, these are one completion, and here the first and the last.
        ordered = sorted(self.completions, key=lambda one: -one.advantage)
        return ordered[0], ordered[-1]

    def to_json(self) -> dict[str, Any]:
        """Return the group as JSON values, as `JudgedGroup.to_json` does."""
        completions = self.completions
        return {
            "step": self.step,
            "policy_step": self.policy_step,
            **super().to_json(),
            "logprobs": [one.logprob for one in completions],
            "tokens": [one.tokens for one in completions],
            "token_logprobs": [one.token_logprobs for one in completions],
            "advantages": [one.advantage for one in completions],
            "expected": self.expected,
            "evidence": self.evidence,
            "chosen": self.chosen,
            "weight": self.weight,
        }

    @classmethod
    def _read(cls, line: Mapping[str, Any]) -> Self:
        columns = (line[name] for name in ("advantages", "logprobs", "tokens", "token_logprobs"))
        completions = [
            TrainingCompletion(**one, advantage=advantage, logprob=logprob, tokens=tokens, token_logprobs=each)
            for one, advantage, logprob, tokens, each in zip(_completions(line), *columns, strict=True)
        ]
        step = line["step"]
        return cls(
            line["id"],
            line["prompt"],
            line["gold"],
            completions,
            step,
            line["chosen"],
            line["expected"],
            policy_step=line.get("policy_step", step - 1),  # earlier versions had no delay
            weight=line.get("weight", 1.0),  # and no selection of prompts
            evidence=line.get("evidence"),
        )


def _completions(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of each `Completion` of a line of this version."""
    columns = (
        line[name] for name in ("completions", "lengths", "stop_reasons", "answers", "rewards", "right", "scored")
    )
    return [
        {
            "text": text,
            "length": length,
            "stopped": reason == STOPPED,
            # A reward that is not finite is null in JSON, and counts as missing.
            "verdict": Verdict(0.0 if reward is None else reward, answer, scored and reward is not None, right),
        }
        for text, length, reason, answer, reward, right, scored in zip(*columns, strict=True)
    ]


def _current(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a line of this or an earlier version in the format of this one."""
    version = line.get("version", 0)
    if version > VERSION:
        raise ConfigError(
            f"a line has version {version}, and this grpo_jax reads versions up to {VERSION}; use a newer grpo_jax."
        )
    if version:
        return line
    nothing = [None] * len(line["completions"])
    earliest = {  # the meaning of a line without names that were added later
        "answers": nothing,
        "right": [reward == 1 for reward in line["rewards"]],
        "scored": [reward is not None for reward in line["rewards"]],
        "tokens": nothing,
        "token_logprobs": nothing,
        "expected": None,
        "chosen": True,
    }
    return earliest | dict(line)
