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
from grpo_jax.rewards.per_attempt import PerAttempt
from grpo_jax.rewards.verdict import Attempt, Unscorable, Verdict, same_text

NUMERIC_TOLERANCE = Fraction(1, 10**6)  # relative, of decimals
DECIMAL = re.compile(r"\d\.\d|\.\d|\d[eE]")


def exact(config: RewardConfig, max_new_tokens: int) -> PerAttempt:
    """Return the reward that is 1 if the answer is the gold answer's text, apart from white space around it."""

    def verify(attempt: Attempt) -> Verdict:
        answer = extract(attempt.completion, config.answer_pattern)
        right = answer is not None and same_text(answer, attempt.gold)
        return Verdict(float(right), answer, right=right)

    return PerAttempt("exact", verify)


def numeric(config: RewardConfig, max_new_tokens: int) -> PerAttempt:
    """Return the reward that is 1 if an answer has the gold answer's value: exactly, or to 1e-6 if one is a decimal.

    Units are ignored. The answer must be a number, not the question's expression or another one with that value
    (`mathematics/form.py`). If the gold answer is not a number, the attempt is unscored. An answer that is not one, or
    is too long or too large to be read, is wrong.
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
    """Return the number that a text spells, None if it spells none. Raises TooLargeError if that takes much work."""
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
    r"""Return the reward that is 1 if a completion has one closed, non-empty \boxed{...} and was ended by the model."""

    def verify(attempt: Attempt) -> Verdict:
        boxes = len(MARKER.findall(attempt.completion))
        box = last_boxed(attempt.completion) if boxes == 1 else None
        return Verdict(float(attempt.stopped and box is not None and bool(box.strip())), box)

    return PerAttempt("boxed_format", verify)


def overlong(config: RewardConfig, max_new_tokens: int) -> PerAttempt:
    """Return DAPO's soft overlong punishment (arXiv 2503.14476, equation 13), in tokens.

    It is 0 up to L_max - L_cache tokens and falls linearly to -1 at L_max. L_max is `max_new_tokens`, and L_cache is
    `overlong_tokens`.

    Raises:
      ConfigError: if `overlong_tokens` is 0 or larger than `max_new_tokens`.
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
    """Return the reward of chains of equations by their last value (see `chains.py`)."""
    return PerAttempt("last_value", chains.last_value)


def tie_breaker(attempt: Attempt) -> Verdict:
    """Return a number in [0, 1) that depends on the completion's text, so that equally good completions differ.

    Smoke runs add it to the reward, so that there is something to learn from. It says nothing about what is right.
    """
    return Verdict(zlib.crc32(attempt.completion.encode()) / 2**32, None)


lot = tie_breaker  # the name in smoke runs of earlier versions
