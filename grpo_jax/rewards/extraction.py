r"""Where in a completion the answer stands: in its last \boxed{...}, or where a pattern of the user's says."""

import re

MARKER = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])(?P<space>\s*)")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped character, of which \{ and \} are two, or a brace
BARE = re.compile(r"[^\s${}]+")  # the answer of `\boxed 7`

MAX_SEARCHED = 100_000  # characters at the end of a completion in which an answer is looked for


def extract(completion: str, pattern: str) -> str | None:
    r"""The answer of a completion, None if it has none.

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
    r"""The contents of the last balanced \boxed{...} or \fbox{...}, or of `\boxed 7`; None if there is none.

    A box inside a box belongs to the outer one, whose other contents count too. Braces are counted in one pass, so the
    time is linear whatever the text is; an escaped brace, as in \{1, 2\}, is a character like any other.
    """
    markers = list(MARKER.finditer(text))
    if not markers:
        return None
    closes = _closing_braces(text)
    found, end = None, 0
    for marker in markers:
        start = marker.end()
        if marker.start() < end:
            continue
        if start in closes:
            end = closes[start]
            found = text[start + 1 : end]
        elif marker["space"] and (bare := BARE.match(text, start)):
            found = bare.group()
    return found


def _closing_braces(text: str) -> dict[int, int]:
    """For the place of each opening brace that is closed, the place of the brace that closes it."""
    open_, closes = [], {}
    for brace in BRACE.finditer(text):
        if brace.group() == "{":
            open_.append(brace.start())
        elif brace.group() == "}" and open_:
            closes[open_.pop()] = brace.start()
    return closes
