"""The task of a case, for the project: prompts of random tokens, and the case's reward."""

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers
from work import PROMPT_TOKENS, as_ids, as_text, is_void, prompt_ids, reward, stop_tokens

from grpo_jax.data import Problem, Split
from grpo_jax.data.tasks.own import NEVER
from grpo_jax.rewards import Attempt, PerAttempt, Verdict

VOID = "void"  # the answer of problems whose group carries no signal


class RandomTokens:
    """The case as a `grpo_jax.data.Task`. All splits have the same problems, since nothing is learned here."""

    max_prompt_tokens = PROMPT_TOKENS

    def __init__(self, *, vocabulary: float, stops: float, prompts: float, void: float):
        """Make the task of a case; a configuration's parameters are floats."""
        self.tokenizer = Tokenizer(
            models.WordLevel({str(token): token for token in range(int(vocabulary))}, unk_token="0")
        )
        self.tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        self.stop_tokens: Sequence[int] = stop_tokens(int(vocabulary), int(stops)) or (NEVER,)
        self.reward = PerAttempt("case", _verdict)
        self._problems = [
            Problem(as_text(ids), VOID if void and is_void(place) else "")
            for place, ids in enumerate(prompt_ids(int(vocabulary), int(stops), int(prompts)))
        ]

    def problems(self, split: Split, number: int = 0, *, at_most: bool = False) -> Sequence[Problem]:
        """Return the first problems; 0 is all."""
        return self._problems[: number or None]

    def prompt_tokens(self, problems: Sequence[Problem]) -> list[list[int]]:
        """Return the tokens of each prompt."""
        return [as_ids(problem.prompt) for problem in problems]


def _verdict(attempt: Attempt) -> Verdict:
    return Verdict(reward(as_ids(attempt.completion), void=attempt.gold == VOID), answer=None)
