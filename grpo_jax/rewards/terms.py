"""The simple rewards: equal texts, equal numbers, the form and the length of a completion."""

import re
import zlib
from fractions import Fraction

from grpo_jax.config import ConfigError, RewardConfig
from grpo_jax.rewards import chains
from grpo_jax.rewards.extraction import MARKER, extract, last_boxed
from grpo_jax.rewards.mathematics.answer import Statement
from grpo_jax.rewards.mathematics.form import is_finished
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.notation import NotationError, tokenize
from grpo_jax.rewards.mathematics.reading import read
from grpo_jax.rewards.mathematics.work import TooLargeError, limited
from grpo_jax.rewards.per_attempt import PerAttempt, Unscorable
from grpo_jax.rewards.verdict import Attempt, Verdict, same_text

NUMERIC_TOLERANCE = Fraction(1, 10**6)  # relative, of decimals
DECIMAL = re.compile(r"\d\.\d|\.\d|\d[eE]")


def exact(config: RewardConfig, max_new_tokens: int) -> PerAttempt:
    """Return the reward that is 1 if the answer is the gold one, as a text without the white space around it."""

    def verify(attempt: Attempt) -> Verdict:
        answer = extract(attempt.completion, config.answer_pattern)
        right = answer is not None and same_text(answer, attempt.gold)
        return Verdict(float(right), answer, right=right)

    return PerAttempt("exact", verify)


def numeric(config: RewardConfig, max_new_tokens: int) -> PerAttempt:
    """Return the reward that is 1 if an answer has the gold one's value: exactly, or to 1e-6 if one is a decimal.

    Units are not looked at, and it must be a number, not the question's expression or another one that has its value
    (`mathematics/form.py`). A gold answer that is no number leaves the attempt unscored; an answer that is none, be it
    too long or too large to be one, is wrong.
    """

    def verify(attempt: Attempt) -> Verdict:
        answer = extract(attempt.completion, config.answer_pattern)
        try:
            gold = _number(attempt.gold, config.max_characters)
        except TooLargeError as error:
            raise Unscorable("too_large") from error
        if gold is None:
            raise Unscorable("unparsable_gold")
        right = answer is not None and same(attempt.gold, answer)
        right = right and is_finished(attempt.prompt, attempt.gold, answer or "")
        return Verdict(float(right), answer, right=right)

    def same(one: str, other: str) -> bool:
        try:
            value, given = (_number(text, config.max_characters) for text in (one, other))
        except TooLargeError:
            return False
        if value is None or given is None:
            return same_text(one, other)
        decimal = DECIMAL.search(one) or DECIMAL.search(other)
        return abs(given - value) <= (NUMERIC_TOLERANCE * abs(value) if decimal else 0)

    return PerAttempt("numeric", verify, same)


def _number(text: str, max_characters: int) -> Fraction | None:
    """Return the number that a text is; None if it is none. Raises TooLargeError if that takes too much to find out."""
    if len(text) > max_characters:
        raise TooLargeError("too many characters")
    try:
        with limited():
            answer = read(tokenize(text))
    except NotationError:
        return None
    except RecursionError as error:
        raise TooLargeError("nested too deep") from error
    if isinstance(answer, Statement):
        answer = answer.values[-1]
    return answer.value if isinstance(answer, Formula) else None


def boxed_format(config: RewardConfig, max_new_tokens: int) -> PerAttempt:
    r"""Return the reward that is 1 if a completion has one \boxed{...}, closed and not empty, and an end of its own."""

    def verify(attempt: Attempt) -> Verdict:
        boxes = len(MARKER.findall(attempt.completion))
        box = last_boxed(attempt.completion) if boxes == 1 else None
        return Verdict(float(attempt.stopped and box is not None and bool(box.strip())), box)

    return PerAttempt("boxed_format", verify)


def overlong(config: RewardConfig, max_new_tokens: int) -> PerAttempt:
    """Return DAPO's soft overlong punishment (arXiv 2503.14476, equation 13), in tokens.

    0 up to L_max - L_cache, then linearly down to -1 at L_max, with L_max `max_new_tokens` and L_cache
    `overlong_tokens`.

    Raises:
      ConfigError: if the buffer is empty or longer than a completion may be.
    """
    buffer = config.overlong_tokens
    if not 0 < buffer <= max_new_tokens:
        raise ConfigError(
            f"task.reward.overlong_tokens={buffer}: with the term overlong it must be at least 1 and at most "
            f"rollout.max_new_tokens={max_new_tokens}."
        )

    def verify(attempt: Attempt) -> Verdict:
        over = attempt.tokens - (max_new_tokens - buffer)
        return Verdict(-min(max(over / buffer, 0.0), 1.0), None)

    return PerAttempt("overlong", verify)


def last_value_of_chain(config: RewardConfig, max_new_tokens: int) -> PerAttempt:
    """Return the reward of chains of equations by their last value, see `chains.py`."""
    return PerAttempt("last_value", chains.last_value)


def lot(attempt: Attempt) -> float:
    """Return a number from 0 to below 1 that depends on the completion's text, so that equally good ones differ.

    For runs that only try whether everything works.
    """
    return zlib.crc32(attempt.completion.encode()) / 2**32
