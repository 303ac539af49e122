"""Questions with answers from data sets, put to a pretrained model and judged by a reward."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from grpo_jax.config import Config, ConfigError, Mistakes, QuestionsConfig
from grpo_jax.data.pretrained import PromptFormat, load_tokenizer, stop_tokens
from grpo_jax.data.problem import Problem, Split
from grpo_jax.data.sources import read_problems
from grpo_jax.rewards import Reward, make_reward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)


class Questions:
    """See `Task`.

    The test split is its own source, or else a share of `train` by a hash of the prompt; so is the validation split,
    if it is held out; such a share is never empty. What is in the test split is never trained on.
    """

    def __init__(self, settings: QuestionsConfig, config: Config, date: datetime):
        """`date`: of the run, for a chat template that asks for one."""
        self.settings = settings
        field = "task.tokenizer" if settings.tokenizer else "model.checkpoint"
        self._directory = Path(settings.tokenizer or config.model.checkpoint)
        mistakes = Mistakes()
        with mistakes:
            self.tokenizer: PreTrainedTokenizerFast = load_tokenizer(self._directory, field)
            self.stop_tokens: Sequence[int] = stop_tokens(self._directory, self.tokenizer)
            self._format = PromptFormat(settings.system, settings.template, settings.chat, date)
            self._format.check(self.tokenizer)
        mistakes.tell()
        self.max_prompt_tokens = settings.max_prompt_tokens
        self._max_new_tokens = config.rollout.max_new_tokens

    @cached_property
    def reward(self) -> Reward:
        """Made when it is asked for: it may import code of the user's, which whoever writes weights does not need."""
        return make_reward(self.settings.reward, self._max_new_tokens)

    def problems(self, split: Split, number: int = 0, *, at_most: bool = False) -> Sequence[Problem]:
        found = self._splits.problems[split]
        mistakes = Mistakes()
        with mistakes:
            if split is Split.TEST:
                self.all_short_enough(found, "the test split")
        with mistakes:
            if max(number, 1) > len(found) and not at_most:
                wanted = f"{_WANTED[split]}={number}" if number else "task.train"
                raise ConfigError(f"{wanted}: {self._splits.shortage(split, self.settings)}.")
        mistakes.tell()
        return found[: number or len(found)]

    def prompt_tokens(self, problems: Sequence[Problem]) -> list[list[int]]:
        return self._format.encode(self.tokenizer, [problem.prompt for problem in problems])

    def all_short_enough(self, problems: Sequence[Problem], of: str) -> Sequence[Problem]:
        """The problems of a test set: all of them, or its numbers could not be compared with anyone's.

        Args:
          of: the set's name, for messages.

        Raises:
          ConfigError: if one is longer than `max_prompt_tokens`.
        """
        lengths = [len(row) for row in self.prompt_tokens(problems)]
        longer = sum(length > self.max_prompt_tokens for length in lengths)
        if longer:
            raise ConfigError(
                f"task.max_prompt_tokens={self.max_prompt_tokens}: {longer} of the {len(problems)} problems of {of} "
                f"are longer, the longest of {max(lengths)} tokens, and none may be left out; raise it to that."
            )
        return problems

    @cached_property
    def _splits(self) -> "_Splits":
        settings = self.settings
        given = list(read_problems(settings.train, "task.train"))  # a source reads its files for every look at it
        own = settings.test
        test = _by_hash(given, Split.TEST) if own is None else list(read_problems(own, "task.test"))
        tested = {problem.key for problem in test}
        untested = [problem for problem in given if problem.key not in tested]
        if own and len(untested) < len(given):
            logger.warning(
                "%d of the %d problems of task.train are also in task.test, and not trained on",
                len(given) - len(untested),
                len(given),
            )
        validation = _by_hash(untested, Split.VALIDATION) if settings.hold_out_validation else []
        held_out = {problem.key for problem in validation}
        train = [problem for problem in untested if problem.key not in held_out]
        lengths = [len(row) for row in self.prompt_tokens(untested)]
        longer = {p.key for p, length in zip(untested, lengths, strict=True) if length > self.max_prompt_tokens}
        if longer:
            logger.warning(
                "task.max_prompt_tokens=%d: %d of %d problems are longer, and left out",
                self.max_prompt_tokens,
                len(longer),
                len(untested),
            )

        def short_enough(problems: Sequence[Problem]) -> list[Problem]:
            return [problem for problem in problems if problem.key not in longer]

        return _Splits(
            problems={
                Split.TRAIN: short_enough(train),
                # By hash, so that the first few of them are like the others whatever the order of the source.
                Split.VALIDATION: sorted(short_enough(validation), key=lambda problem: problem.key),
                Split.TEST: sorted(test, key=lambda problem: problem.key),
                Split.WARM_START: [],
            },
            given=len(given),
            in_test=len(given) - len(untested),
            held_out=len(validation),
            longer=len(longer),
            longest=max(lengths, default=0),
        )


# What says how many problems of a split are wanted.
_WANTED = {
    Split.TRAIN: "rollout.prompts_per_step",
    Split.VALIDATION: "evaluation.validation_problems",
    Split.TEST: "evaluation.test_problems",
    Split.WARM_START: "warm_start",
}


@dataclass(frozen=True)
class _Splits:
    """The problems by split, and where those of `task.train` went."""

    problems: Mapping[Split, Sequence[Problem]]
    given: int  # in task.train
    in_test: int  # of them in the test split, which are not trained on
    held_out: int  # of the others, for validation
    longer: int  # of these two, than task.max_prompt_tokens; left out
    longest: int  # of these two, in tokens

    def shortage(self, split: Split, settings: QuestionsConfig) -> str:
        """Why a split has so few problems, and what can be done about it."""
        went = [
            f"{number} {where}"
            for number, where in (
                (self.in_test, "also in task.test" if settings.test else "in the test split"),
                (self.held_out, "held out for validation"),
                (self.longer, f"longer than task.max_prompt_tokens={settings.max_prompt_tokens}"),
            )
            if number
        ]
        if split is Split.TEST and settings.test:
            there = len(self.problems[split])
            return f"task.test has {there} problems; lower {_WANTED[split]}, or name a larger source there"
        remedies = [
            remedy
            for helps, remedy in (
                (self.longer and split is not Split.TEST, f"raise task.max_prompt_tokens to {self.longest}"),
                (self.in_test and settings.test, "name another task.test, or set it to none to hold a sixteenth out"),
                (
                    split is Split.VALIDATION and not settings.hold_out_validation,
                    "set task.hold_out_validation to true",
                ),
                (split is Split.TEST, "name a source for tests as task.test"),
                (True, f"lower {_WANTED[split]}, or name a larger source"),
            )
            if helps
        ]
        return (
            f"the {split.name.lower()} split has {len(self.problems[split])} problems, of {self.given} in task.train"
            f"{' (' + ', '.join(went) + ')' if went else ''}; {', or '.join(remedies)}"
        )


def _by_hash(problems: Sequence[Problem], split: Split) -> list[Problem]:
    """Those that a split has by their hash; of a few problems this may be none, then the one with the lowest hash."""
    found = [problem for problem in problems if problem.split is split]
    if not found and problems:
        found = [min(problems, key=lambda problem: problem.key)]
        logger.warning(
            "task.train: none of its %d problems has a hash of the %s split, so it is the one with the lowest: %r",
            len(problems),
            split.name.lower(),
            found[0].prompt[:60],
        )
    return found
