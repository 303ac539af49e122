"""Questions with answers from data sets, for a pretrained model, judged by a reward."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from grpo_jax.config import Config, ConfigError, Mistakes, QuestionsConfig, agreeing, counted
from grpo_jax.data.pretrained import load_tokenizer, stop_tokens
from grpo_jax.data.problem import Problem, Split
from grpo_jax.data.prompt_format import Conversation, PromptFormat
from grpo_jax.data.sources import read_problems
from grpo_jax.rewards import Reward, make_reward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)


class Questions:
    """A `Task` of questions from one or two sources.

    The test split is a source of its own, or else a share of `train` chosen by a hash of the prompt. The validation
    split, if it is held out, is such a share, too. These shares are never empty. Problems of the test split are never
    trained on.
    """

    def __init__(self, settings: QuestionsConfig, config: Config, date: datetime):
        """Read the tokenizer. `date` is that of the run, for chat templates that use one."""
        self.settings = settings
        field = "task.tokenizer" if settings.tokenizer else "model.checkpoint"
        self._directory = Path(settings.tokenizer or config.model.checkpoint)
        mistakes = Mistakes()
        with mistakes:
            self.pretrained: PreTrainedTokenizerFast = load_tokenizer(self._directory, field)
            self.stop_tokens: Sequence[int] = stop_tokens(
                self._directory, self.pretrained, settings.stop_tokens, of_model=settings.model_stop_tokens
            )
            self._format = PromptFormat(
                settings.system, settings.template, settings.chat, date, settings.chat_variables
            )
            self._format.check(self.pretrained)
        mistakes.tell()
        self.max_prompt_tokens = settings.max_prompt_tokens
        self._max_new_tokens = config.rollout.max_new_tokens

    @property
    def tokenizer(self) -> Tokenizer:
        return self.pretrained.backend_tokenizer

    @cached_property
    def reward(self) -> Reward:
        """The reward, made on first access, because it may import a user's code, which an export does not need."""
        return make_reward(self.settings.reward, self._max_new_tokens)

    def problems(self, split: Split, number: int = 0, *, at_most: bool = False) -> Sequence[Problem]:
        """Return the problems of a split; see `Task.problems`."""
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
        return self._format.encode(self.pretrained, [problem.prompt for problem in problems])

    @cached_property
    def prompt_prefix(self) -> tuple[int, ...]:
        """The tokens before every question; none if `task.share_prefix` is off."""
        return self._format.prefix(self.pretrained) if self.settings.share_prefix else ()

    def conversation(self) -> Conversation | None:
        """Return a question as the chat template writes it; None if the task uses none."""
        return self._format.conversation(self.pretrained)

    def all_short_enough(self, problems: Sequence[Problem], of: str) -> Sequence[Problem]:
        """Return the problems of a test set. None may be left out, or results could not be compared.

        Args:
          of: the name of the set, for messages.

        Raises:
          ConfigError: if a problem is longer than `max_prompt_tokens`.
        """
        lengths = [len(row) for row in self.prompt_tokens(problems)]
        longer = sum(length > self.max_prompt_tokens for length in lengths)
        if longer:
            raise ConfigError(
                f"task.max_prompt_tokens={self.max_prompt_tokens}: {longer} of the {counted(len(problems), 'problem')} "
                f"of {of} {agreeing(longer, 'is', 'are')} longer, but none may be left out; raise it to "
                f"{max(lengths)}, the length of the longest."
            )
        return problems

    def _tell_special_tokens(self, problems: Sequence[Problem]) -> None:
        """Warn of questions whose text has special tokens: they end turns, or begin them, instead of being read."""
        special = [token.content for token in self.pretrained.added_tokens_decoder.values() if token.special]
        pattern = re.compile("|".join(map(re.escape, filter(None, special))) or "(?!)")  # which matches nothing
        found = [match for problem in problems if (match := pattern.search(problem.prompt))]
        if found:
            logger.warning(
                "task: %d of %s %s a special token of the tokenizer, such as %r in %r; it is read as that token and "
                "not as its text, so take it out if that is not meant",
                len(found),
                counted(len(problems), "question"),
                agreeing(len(found), "holds", "hold"),
                found[0][0],
                found[0].string[:80],
            )

    @cached_property
    def _splits(self) -> "_Splits":
        """The problems of all splits, read and divided on first access, with warnings of those that are left out."""
        settings = self.settings
        given = list(read_problems(settings.train, "task.train"))  # a list, because a source reads its files on access
        own = settings.test
        test = _by_hash(given, Split.TEST) if own is None else list(read_problems(own, "task.test"))
        self._tell_special_tokens([*given, *([] if own is None else test)])
        tested = {problem.key for problem in test}
        untested = [problem for problem in given if problem.key not in tested]
        if own and (shared := len(given) - len(untested)):
            logger.warning(
                "%d of the %s of task.train %s also in task.test, and so not trained on",
                shared,
                counted(len(given), "problem"),
                agreeing(shared, "is", "are"),
            )
        validation = _by_hash(untested, Split.VALIDATION) if settings.hold_out_validation else []
        held_out = {problem.key for problem in validation}
        train = [problem for problem in untested if problem.key not in held_out]
        lengths = [len(row) for row in self.prompt_tokens(untested)]
        longer = {p.key for p, length in zip(untested, lengths, strict=True) if length > self.max_prompt_tokens}
        if longer:
            logger.warning(
                "task.max_prompt_tokens=%d: %d of %s %s longer, and so left out",
                self.max_prompt_tokens,
                len(longer),
                counted(len(untested), "problem"),
                agreeing(len(longer), "is", "are"),
            )

        def short_enough(problems: Sequence[Problem]) -> list[Problem]:
            return [problem for problem in problems if problem.key not in longer]

        return _Splits(
            problems={
                Split.TRAIN: short_enough(train),
                # In the order of hashes, so that the first few are like the others, whatever the order of the source.
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


# The fields that set how many problems of a split are needed.
_WANTED = {
    Split.TRAIN: "rollout.prompts_per_step",
    Split.VALIDATION: "evaluation.validation_problems",
    Split.TEST: "evaluation.test_problems",
    Split.WARM_START: "warm_start",
}


@dataclass(frozen=True)
class _Splits:
    """The problems of each split, and what became of those in `task.train`."""

    problems: Mapping[Split, Sequence[Problem]]
    given: int  # problems in task.train
    in_test: int  # those of them in the test split, which are not trained on
    held_out: int  # those of the rest that are held out for validation
    longer: int  # those not in the test split that exceed task.max_prompt_tokens, and are left out
    longest: int  # the length of the longest of them, in tokens

    def shortage(self, split: Split, settings: QuestionsConfig) -> str:
        """Return why a split has too few problems, and the remedies."""
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
            return f"task.test has {counted(there, 'problem')}; lower {_WANTED[split]}, or name a larger source there"
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
            f"the {split.name.lower()} split has {counted(len(self.problems[split]), 'problem')}, of {self.given} in "
            f"task.train{' (' + ', '.join(went) + ')' if went else ''}; {', or '.join(remedies)}"
        )


def _by_hash(problems: Sequence[Problem], split: Split) -> list[Problem]:
    """Return the problems whose hash belongs to a split; if there are none, the problem with the lowest hash."""
    found = [problem for problem in problems if problem.split is split]
    if not found and problems:
        found = [min(problems, key=lambda problem: problem.key)]
        logger.warning(
            "task.train: none of its %s has a hash of the %s split, so this one with the lowest is used: %r",
            counted(len(problems), "problem"),
            split.name.lower(),
            found[0].prompt[:60],
        )
    return found
