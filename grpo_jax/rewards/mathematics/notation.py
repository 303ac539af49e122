r"""Split the text of an answer, LaTeX or plain, into tokens, without anything that only changes its looks.

>>> [token.text for token in tokenize(r"$\dfrac{1{,}234}{5}\,\text{ cm}$")]
['\\frac', '{', '1234', '}', '{', '5', '}', 'cm']
"""

import re
import unicodedata
from typing import Literal, NamedTuple

Kind = Literal["number", "symbol", "word", "command", "sign"]


class Token(NamedTuple):
    """`spaced`: whether white space came before it, which distinguishes `1 1/2` from `11/2`."""

    kind: Kind
    text: str
    spaced: bool = False


class NotationError(ValueError):
    """The text has characters that occur in no answer."""


def _greek() -> dict[str, str]:
    """Return the Greek letters as commands."""
    letters = {}
    for code in (*range(0x391, 0x3AA), *range(0x3B1, 0x3CA)):
        _, _, name = unicodedata.name(chr(code), "").rpartition(" ")
        if name and name != "OMICRON" and code != 0x3C2:
            name = name.replace("LAMDA", "LAMBDA")
            letters[chr(code)] = f"\\{name.capitalize() if code < 0x3B1 else name.lower()} "
    return letters


UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ", "∕": "/",
        "⁄": "/",
        "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "°": r"^\circ ", "º": r"^\circ ", "∪": r"\cup ",
        "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ", "≈": r"\approx ", "’": "'",
        "′": "'",
        "€": " euro ", "£": " sterling ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
        "∖": r"\setminus ", "√": r"\sqrt ", "∛": r"\sqrt[3]", "⟨": r"\langle ", "⟩": r"\rangle ", "∠": r"\angle ",
        "‰": " permille ", "。": ".", "∀": r"\forall ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ",
        "⌉": r"\rceil ", "µ": r"\mu ", "\u2126": r"\Omega ", "Å": r"\AA ", "≡": r"\equiv ",
        **_greek(),
    }
)  # fmt: skip
# Unicode's superscripts, subscripts and fractions. Any other character with a plain form (a full-width digit) gets it.
SCRIPTS = (
    (re.compile("[⁰¹²³⁴-⁾ⁿⁱˣᵏᵐʸ]+"), r"^{%s}"),
    (re.compile("[₀-₎ₐ-ₜ]+"), r"_{%s}"),
    (re.compile(r"(?<=√)\s*\d+"), "{%s}"),
    (re.compile("[¼-¾⅐-⅞]"), r"\frac{%s}"),
)

TEXT = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal|up|sc)?|mbox|hbox|mathrm|operatorname|emph)\s*\{")
RUN = re.compile(r"(?<!\\)(?<![^\W\d_])[^\W\d_]+")  # a run of letters that is not a command
UNIT_LETTERS = frozenset("mgshlLNJWV")  # units even if nothing comes before them
BEHIND = re.compile(r"[\d})]\s*(?:\\[,;:! ]|~)*\s*$")  # ends in a value, so a letter in \mathrm after it is its unit
NO_UNITS = frozenset("eid")
# Replacements in this order. None of them changes the meaning.
SAYS_NOTHING = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"\\Pr(?![a-zA-Z])|\\mathbb\s*\{\s*P\s*\}", "P"),
        (r"\\mathbf\s*\{\s*([RZNQ])\s*\}", r"\\mathbb{\1}"),
        (r"\\left\s*\\\{(?=\s*\\begin)|\\right\s*\.", " "),  # the brace of a system of equations
        (
            r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![a-zA-Z])\.?"
            r"|\\(?:display|text|script)style(?![a-zA-Z])|\\(?:limits|nolimits|ensuremath|hline|mathop|mathbin|null)(?![a-zA-Z])"
            r"|\\(?:math(?:bf|it|sf|tt|cal|scr|normal)|boldsymbol|bm|pmb|underline|underbrace|boxed|fbox|framebox)(?![a-zA-Z])"
            r"|\\(?:bf|rm|it|sf|tt|bfseries|itshape|em)(?![a-zA-Z])"
            r"|\\(?:tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])"
            r"|(?<!\\)\\!|(?<!\\)\\/",
            "",
        ),
        (r"\\(?:text)?color(?:\[[^\]]*\])?\s*\{[^{}]*\}|\\colorbox\s*\{[^{}]*\}|\\bbox\s*\[[^\]]*\]", ""),
        (r"(?<![\\a-zA-Z])\{\s*([:=<>])\s*\}", r"\1"),
        (r"(\d*\.\d*)\\dot\s*\{?\s*(\d)\s*\}?(\d*)\\dot\s*\{?\s*(\d)\s*\}?", r"\1\\overline{\2\3\4}"),
        (r"\\math(?:open|close|rel|ord|punct|inner)\s*\{([^{}]*)\}", r"\1"),
        (r"\\(?:[hv]space\*?|[hv]?phantom|tag\*?|label)\s*\{[^{}]*\}", " "),
        (r"(?<!\\)\$+|(?<!\\)\\[()\[\]]", " "),
        (r"\\\\\s*\[\s*-?[\d.]+\s*[a-z]{2}\s*\]|\\(?:cr|newline)(?![a-zA-Z])", r"\\\\"),  # \\[4pt]
        (r"\\(begin|end)\s*\{(\w+)\*\}", r"\\\1{\2}"),
        (r"\\not\s*(?:=|\\eq(?![a-zA-Z]))|(?<=\w)\s+!=", r"\\ne "),
        (">=", r"\\ge "),
        ("<=", r"\\le "),
        (r"\\not\s*\\in(?![a-zA-Z])", r"\\notin "),
        (r"\^\s*(?:\{\s*((?:\\prime\s*)+)\}|(\\prime)(?![a-zA-Z]))", r"\1\2"),
        (r"\\prime(?![a-zA-Z])\s*", "'"),
        (r"^\s*\*\*(.*)\*\*\s*$", r"\1"),  # as Markdown does bold
    )
)
MARKED = frozenset("\\$*!={")  # every match of SAYS_NOTHING contains one of these
SPACES = re.compile(r"\\(?:quad|qquad|enspace|thinspace)(?![a-zA-Z])|(?<!\\)\\[,;:> \n]|~")
DIGITS = re.compile(r"(?P<number>\d+)")

