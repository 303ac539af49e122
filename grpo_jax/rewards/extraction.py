r"""Where in a completion the answer stands: in its last \boxed{...}, or where a pattern of the user's says."""

import re
from collections.abc import Mapping

MARKER = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])(?P<space>\s*)")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped character, of which \{ and \} are two, or a brace
BARE_END = re.compile(r"[\s${}]")  # ends the answer of `\boxed 7`, unless it is a brace that is closed again
EMPTY = re.compile(r"(?:[\s.…$]|\\[ld]?dots)*")  # contents that are none: `\boxed{}`, `\boxed{...}`
SAYS_SOMETHING = re.compile(r"\d|\\[a-zA-Z]")  # a number or a command, where a word would be part of the sentence

MAX_SEARCHED = 100_000  # characters at the end of a completion in which an answer is looked for


def extract(completion: str, pattern: str) -> str | None:
    r"""Return the answer of a completion, None if it has none.

    Args:
      completion: only its last `MAX_SEARCHED` characters count.
      pattern: a regular expression with one group, whose last match is the answer, unless the group is optional
        and no part of it; "" is the last balanced \boxed{}.
    """
    text = completion[-MAX_SEARCHED:]
    if not pattern:
        return last_boxed(text)
    found: str | None = None
    for match in re.finditer(pattern, text):
        if match.group(1) is not None:  # of an optional group
            found = match.group(1)
    return found


def last_boxed(text: str) -> str | None:
    r"""Return the contents of the last balanced \boxed{...} or \fbox{...}, or of `\boxed 7`; None if there is none.

    What only speaks of a box does not undo the one before: a box that is empty or never closed, or a bare \boxed in
    front of a word ("I have put it in \boxed as asked"). Behind another box, a bare one counts if it holds a number or
    a command; a word, as in `\boxed A`, counts where there is no other box. A box inside a box belongs to the outer
    one, whose other contents count too. It does not matter where the box stands, be it in a block of thinking.

    Braces are counted in one pass, so the time is linear whatever the text is; an escaped brace, as in \{1, 2\}, is a
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
        elif "\n" in marker["space"]:  # what stands on the next line is no argument
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
    """Return, for the place of each opening brace that is closed, the place of the brace that closes it."""
    open_, closes = [], {}
    for brace in BRACE.finditer(text):
        if brace.group() == "{":
            open_.append(brace.start())
        elif brace.group() == "}" and open_:
            closes[open_.pop()] = brace.start()
    return closes
