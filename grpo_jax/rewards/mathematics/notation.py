r"""From the text of an answer, LaTeX or plain, to tokens: what only changes how it looks is gone.

>>> [token.text for token in tokenize(r"$\dfrac{1{,}234}{5}\,\text{ cm}$")]
['\\frac', '{', '1234', '}', '{', '5', '}', 'cm']
"""

import re
from typing import Literal, NamedTuple

Kind = Literal["number", "symbol", "word", "command", "sign"]


class Token(NamedTuple):
    """`spaced`: white space stood before it, which tells `1 1/2` from `11/2`."""

    kind: Kind
    text: str
    spaced: bool = False


class NotationError(ValueError):
    """A text with characters that no answer has."""


UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ",
        "∕": "/", "⁄": "/",
        "π": r"\pi ", "θ": r"\theta ", "∞": r"\infty ", "√": r"\sqrt ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
        "°": r"^\circ ", "∪": r"\cup ", "∈": r"\in ", "∅": r"\emptyset ", "²": "^2", "³": "^3", "±": r"\pm ",
        "≈": r"\approx ", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "\u00a0": " ", "’": "'",
        "€": " euro ", "£": " pound ",
    }
)  # fmt: skip

WRAPPED = re.compile(
    r"\\(?P<command>text|textbf|textit|textrm|textsf|textnormal|mbox|mathrm|mathbf|mathit|mathsf|operatorname\*?|emph)"
    r"\s*\{(?P<inside>[^{}]*)\}"
)
RUN = re.compile(r"(?<!\\)[^\W\d_]+")  # of letters, and no command
UNIT_LETTERS = frozenset("mgshlLNJWV")
INVISIBLE = re.compile(
    r"\\(?:left|right|big|Big|bigg|Bigg)(?![a-zA-Z])[lrm]?\.?|\\(?:bigl|bigr|Bigl|Bigr)(?![a-zA-Z])"
    r"|\\(?:displaystyle|textstyle|limits|boldsymbol|boxed|fbox|bf|rm|it)(?![a-zA-Z])|(?<!\\)\\!"
)
SPACES = re.compile(r"\\(?:quad|qquad)(?![a-zA-Z])|(?<!\\)\\[,;:> \n]|~")
DELIMITERS = re.compile(r"(?<!\\)\$+|(?<!\\)\\[()\[\]]")
DIGITS = re.compile(r"(?P<number>\d+)")

# Two ways to write the same command.
SAME = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\dbinom": r"\binom", r"\tbinom": r"\binom",
    r"\leq": r"\le", r"\leqslant": r"\le", r"\geq": r"\ge", r"\geqslant": r"\ge", r"\neq": r"\ne", r"\lt": "<",
    r"\gt": ">", r"\times": r"\cdot", "*": r"\cdot", r"\ast": r"\cdot", r"\div": "/", r"\colon": ":", r"\mid": "|",
    r"\vert": "|", r"\lvert": "|", r"\rvert": "|", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[",
    r"\rbrack": "]", r"\varnothing": r"\emptyset", r"\degree": r"\circ", r"\infin": r"\infty", r"\to": r"\rightarrow",
    r"\ldots": r"\dots", r"\cdots": r"\dots", r"\lor": "or", r"\vee": "or", r"\land": "and", r"\wedge": "and",
    r"\simeq": r"\approx", r"\cap": r"\cap", r"\arg": r"\arg", r"\tg": r"\tan",
}  # fmt: skip
SIGNS = {"<", ">", r"\cdot", "/", ":", "|", r"\{", r"\}", "[", "]"}

# Runs of letters that are one thing without a backslash, too.
PLAIN_COMMANDS = {
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln",
    "log", "exp", "max", "min", "gcd", "lcm", "pi", "infty", "theta", "alpha", "beta", "binom", "frac", "cup",
}  # fmt: skip
PLAIN_WORDS = {
    "or", "and", "yes", "no", "odd", "cm", "mm", "km", "kg", "mg", "ml", "mL", "ft", "mph", "kph", "hr", "sq", "lb",
    "oz", "in", "am", "pm", "Yes", "No", "AM", "PM", "Odd", "NO", "YES",
}  # fmt: skip
SHORTEST_WORD = 4  # letters: shorter runs are products of variables