# Two ways to write the same command.
SAME = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\dbinom": r"\binom", r"\tbinom": r"\binom",
    r"\leq": r"\le", r"\leqslant": r"\le", r"\geq": r"\ge", r"\geqslant": r"\ge", r"\neq": r"\ne", r"\lt": "<",
    r"\gt": ">", r"\times": r"\cdot", "*": r"\cdot", r"\ast": r"\cdot", r"\div": "/", r"\colon": ":", r"\mid": "|",
    r"\vert": "|", r"\lvert": "|", r"\rvert": "|", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[",
    r"\rbrack": "]", r"\varnothing": r"\emptyset", r"\degree": r"\circ", r"\infin": r"\infty", r"\to": r"\rightarrow",
    r"\ldots": r"\dots", r"\cdots": r"\dots", r"\lor": "or", r"\vee": "or", r"\land": "and", r"\wedge": "and",
    r"\simeq": r"\approx", r"\tg": r"\tan", r"\ctg": r"\cot", r"\nicefrac": r"\frac", r"\sfrac": r"\frac",
    r"\geqq": r"\ge", r"\leqq": r"\le", r"\smallsetminus": r"\setminus", r"\backslash": r"\setminus",
    r"\ohm": r"\Omega",
}  # fmt: skip
SIGNS = {"<", ">", r"\cdot", "/", ":", "|", r"\{", r"\}", "[", "]"}

# Runs of letters that are commands even without a backslash.
_PLAIN_COMMANDS = (
    "sqrt sin cos tan cot sec csc arcsin arccos arctan arccot arcsinh arccosh arctanh arsinh arcosh artanh sinh "
    "cosh tanh coth ln lg log exp max min gcd lcm binom frac cup infty pi theta alpha beta gamma delta lambda sigma "
    "omega phi epsilon"
)
PLAIN_COMMANDS = frozenset(_PLAIN_COMMANDS.split())
_PLAIN_WORDS = (
    "or and yes no odd in am pm Yes No AM PM Odd NO YES cm mm km kg mg ml mL ft mph kph hr sq lb oz is to the for "
    "not but all any mod per one two six ten red"
)
PLAIN_WORDS = frozenset(_PLAIN_WORDS.split())
SHORTEST_WORD = 4  # letters: shorter runs are products of variables

LEXEME = re.compile(
    r"""(?P<word>\x00[^\x00]*\x00)
    |(?P<grouped>\d{1,3}(?:(?:\{,\}|\x01|[ ])\d{3})+(?![\d]|\{,\}\d|\x01\d|[ ]?/)(?:\.\d+)?)
    |(?P<comma>\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?)
    |(?P<repeating>\d*\.\d*\\(?:overline|bar|dot)\s*\{?\s*\d+\s*\}?(?!\d))
    |(?P<going_on>\d*\.(?:\(\d+\)|\d*?(?:(?P<one>\d)(?P=one){2,}|(?P<block>\d{2,9})(?P=block)+)(?:\.\.\.+|…|\\[lc]?dots(?![a-zA-Z]))))
    |(?P<number>(?:\d+\.\d+|\d+|\.\d+)(?:[eE][+-]?\d+(?![a-zA-Z\d.]))?)
    |(?P<command>\\(?:[a-zA-Z]+|.))
    |(?P<letters>[^\W\d_]+)
    |(?P<dots>\.\.\.+|…)
    |(?P<sign>[-+*/^_=<>()\[\]{}|!%:;,.'&\"?])
    """,
    re.VERBOSE | re.DOTALL,
)


