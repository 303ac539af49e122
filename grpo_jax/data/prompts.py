"""The prompts of a training step, as a function of a cursor."""

from collections.abc import Sequence

import grain
import numpy as np

from grpo_jax.config import ConfigError, counted
from grpo_jax.data.problem import Problem
from grpo_jax.data.tasks import Questions, Task, prompt_prefix
from grpo_jax.data.tokenizer import encode, pad
from grpo_jax.randomness import TextStream, spread_seed
from grpo_jax.types import PromptBatch


class PromptSource:
    """Problems in an endless order that is shuffled anew every epoch.

    No iterator has to be saved: the cursor, a position in that order, is the whole state. A step stays within an epoch,
    so its problems are distinct. The last few problems of an epoch are skipped if they are too few for a step.
    """

    def __init__(self, problems: Sequence[Problem], seed: int):
        self._problems = problems
        spread = spread_seed(TextStream.PROMPT_ORDER, seed)  # Grain shuffles epoch e with seed + e
        self._order = grain.MapDataset.range(len(problems)).shuffle(seed=spread).repeat()

    def left(self, cursor: int) -> int:
        """Return the number of problems from the cursor to the end of its epoch."""
        return -cursor % len(self._problems) or len(self._problems)

    def start_of_step(self, cursor: int, number: int) -> int:
        """Return where a step of at least this many problems begins: at the cursor, or at the next epoch."""
        left = self.left(cursor)
        return cursor if number <= left else cursor + left

    def take(self, cursor: int, number: int) -> list[Problem]:
        """Return this many problems, from the cursor on."""
        return [self._problems[self._order[position]] for position in range(cursor, cursor + number)]


def check_rows(task: Task, problems: Sequence[Problem], rows: Sequence[Sequence[int]], embeddings: int) -> None:
    """Check that prompts are as their task promises, and that a policy can read them.

    Args:
      rows: the token ids of each problem's prompt.
      embeddings: of the policy.

    Raises:
      ConfigError: if a prompt has no tokens, too many, or one for which the policy has no embedding, if it has a
        character that becomes a stop token, or if it does not begin with the task's prefix.
    """
    width, prefix, lost = task.max_prompt_tokens, prompt_prefix(task), _unknown_that_stops(task)
    if len(rows) != len(problems):
        raise ConfigError(
            f"task: its prompt_tokens returns {counted(len(rows), 'row')} for {counted(len(problems), 'problem')}; "
            "return one for each."
        )
    for problem, row in zip(problems, rows, strict=True):
        said = repr(problem.prompt[:80])
        if not len(row):  # an engine takes such a prompt for the filling of a batch
            raise ConfigError(
                f"the prompt {said} has no tokens, so nothing can follow it; remove it from the data, or write "
                "something around it with task.template."
            )
        if not isinstance(row[0], int | np.integer):
            raise ConfigError(
                f"the prompt {said} has {row[0]!r} among its tokens; make its task's prompt_tokens return whole "
                "numbers."
            )
        if len(row) > width:
            raise ConfigError(
                f"the prompt {said} has {counted(len(row), 'token')}, but its task promises at most {width} "
                "(max_prompt_tokens); raise that, or leave the problem out."
            )
        if max(row) >= embeddings or min(row) < 0:
            beyond = max(row) if max(row) >= embeddings else min(row)
            raise ConfigError(
                f"the prompt {said} has the token {beyond}, but the policy has only {embeddings} embeddings; remove it "
                "from the data, or name another task.tokenizer."
            )
        if lost in row and (unknown := [one for one in problem.prompt if lost in encode(task.tokenizer, [one])[0]]):
            raise ConfigError(
                f"the prompt {said} has {unknown[0]!r}, for which its tokenizer has no token and writes a stop token; "
                "add it to the tokenizer's alphabet, or remove it from the data."
            )
        if len(row) == len(prefix) or tuple(row[: len(prefix)]) != prefix:
            remedy = "set task.share_prefix to false" if isinstance(task, Questions) else "correct its prompt_prefix"
            raise ConfigError(
                f"the prompt {said} does not begin with the {counted(len(prefix), 'token')} that all prompts of its "
                f"task should share, or ends with them; {remedy}."
            )


def _unknown_that_stops(task: Task) -> int | None:
    """Return the stop token that a task's tokenizer writes for what it does not know; None if it writes another."""
    unknown = getattr(task.tokenizer.model, "unk_token", None)  # models of some types have none
    token = None if unknown is None else task.tokenizer.token_to_id(unknown)
    return token if token in task.stop_tokens else None


def encode_prompts(task: Task, problems: Sequence[Problem], embeddings: int | None = None) -> PromptBatch:
    """Return problems as host arrays for the sampler.

    Args:
      embeddings: of the policy that will read them; None: they are not checked (`check_rows`).
    """
    rows = task.prompt_tokens(problems)
    if embeddings is not None:
        check_rows(task, problems, rows, embeddings)
    tokens, lengths = pad(rows, task.max_prompt_tokens)
    ids = np.array([problem.id for problem in problems], np.uint32)
    return PromptBatch(ids=ids, tokens=tokens, lengths=lengths)
