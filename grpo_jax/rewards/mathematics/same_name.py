"""Decide whether two names can stand for the same quantity."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from grpo_jax.rewards.mathematics import expression
from grpo_jax.rewards.mathematics.nouns import is_of_another, may_be_of, quantities

NO_NAME = "\\#"  # before names of quantities that are not asked for


def contradict(asked: Sequence[str], given: Sequence[str]) -> bool:
    r"""Return whether two names cannot stand for the same quantity: f(2) and f(3), y and x, z and |z|.

    Names of different sorts can: x and the length AB, y and f(x), A and \\frac{a+b}{2}.
    """
    if NO_NAME in asked:
        place = asked.index(NO_NAME)
        others = {text for text in asked[place + 1 :] if text.isalpha() or _is_letter(text)}
        names = {text for text in given if text.isalpha() or _is_letter(text)}
        if names and names <= others and "(" not in given:
            return True
        asked = asked[:place]
    if is_of_another(asked, given) or _are_of_others(asked, given):
        return True
    if may_be_of(asked, given):
        return False
    asked = tuple(text for text in asked if not (text[:1].isalpha() and quantities([text]))) or asked
    one, other = _Name.of(asked), _Name.of(given)
    if one is None or other is None:  # a letter does not name an expression that contains it
        letters, known = ({text for text in texts if _is_letter(text)} for texts in (given, asked))
        part = letters <= known and (other or "(" not in given) if one is None else letters == known
        return bool(letters and part) and tuple(asked) != tuple(given)
    if one.is_figure or other.is_figure:
        return one.is_figure and other.is_figure and one.head not in (other.head, other.head[::-1])
    if one.head != other.head and any(a.head == ("y",) and b.is_function for a, b in ((one, other), (other, one))):
        return one.derivatives != other.derivatives
    heads = {name.head if one.indexed and other.indexed else name.head[0] for name in (one, other)}
    return len(heads) > 1 or (one.derivatives, one.inverse) != (other.derivatives, other.inverse) or one.is_at(other)


def _are_of_others(asked: Sequence[str], given: Sequence[str]) -> bool:
    """Return whether two determinants are of different matrices."""
    ours, theirs = ([text for text in texts if text not in IN_OPERATORS] for texts in (asked, given))
    both = "\\det" in given and "\\det" in asked
    return both and bool(theirs) and ours != theirs and (len(ours) == 1 or len(theirs) > 1)


def of_same_quantity(name: tuple[str, ...], names: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """Return this name if it is among several, or else the only one that may be of its quantity; () if none is."""
    if name in names:
        return name
    found = [other for other in names if may_be_of(name, other)]
    return found[0] if len(found) == 1 else ()


def is_shifted(name: Sequence[str]) -> bool:
    """Return whether a name is that of another term than the nth: a_{n+1}."""
    return "_" in name and not {"+", "-"}.isdisjoint(name)


@dataclass(frozen=True)
class _Name:
    """The parts of a name: f, x_1, f^{-1}(x), y', \\frac{dy}{dx}, \\angle ABC."""

    head: tuple[str, ...]  # x; x, _, 1; A, B, C
    derivatives: int = 0
    inverse: bool = False
    argument: tuple[str, ...] | None = None

    @classmethod
    def of(cls, texts: Sequence[str]) -> "_Name | None":
        texts = tuple(text for text in texts if text not in IN_NAMES)
        points = tuple(text for text in texts if text not in ("\\overline", "|"))
        if len(points) > 1 and all(map(_is_point, points)):
            texts = points  # |AB|, which is AB
        if texts[:2] == ("\\frac", "d") and texts[3:4] == ("d",) and len(texts) == 5:
            return cls((texts[2],), 1, argument=(texts[4],))
        end = next((place for place, text in enumerate(texts) if text in ("(", "'", "^")), len(texts))
        head, rest = texts[:end], texts[end:]
        derivatives = next((place for place, text in enumerate(rest) if text != "'"), len(rest))
        rest = rest[derivatives:]
        inverse = rest[:3] == ("^", "-", "1")
        argument = rest[3:] if inverse else rest
        if argument and (argument[0] != "(" or argument[-1] != ")" or "(" in argument[1:]):
            return None
        if not head or not _is_letter(head[0]) or not (len(head) == 1 or head[1] == "_" or all(map(_is_point, head))):
            return None
        return cls(head, derivatives, inverse, argument[1:-1] if argument else None)

    @property
    def indexed(self) -> bool:
        return "_" in self.head

    @property
    def is_function(self) -> bool:
        return self.argument != ("y",) and (self.argument is not None or self.derivatives > 0)

    @property
    def is_figure(self) -> bool:
        return len(self.head) > 1 and not self.indexed

    def is_at(self, other: "_Name") -> bool:
        """Return whether both are functions at different values; letters as arguments do not differ."""
        arguments = {self.argument, other.argument}
        letters = all(argument and len(argument) == 1 and _is_letter(argument[0]) for argument in arguments)
        return None not in arguments and len(arguments) > 1 and not letters


def _is_letter(text: str) -> bool:
    return (len(text) == 1 and text.isalpha()) or text in expression.SYMBOLS


def _is_point(text: str) -> bool:
    return len(text) == 1 and text.isupper()


IN_OPERATORS = frozenset(("\\det", "(", ")", "{", "}"))
IN_NAMES = frozenset(("{", "}", "\\angle", "\\vec", "\\overrightarrow", "\\mathbf", "m\\angle"))
