r"""The reward of mathematical answers.

The answer is the last balanced \boxed{...} (or what a pattern finds). Most answers are compared in this process, with
exact arithmetic and bounded effort (`compare.py` has the rules). The others go to worker processes that can be killed.

An answer that equals the gold answer may merely repeat the question, or leave work undone. `form.py` says which forms
count; with `any_form` all of them do, as with most graders.

An answer that is too long, too large or too slow to compare, or that breaks a parser, is wrong. If it were unscored, a
policy could learn to write unreadable answers. A completion is unscored only for reasons that no answer could change:
a gold answer that cannot be read or evaluated within the same limits, workers that were ended from outside, or a
pattern that takes too long to find the answer. Unscored is not a reward of 0, and is counted by reason.

A completion that was cut off at the maximum length is judged by its text like any other: if its answer is there, it
counts. `overlong` is the term that punishes length.
"""

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence

from grpo_jax.config import RewardConfig
from grpo_jax.rewards.extraction import extract
from grpo_jax.rewards.mathematics.asked import interpreted
from grpo_jax.rewards.mathematics.compare import AT_ONCE
from grpo_jax.rewards.mathematics.form import is_finished
from grpo_jax.rewards.mathematics.outcome import PLAIN, Outcome, outcome_by
from grpo_jax.rewards.mathematics.pool import UNKNOWN, Pair, Pool
from grpo_jax.rewards.verdict import Attempt, Unscorable, Verdict

logger = logging.getLogger(__name__)

CACHED = 20_000  # pairs
DECIDED = frozenset(("right", "wrong", "unparsable_gold"))


class Mathematics:
    """The reward of mathematical answers (see the module). Several threads may call it at once."""

    def __init__(self, config: RewardConfig, any_form: bool = False):
        """Prepare the reward; with `any_form` every answer that equals the gold answer is right (`form.py`)."""
        self._config = config
        self._any_form = any_form
        self._pool = Pool(config.workers, config.seconds, config.memory_mb)
        self._known: OrderedDict[Pair, Outcome] = OrderedDict()
        self._lock = threading.Lock()
        self._told: set[Outcome] = set()  # the limits and internal errors that have been logged once
        self.unscored: Counter[str] = Counter()

    def judge(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        """Return one verdict each: reward 1 or 0, or unscored. Raises WorkerError if no worker can be started."""
        found = [(attempt, *self._found(attempt)) for attempt in attempts]
        outcomes = iter(
            self.compare([(_asked(attempt, answer), answer) for attempt, answer, _ in found if answer is not None])
        )
        return [
            self._verdict(answer, without if answer is None else self._in_form(attempt, answer, next(outcomes)))
            for attempt, answer, without in found
        ]

    def same(self, prompt: str, answer: str, others: Sequence[str]) -> list[bool]:
        """Return whether each of the others equals this answer as if it were the gold one; unreadable ones do not."""
        gold = answer if len(answer) > self._config.max_characters else interpreted(prompt, answer)
        return [outcome == "right" for outcome in self.compare([(gold, other) for other in others])]

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[Outcome]:
        """Return the outcomes for pairs of a gold and a given answer; equal pairs are compared once."""
        outcomes = self._outcomes(pairs)
        doubtful = [pair for pair, outcome in outcomes.items() if outcome not in DECIDED | UNKNOWN]
        of_gold = self._outcomes([(gold, None) for gold, _ in doubtful])
        for gold, answer in doubtful:
            alone = of_gold[gold, None]
            reason = outcomes[gold, answer]
            if alone == "wrong" and self._is_first(reason):  # so the gold answer is not the cause
                logger.warning(
                    "an answer that cannot be compared (%s) is wrong: %.100r for %.100r", reason, answer, gold
                )
            outcomes[gold, answer] = alone
        return [outcomes[pair] for pair in pairs]

    def _outcomes(self, pairs: Sequence[Pair]) -> dict[Pair, Outcome]:
        outcomes: dict[Pair, Outcome] = {}
        left = []
        for pair in dict.fromkeys(pairs):
            outcome = self._recall(pair) or self._at_once(pair)
            if outcome is None:
                left.append(pair)
            else:
                outcomes[pair] = outcome
        if left:
            outcomes |= zip(left, self._pool.outcomes(left), strict=True)
        self._remember(outcomes)
        return outcomes

    def warm(self) -> None:
        """Start the workers without waiting for them."""
        self._pool.warm()

    def close(self) -> None:
        """End the workers. May be called more than once."""
        self._pool.close()

    def _found(self, attempt: Attempt) -> tuple[str | None, Outcome]:
        """Return the answer of a completion, and the outcome if it has none."""
        try:
            return extract(attempt.completion, self._config.answer_pattern), "wrong"
        except Unscorable:
            return None, "slow_pattern"

    def _in_form(self, attempt: Attempt, answer: str, outcome: Outcome) -> Outcome:
        if outcome != "right" or self._any_form:
            return outcome
        try:
            return "right" if is_finished(attempt.prompt, attempt.gold, answer) else "wrong"
        except Exception:  # a bug that shows in one pair must not end a run
            if self._is_first("error"):
                logger.warning("cannot tell the form of the answer %r to %r:", answer, attempt.gold, exc_info=True)
            return "error"

    def _verdict(self, answer: str | None, outcome: Outcome) -> Verdict:
        if outcome in ("right", "wrong"):
            return Verdict(float(outcome == "right"), answer, right=outcome == "right")
        with self._lock:
            self.unscored[outcome] += 1
        return Verdict(0.0, answer, scored=False)

    def _at_once(self, pair: Pair) -> Outcome | None:
        gold, answer = pair
        if answer is not None and gold.strip() == answer.strip() != "":
            return "right"
        if max(len(gold), len(answer or "")) > self._config.max_characters:
            return "too_long"
        try:
            return outcome_by(gold, answer, AT_ONCE)
        except Exception:  # a bug that shows in one pair must not end a run
            if self._is_first("error"):
                logger.warning("cannot compare the answer %r with %r:", answer, gold, exc_info=True)
            return "error"

    def _is_first(self, reason: Outcome) -> bool:
        """Return whether this reason has not been logged yet."""
        with self._lock:
            told = reason in self._told
            self._told.add(reason)
        return not told

    def _recall(self, pair: Pair) -> Outcome | None:
        with self._lock:
            if pair in self._known:
                self._known.move_to_end(pair)
            return self._known.get(pair)

    def _remember(self, outcomes: dict[Pair, Outcome]) -> None:
        with self._lock:
            self._known.update((pair, outcome) for pair, outcome in outcomes.items() if outcome not in UNKNOWN)
            while len(self._known) > CACHED:
                self._known.popitem(last=False)


def _asked(attempt: Attempt, answer: str) -> str:
    """Return the gold answer as the question means it. In most pairs, plain numbers, the question does not matter."""
    if PLAIN.fullmatch(attempt.gold) and PLAIN.fullmatch(answer):
        return attempt.gold
    return interpreted(attempt.prompt, attempt.gold)