GOING_ON = re.compile(r"(?:(?P<one>\d)(?P=one){2,}|(?P<block>\d{2,9})(?P=block)+)\D+$")  # 0.333...


def tokenize(text: str) -> list[Token]:
    """Return the tokens of an answer; digit groups are joined, and \\text{...} and runs of letters are words.

    Commas group digits outside of brackets only: (1,234) is a pair.

    Raises:
      NotationError: for a character that occurs in no answer, such as a null byte.
    """
    if "\x00" in text or "\x01" in text:
        raise NotationError("a control character")
    text = _words(_plain(text))
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


OPENING = frozenset(("(", "[", r"\{", r"\langle"))
CLOSING = frozenset((")", "]", r"\}", r"\rangle"))


HALF_OF_DAY = re.compile(
    r"\b([ap])\.\s?m\.|(?<=:\d\d)((?:[\s~]|\\text\{)*[ap]m\b)", re.IGNORECASE
)  # 3 pm may be a length


def _upper_half(text: str) -> str:
    return text[:-2] + text[-2:].upper()


def _plain(text: str) -> str:
    """Return the text without the parts of Unicode and LaTeX that only change its looks."""
    if not text.isascii():
        for characters, template in SCRIPTS:
            text = characters.sub(lambda found, template=template: template % _ascii(found.group()), text)  # type: ignore[misc]
        text = unicodedata.normalize("NFKC", text.translate(UNICODE)).translate(UNICODE)
    text = HALF_OF_DAY.sub(lambda found: f"{found[1].upper()}M" if found[1] else _upper_half(found[2]), text)
    if not MARKED.isdisjoint(text):
        for pattern, instead in SAYS_NOTHING:
            text = pattern.sub(instead, text)
    return text


def _ascii(characters: str) -> str:
    plain = unicodedata.normalize("NFKC", characters).replace("−", "-")
    top, slash, bottom = plain.partition("⁄")
    return f"{top}}}{{{bottom}" if slash else plain.strip()


def _words(text: str) -> str:
    r"""Return the text with the letters in \text{...} marked as words; everything else in it stays."""
    done, place = [], 0
    while (command := TEXT.search(text, place)) is not None:
        end = _closing(text, command.end())
        if end < 0:
            break
        done.append(text[place : command.start()])
        done.append(_unwrapped(command.group(), text[command.end() : end], "".join(done[-2:])))
        place = end + 1
    return "".join((*done, text[place:]))


def _closing(text: str, place: int) -> int:
    """Return the place of the brace that closes the one before `place`; -1 if none does."""
    depth = 1
    for brace in re.compile(r"(?<!\\)[{}]").finditer(text, place):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return brace.start()
    return -1


def _unwrapped(command: str, inside: str, before: str) -> str:
    """Return the argument of a text command with its runs of letters marked as words.

    A lone letter is a variable or choice, unless it can be a unit.
    """
    if TEXT.search(inside):
        inside = _words(inside)
    letters = RUN.findall(inside)
    alone = letters[0] if len(letters) == 1 and len(letters[0]) == 1 else ""
    if not alone:
        symbols = len(letters) > 1 and "rm" in command and not BEHIND.search(before) and max(map(len, letters)) == 1
    else:
        behind = BEHIND.search(before) is not None and not inside.strip().startswith(("(", "["))
        symbols = alone in NO_UNITS or not (
            behind or (alone in UNIT_LETTERS and command[1:5] in ("text", "math", "mbox"))
        )

    def marked(run: re.Match[str]) -> str:
        return run.group() if symbols and len(run.group()) == 1 else f" \x00{run.group()}\x00 "

    hyphens = re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", " ", inside)
    return f" {hyphens} " if "\x00" in hyphens else " " + RUN.sub(marked, hyphens) + " "


def _minutes(token: Token, following: Token) -> Token:
    r"""Return `min` as the unit if no argument follows: 180 min, but \min(a, b)."""
    if token.text == "\\min" and following.text not in ("(", "_", "{", r"\{", "["):
        return Token("word", "min", token.spaced)
    return token


def _tokens(group: str, text: str, spaced: bool) -> list[Token]:
    """Return the tokens of a lexeme, given the name of its group in the pattern."""
    if group == "word":
        word = text.strip("\x00")
        return [Token("command", "\\" + word, spaced) if word in PLAIN_COMMANDS else Token("word", word, spaced)]
    if group == "grouped":
        return [Token("number", re.sub(r"\{,\}|[\x01 ]", "", text), spaced)]
    if group == "repeating":
        return [Token("number", re.sub(r"\\(?:overline|bar|dot)\s*\{?\s*(\d+)\s*\}?", r"(\1)", text), spaced)]
    if group == "going_on":
        return [Token("number", GOING_ON.sub(lambda found: f"({found['one'] or found['block']})", text), spaced)]
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
    if group in ("number", "comma"):  # a group comma stays: it may turn out to separate a list
        return [Token("number", text, spaced)]
    return [Token("sign", SAME.get(text, text), spaced)]
