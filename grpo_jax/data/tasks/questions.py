"""Questions with answers from data sets, put to a pretrained model and judged by a reward."""

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from grpo_jax.config import Config, ConfigError, QuestionsConfig
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
    if it is held out. What is in the test split is never trained on.
    """

    def __init__(self, settings: QuestionsConfig, config: Config, date: datetime):
        """`date`: of the run, for a chat template that asks for one."""
        self.settings = settings
        field = "task.tokenizer" if settings.tokenizer else "model.checkpoint"
        self._directory = Path(settings.tokenizer or config.model.checkpoint)
        self.tokenizer: PreTrainedTokenizerFast = load_tokenizer(self._directory, field)
        self.stop_tokens: Sequence[int] = stop_tokens(self._directory, self.tokenizer)
        self.max_prompt_tokens = settings.max_prompt_tokens
        self.reward: Reward = make_reward(settings.reward, config.rollout.max_new_tokens)
        self._format = PromptFormat(settings.system, settings.template, settings.chat, date)
        if settings.chat and not self.tokenizer.chat_template:
            raise ConfigError(
                f"task.chat=True: the tokenizer of {self._directory} has no chat template; set it to false."
            )

    def problems(self, split: Split, number: int = 0, *, at_most: bool = False) -> Sequence[Problem]:
        found = self._splits[split]
        if number > len(found) and not at_most:
            raise ConfigError(
                f"task: has {len(found)} problems in the {split.name.lower()} split, and {number} are wanted; lower "
                f"evaluation.{split.name.lower()}_problems, or name a larger source"
                + (", or one for tests, task.test." if split is Split.TEST and self.settings.test is None else ".")
            )
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
    def _splits(self) -> dict[Split, list[Problem]]:
        settings = self.settings
        given = list(read_problems(settings.train, "task.train"))  # a source reads its files for every look at it
        if settings.test is None:
            test = [problem for problem in given if problem.split is Split.TEST]
        else:
            test = list(read_problems(settings.test, "task.test"))
        tested = {problem.key for problem in test}
        untested = [problem for problem in given if problem.key not in tested]
        held_out = Split.VALIDATION if settings.hold_out_validation else None
        train = [problem for problem in untested if problem.split is not held_out]
        validation = [problem for problem in untested if problem.split is held_out]
        return {
            Split.TRAIN: self._short_enough(train),
            # By hash, so that the first few of them are like the others whatever the order of the source.
            Split.VALIDATION: sorted(self._short_enough(validation), key=lambda problem: problem.id),
            Split.TEST: sorted(self.all_short_enough(test, "the test split"), key=lambda problem: problem.id),
            Split.WARM_START: [],
        }

    def _short_enough(self, problems: Sequence[Problem]) -> list[Problem]:
        lengths = map(len, self.prompt_tokens(problems))
        kept = [p for p, length in zip(problems, lengths, strict=True) if length <= self.max_prompt_tokens]
        if len(kept) < len(problems):
            logger.warning(
                "task.max_prompt_tokens=%d: %d of %d problems are longer, and left out",
                self.max_prompt_tokens,
                len(problems) - len(kept),
                len(problems),
            )
        return kept
