"""A sample of a run's groups for the table in its page, with the texts of their tokens where these are known."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from grpo_jax.json_record import JsonRecord
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.groups import TrainingCompletion, TrainingGroup

FIRST, NEWEST = 16, 112  # groups
MOST_CHARACTERS = 200_000  # of all texts; of long completions there are fewer groups

Pieces = Callable[[TrainingCompletion], list[str] | None]  # the texts of a completion's tokens


@dataclass(frozen=True)
class ShownCompletion(JsonRecord):
    """A completion as the page shows it."""

    text: str
    right: bool | None  # None: nobody knows
    reward: float | None  # None: unscored
    cut_off: bool
    length: int  # in tokens
    advantage: float
    logprob: float
    token_ends: Sequence[int] | None = None  # where each token ends in the text; None if that is not known
    token_logprobs: Sequence[float] | None = None


@dataclass(frozen=True)
class ShownGroup(JsonRecord):
    """A group as the page shows it."""

    step: int
    prompt: str
    gold: str
    completions: Sequence[ShownCompletion]


def sample_groups(run: RunDirectory) -> list[ShownGroup]:
    """Return some of the first groups of a run and of the newest ones, the newest first.

    Raises:
      ConfigError: if a line is damaged.
    """
    pieces = _pieces(run.config())
    first = list(islice(run.rollouts(), FIRST))
    newest = takewhile(lambda group: group != first[-1], islice(run.newest_rollouts(), NEWEST)) if first else ()
    shown = [_shown(group, pieces) for group in _limited([*reversed(first)])]
    return [*(_shown(group, pieces) for group in _limited(newest)), *shown]


def _limited(groups: Iterable[TrainingGroup]) -> Iterator[TrainingGroup]:
    """Yield groups until their texts are half of what a page may hold, but at least one."""
    characters = 0
    for group in groups:
        characters += len(group.prompt) + sum(len(one.text) for one in group.completions)
        yield group
        if characters > MOST_CHARACTERS / 2:
            return


def _shown(group: TrainingGroup, pieces: Pieces) -> ShownGroup:
    return ShownGroup(
        group.step, group.prompt, group.gold, [_completion(one, pieces(one)) for one in group.completions]
    )


def _completion(one: TrainingCompletion, texts: Sequence[str] | None) -> ShownCompletion:
    ends, at = [], 0
    for text in texts or ():
        at += len(text)
        ends.append(at)
    known = texts is not None and one.token_logprobs is not None
    return ShownCompletion(
        text=one.text,
        right=one.verdict.right,
        reward=one.reward,
        cut_off=not one.stopped,
        length=one.length,
        advantage=one.advantage,
        logprob=one.logprob,
        token_ends=ends if known else None,
        token_logprobs=[round(value, 3) for value in one.token_logprobs or ()] if known else None,
    )


def _pieces(config: dict[str, Any]) -> Pieces:
    """Return the function that splits a completion into the texts of its tokens, or gives None if it cannot.

    The texts of a model's tokens come from its tokenizer.json. The embedded policy's tokens are characters.
    """
    directory = config["task"].get("tokenizer") or config["model"]["checkpoint"]
    file = Path(directory or "", "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(file)) if directory and file.is_file() else None

    def pieces(one: TrainingCompletion) -> list[str] | None:
        if one.tokens is None:
            return None
        ids = [[token] for token in one.tokens]
        texts = tokenizer.decode_batch(ids, skip_special_tokens=True) if tokenizer else list(one.text)
        texts += [""] * (len(ids) - len(texts))  # the stop token
        return texts if "".join(texts) == one.text and len(texts) == len(ids) else None

    return pieces
