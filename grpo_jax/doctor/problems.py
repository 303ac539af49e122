"""Checks of the problems: their prompts, their gold answers, and what the splits share."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from grpo_jax.config import Config, QuestionsConfig, agreeing, counted
from grpo_jax.data import Problem, Split
from grpo_jax.doctor.findings import Check, Finding, error, examples, note, warning

MARKS = re.compile(r"(?<!\d)[.,;:?'\"$]|[.,;:?'\"$](?!\d)")  # those between digits belong to a number
SPACES = re.compile(r"(?<!\w)\s+|\s+(?!\w)")  # those between words and numbers part them
SOLUTION = re.compile(r"\\boxed\b|####")
DOMINANT, ENOUGH = 0.9, 20  # the share of one answer, among at least this many problems


@dataclass(frozen=True)
class Problems:
    """The problems of a run, by split."""

    config: Config
    splits: Mapping[Split, Sequence[Problem]]

    @property
    def train(self) -> Sequence[Problem]:
        return self.splits[Split.TRAIN]

    @property
    def source(self) -> str:
        """Where the training problems come from, as a field with its value."""
        task = self.config.task
        return (
            f"task.train.path={task.train.path!r}" if isinstance(task, QuestionsConfig) else f"task.name={task.name!r}"
        )


def normalised(prompt: str) -> str:
    """Return a prompt without what hardly changes a question: case, white space, punctuation, forms of letters."""
    words = MARKS.sub(" ", unicodedata.normalize("NFKC", prompt).casefold()).split()
    return SPACES.sub("", " ".join(words))


def _counts(p: Problems) -> Iterator[Finding]:
    yield note(", ".join(f"{len(found):,} {split.name.lower()}" for split, found in p.splits.items()) + " problems.")


def _leaks(p: Problems) -> Iterator[Finding]:
    trained = {normalised(problem.prompt): problem for problem in p.train}
    for split, problems in p.splits.items():
        shared = [one for one in problems if split is not Split.TRAIN and normalised(one.prompt) in trained]
        if shared:
            twin = trained[normalised(shared[0].prompt)]
            yield warning(
                f"{p.source}: {len(shared)} of the {counted(len(problems), f'{split.name.lower()} problem')} "
                f"{agreeing(len(shared), 'is', 'are')} also trained on, "
                f"apart from case, spaces and punctuation, such as {examples([shared[0].prompt, twin.prompt])}; leave "
                "each out of one of the two."
            )


def _repetitions(p: Problems) -> Iterator[Finding]:
    first: dict[str, Problem] = {}
    again, contrary = [], []
    for problem in p.train:
        earlier = first.setdefault(normalised(problem.prompt), problem)
        if earlier is not problem:
            again.append(problem)
            if earlier.answer != problem.answer:
                contrary.append(problem)
    if again:
        other = f", {len(contrary)} with another answer" if contrary else ""
        yield warning(
            f"{p.source}: {len(again)} of {counted(len(p.train), 'training problem')} "
            f"{agreeing(len(again), 'repeats', 'repeat')} an earlier one apart from case, spaces and "
            f"punctuation{other}, such as {examples([again[0].prompt], 1)}; leave each out but once."
        )


def _dominant_answer(p: Problems) -> Iterator[Finding]:
    (answer, times), *_ = Counter(problem.answer for problem in p.train).most_common(1)
    if len(p.train) >= ENOUGH and times >= DOMINANT * len(p.train):
        yield warning(
            f"{p.source}: {times} of {counted(len(p.train), 'gold answer')} are {answer!r}, so a policy that always "
            "says this is right; name another answer_field, or balance the problems."
        )


def _blank_answers(p: Problems) -> Iterator[Finding]:
    blank = [problem.prompt for problem in p.train if not problem.answer.strip()]
    if blank:
        yield error(
            f"{p.source}: {len(blank)} of {counted(len(p.train), 'gold answer')} {agreeing(len(blank), 'is', 'are')} "
            f"empty, such as that of {examples(blank, 1)}; remove such problems."
        )


def _whole_solutions(p: Problems) -> Iterator[Finding]:
    if not isinstance(p.config.task, QuestionsConfig):
        return
    whole = [problem.answer for problem in p.train if SOLUTION.search(problem.answer)]
    if whole:
        form = "after_hashes" if "####" in whole[0] else "boxed"
        yield error(
            f"task.train.answer_format={p.config.task.train.answer_format!r}: {len(whole)} of "
            f"{counted(len(p.train), 'gold answer')} "
            f"{agreeing(len(whole), 'is a whole solution', 'are whole solutions')}, such as {examples(whole, 1)}; set "
            f"it to {form!r}."
        )


def _long_answers(p: Problems) -> Iterator[Finding]:
    if not isinstance(p.config.task, QuestionsConfig):
        return
    limit = p.config.task.reward.max_characters
    longer = [problem.answer for problem in p.train if len(problem.answer) > limit]
    if longer:
        yield warning(
            f"task.reward.max_characters={limit}: {len(longer)} of {counted(len(p.train), 'gold answer')} "
            f"{agreeing(len(longer), 'is', 'are')} longer, and so always wrong; raise it to {max(map(len, longer))}, "
            "or name another answer_field."
        )


CHECKS: Sequence[Check[Problems]] = (
    Check("number of problems", _counts),
    Check("problems that training shares with the other splits", _leaks),
    Check("problems that repeat", _repetitions),
    Check("one answer to nearly everything", _dominant_answer),
    Check("empty gold answers", _blank_answers),
    Check("solutions instead of answers", _whole_solutions),
    Check("length of gold answers", _long_answers),
)