LEXEME = re.compile(
    r"""(?P<word>\x00[^\x00]*\x00)
    |(?P<grouped>\d{1,3}(?:(?:\{,\}|\x01|[ ])\d{3})+(?![\d]|\{,\}\d|\x01\d|[ ]?/)(?:\.\d+)?)
    |(?P<comma>\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?)
    |(?P<repeating>\d*\.\d*\\(?:overline|bar|dot)\s*\{?\s*\d+\s*\}?(?!\d))
    |(?P<number>(?:\d+\.\d+|\d+|\.\d+)(?:[eE][+-]?\d+(?![a-zA-Z\d.]))?)
    |(?P<command>\\(?:[a-zA-Z]+|.))
    |(?P<letters>[^\W\d_]+)
    |(?P<dots>\.\.\.+|…)
    |(?P<sign>[-+*/^_=<>()\[\]{}|!%:;,.'&\"?])
    """,
    re.VERBOSE | re.DOTALL,
)


def tokenize(text: str) -> list[Token]:
    """The tokens of an answer; digit groups are joined, and \\text{...} and runs of letters are words.

    Commas group digits outside of brackets only: (1,234) is a pair.

    Raises:
      NotationError: at a character that is in no answer, such as a null byte.
    """
    if "\x00" in text or "\x01" in text:
        raise NotationError("a control character")
    text = DELIMITERS.sub(" ", text.translate(UNICODE))
    text = WRAPPED.sub(_unwrap, INVISIBLE.sub("", text))
    text = re.sub(r"(?<=\d)(?:\\,|\\ |~|\\;|\\:)(?=\d{3}(?!\d))", "\x01", text)
    text = SPACES.sub(" ", text)
    tokens: list[Token] = []
    place = depth = 0
    while place < len(text):
        if text[place].isspace() or text[place] == "\x01":
            place += 1
            continue
        match = LEXEME.match(text, place)
        if match is not None and match.lastgroup == "comma" and depth:
            match = DIGITS.match(text, place)
        if match is None:
            raise NotationError(f"the character {text[place]!r}")
        spaced = place > 0 and (text[place - 1].isspace() or text[place - 1] == "\x01")
        for token in _tokens(match.lastgroup or "", match.group(), spaced):
            depth += (token.text in OPENING) - (token.text in CLOSING)
            tokens.append(token)
        place = match.end()
    return [*map(_minutes, tokens, [*tokens[1:], Token("sign", "")])] if "min" in text else tokens


OPENING = frozenset(("(", "[", r"\{"))
CLOSING = frozenset((")", "]", r"\}"))


def _unwrap(match: re.Match[str]) -> str:
    r"""\text{...}: its runs of letters are words, and what else is in it stays; a lone letter may be a unit's."""
    inside = match["inside"]
    alone = inside.strip() if match["command"] in ("text", "mathrm", "mbox", "textrm") else ""
    unit = alone[:1] in UNIT_LETTERS and not alone[1:2].isalpha()

    def marked(run: re.Match[str]) -> str:
        return f" \x00{run.group()}\x00 " if len(run.group()) > 1 or unit else run.group()

    return " " + RUN.sub(marked, re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", " ", inside)) + " "


def _minutes(token: Token, following: Token) -> Token:
    r"""`min` is the minute where it takes no argument: 180 min, but \min(a, b)."""
    if token.text == "\\min" and following.text not in ("(", "_", "{", r"\{", "["):
        return Token("word", "min", token.spaced)
    return token


def _tokens(group: str, text: str, spaced: bool) -> list[Token]:
    if group == "word":
        word = text.strip("\x00")
        return [Token("command", "\\" + word, spaced) if word in PLAIN_COMMANDS else Token("word", word, spaced)]
    if group in ("grouped", "comma"):
        return [Token("number", re.sub(r"\{,\}|[\x01, ]", "", text), spaced)]
    if group == "repeating":
        return [Token("number", re.sub(r"\\(?:overline|bar|dot)\s*\{?\s*(\d+)\s*\}?", r"(\1)", text), spaced)]
    if group == "command":
        text = SAME.get(text, text)
        if text in ("or", "and"):
            return [Token("word", text, spaced)]
        return [Token("sign" if text in SIGNS else "command", text, spaced)]
    if group == "letters":
        if text in PLAIN_COMMANDS:
            return [Token("command", "\\" + text, spaced)]
        if len(text) >= SHORTEST_WORD or text in PLAIN_WORDS:
            return [Token("word", text, spaced)]
        return [Token("symbol", letter, spaced and index == 0) for index, letter in enumerate(text)]
    if group == "dots":
        return [Token("command", r"\dots", spaced)]
    if group == "number":
        return [Token("number", text, spaced)]
    return [Token("sign", SAME.get(text, text), spaced)]
