r"""Find the answer in a completion: in its last \boxed{...}, or by the user's pattern."""

import logging
import re
from collections.abc import Mapping
from functools import cache

import regex

from grpo_jax.rewards.verdict import Unscorable

logger = logging.getLogger(__name__)

MARKER = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])(?P<space>\s*)")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped character, of which \{ and \} are two, or a brace
BARE_END = re.compile(r"[\s${}]")  # ends the answer of `\boxed 7`, unless it is a brace that is closed again
EMPTY = re.compile(r"(?:[\s.…$]|\\[ld]?dots)*")  # contents that are no answer: `\boxed{}`, `\boxed{...}`
SAYS_SOMETHING = re.compile(r"\d|\\[a-zA-Z]")  # a number or a command; a word would be part of the sentence

MAX_SEARCHED = 100_000  # characters at the end of a completion that are searched for an answer
# Of this process's CPU time, for one completion. Most searches take microseconds; one that backtracks without end would
# stop the run, since no thread can be killed.
SEARCH_SECONDS = 1.0
LITERAL_BRACE = re.compile(r"(\\N\{[^}]*\}|\\.)|\{(?!\d*,?\d*\})", re.DOTALL)  # one that begins no {m,n}


def extract(completion: str, pattern: str) -> str | None:
    r"""Return the answer of a completion, None if it has none.

    Args:
      completion: only its last `MAX_SEARCHED` characters count.
      pattern: a regular expression with one group. The answer is the group in the last match that contains it (an
        optional group may be missing). "" stands for the last balanced \boxed{}.

    Raises:
      Unscorable: if the search takes more than `SEARCH_SECONDS`. The log names the pattern once.
    """
    text = completion[-MAX_SEARCHED:]
    if not pattern:
        return last_boxed(text)
    found: str | None = None
    try:
        # Without `concurrent` each match would wait for the interpreter's lock.
        for match in compiled(pattern).finditer(text, concurrent=False, timeout=SEARCH_SECONDS):
            if match.group(1) is not None:  # an optional group may be missing
                found = match.group(1)
    except TimeoutError:
        _warn(pattern)
        raise Unscorable("slow_pattern") from None
    return found


@cache
def compiled(pattern: str) -> "regex.Pattern[str]":
    """Return a pattern in the syntax of `re`, compiled by the package regex, whose searches can be ended.

    Both have the same syntax, but for braces: in regex, x{e} is an x with errors.
    """
    return regex.compile(LITERAL_BRACE.sub(lambda found: found[1] or r"\{", pattern))


@cache
def _warn(pattern: str) -> None:
    """Log once that a pattern is too slow."""
    logger.warning(
        "task.reward.answer_pattern=%r: a search took more than %g s, so its completion is unscored; a group that "
        "repeats a repetition, as in (a+)+, is often the cause",
        pattern,
        SEARCH_SECONDS,
    )


def last_boxed(text: str) -> str | None:
    r"""Return the contents of the last balanced \boxed{...} or \fbox{...}, or of `\boxed 7`; None if there is none.

    A mere mention of a box does not replace the box before it: a box that is empty or never closed, or a bare \boxed
    before a word ("I have put it in \boxed as asked"). After another box, a bare \boxed counts if a number or a command
    follows it; a word, as in `\boxed A`, counts only if there is no other box. A box inside a box belongs to the outer
    one, whose other contents count too. The box may stand anywhere, even in a block of thinking.

    Braces are counted in one pass, so the time is linear for any text. An escaped brace, as in \{1, 2\}, is a
    character like any other.
    """
    markers = list(MARKER.finditer(text))
    if not markers:
        return None
    closes = _closing_braces(text)
    empty, word, found, end = None, None, None, 0
    for marker in markers:
        start = marker.end()
        if marker.start() < end:
            continue
        if start in closes:
            end = closes[start]
            contents, braced = text[start + 1 : end], True
        elif "\n" in marker["space"]:  # the next line is not its argument
            continue
        else:
            end = _bare_end(text, start, closes)
            contents, braced = text[start:end], False
        if EMPTY.fullmatch(contents):
            empty = contents if braced else empty
        elif braced or SAYS_SOMETHING.search(contents):
            found = contents
        elif marker["space"]:
            word = contents
    return next((one for one in (found, word, empty) if one is not None), None)


def _bare_end(text: str, start: int, closes: Mapping[int, int]) -> int:
    r"""Return where the answer of `\boxed 7` or `\boxed \frac{1}{2}` ends."""
    place = start
    while found := BARE_END.search(text, place):
        if found.start() not in closes:
            return found.start()
        place = closes[found.start()] + 1
    return len(text)


def _closing_braces(text: str) -> dict[int, int]:
    """Return a mapping from the place of each closed opening brace to the place of its closing brace."""
    open_, closes = [], {}
    for brace in BRACE.finditer(text):
        if brace.group() == "{":
            open_.append(brace.start())
        elif brace.group() == "}" and open_:
            closes[open_.pop()] = brace.start()
    return closes
