r"""A grammar of the expressions in answers, in LaTeX or as people type them.

It is made for answers: `2\frac{1}{2}` is the mixed number 5/2, `2^10` is 1024, products without a sign bind like
products with one. Anything else (sums, integrals, ...) raises `ExpressionError`; nothing is guessed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NoReturn

from grpo_jax.rewards.mathematics.notation import Token
from grpo_jax.rewards.mathematics.work import TooLargeError, spend

MAX_DEPTH = 40  # of nesting
MAX_DIGITS = 3000  # of a number
COST = 5  # units of work for an atom


class ExpressionError(ValueError):
    """The text is not an expression of this grammar."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operation on expressions; a leaf is "number" with its value, or "symbol" or "constant" with its name.

    "apply" is a named function without a definition, applied to its arguments: f(0).
    """

    operation: str
    arguments: tuple["Node", ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""


GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar"
)
SYMBOLS = {"\\" + name: name.removeprefix("var") for name in GREEK.split()}
CONSTANTS = {"\\pi": "pi", "\\infty": "infinity", "e": "e", "i": "i", "\\imath": "i"}
TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc")
HYPERBOLIC = ("sinh", "cosh", "tanh")
INVERSE = {f"arc{name}": f"arc{name}" for name in (*TRIGONOMETRIC, *HYPERBOLIC)}
FUNCTIONS = {
    "\\" + name: meaning
    for name, meaning in {
        **{name: name for name in (*TRIGONOMETRIC, *HYPERBOLIC, "coth", "ln", "log", "exp")},
        **INVERSE,
        **{f"ar{name}": f"arc{name}" for name in HYPERBOLIC},
        "lg": "log",
    }.items()
}
OF_LISTS = {"\\max": "max", "\\min": "min", "\\gcd": "gcd", "\\lcm": "lcm", "lcm": "lcm"}
ROUNDED = {"\\lfloor": ("\\rfloor", "floor"), "\\lceil": ("\\rceil", "ceiling")}
GROUPS = {"(": ")", "[": "]", "{": "}"}
STACKED = {"\\over": "quotient", "\\choose": "binomial"}  # {a \over b}
DRAWN = (  # part of a name
    "\\overline", "\\vec", "\\hat", "\\bar", "\\overrightarrow", "\\tilde", "\\dot", "\\ddot", "\\widehat",
    "\\widetilde",
)  # fmt: skip
FUNCTION_LETTERS = frozenset("fgFG")  # f(x) is never a product; h(x) may be one


def parse(tokens: Sequence[Token]) -> Node:
    """Return the expression that the tokens spell.

    Raises:
      ExpressionError: if they spell none.
      TooLargeError: if it is nested deeper than `MAX_DEPTH`, or holds a number of more than `MAX_DIGITS`.
    """
    return _Parser(tokens).whole()


def number(text: str) -> Fraction:
    """Return the exact value of a decimal such as 12, .5, 1.5e-3 or 0.1(6), whose bracketed digits repeat forever.

    Raises:
      TooLargeError: if it has more than `MAX_DIGITS` digits.
    """
    text = text.replace(",", "")
    if text.isdigit() and len(text) <= MAX_DIGITS:
        return Fraction(int(text))
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 5 or abs(int(exponent or 0)) > MAX_DIGITS:
        raise TooLargeError("a number of too many digits")
    plain, _, repeated = mantissa.rstrip(")").partition("(")
    value = Fraction(plain if plain != "." else "0")
    if repeated:
        places = len(plain.partition(".")[2])
        value += Fraction(int(repeated), (10 ** len(repeated) - 1) * 10**places)
    return value * Fraction(10) ** int(exponent) if exponent else value


def nodes(node: Node) -> Iterator[Node]:
    """Yield an expression and all expressions in it."""
    yield node
    for argument in node.arguments:
        yield from nodes(argument)


def names(node: Node) -> frozenset[str]:
    """Return the names of the variables and of the named functions in an expression."""
    return frozenset(inner.name for inner in nodes(node) if inner.operation in ("symbol", "apply"))


def replaced(node: Node, by_name: Mapping[str, Node]) -> Node:
    """Return an expression with some variables and constants replaced by other expressions."""
    if not node.arguments:
        return by_name.get(node.name, node) if node.name else node
    return replace(node, arguments=tuple(replaced(argument, by_name) for argument in node.arguments))


class _Parser:
    """Recursive descent: sum, product, signed, power, atom."""

    def __init__(self, tokens: Sequence[Token]):
        self._tokens = [*tokens, END, END, END]  # no rule looks further ahead
        self._place = 0
        self._depth = 0
        self._in_bars = False  # so that the next bar closes

    def whole(self) -> Node:
        node = self._stacked()
        if self._next is not END:
            self._fail()
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _ahead(self, offset: int) -> Token:
        return self._tokens[self._place + offset]

    def _take(self, text: str) -> bool:
        if self._next.text != text:
            return False
        self._place += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._fail()

    def _fail(self) -> NoReturn:
        raise ExpressionError(f"did not expect {self._next.text or 'the end'!r} at token {self._place}")

    def _deeper(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooLargeError("an expression nested too deep")
        node = rule()
        self._depth -= 1
        return node

    def _stacked(self) -> Node:
        r"""Parse a sum, or two of them: `a \over b`."""
        node = self._sum()
        operation = STACKED.get(self._next.text)
        if operation is None:
            return node
        self._place += 1
        return Node(operation, (node, self._sum()))

    def _sum(self) -> Node:
        terms = [self._product()]
        while self._next.text in ("+", "-"):
            negative = self._take("-") or not self._take("+")
            term = self._product()
            terms.append(Node("negative", (term,)) if negative else term)
        return terms[0] if len(terms) == 1 else Node("sum", tuple(terms))

    def _product(self) -> Node:
        factors = [self._signed(self._mixed)]
        while True:
            if self._take("\\cdot"):
                factors.append(self._signed(self._power))
            elif self._take("/"):
                factors.append(Node("quotient", (ONE, self._signed(self._power))))
            elif self._starts_factor():
                factors.append(self._power())
            else:
                return _product(factors)

    def _starts_factor(self) -> bool:
        """Return whether a product continues without a sign.

        A number continues it only if it has a power and follows a letter or bracket, or if it follows a factorial: n3^n
        and 3!4! are clear, but `2 3` may be anything.
        """
        token, last = self._next, self._ahead(-1)
        if token.kind == "number":
            return last.text == "!" or (
                (last.kind == "symbol" or last.text in (")", "}")) and self._ahead(1).text == "^"
            )
        if token.text == "|":
            return not self._in_bars
        return token.kind == "symbol" or token.text in STARTS

    def _signed(self, inner: Callable[[], Node]) -> Node:
        negative = False
        while self._next.text in ("+", "-"):
            negative ^= self._take("-") or not self._take("+")
        node = inner()
        return Node("negative", (node,)) if negative else node

    def _mixed(self) -> Node:
        r"""Parse a power, or a mixed number: `1\frac{1}{2}`, `1 1/2`."""
        if self._next.kind != "number" or not self._next.text.isdigit():
            return self._power()
        whole, start = self._next.text, self._place
        self._place += 1
        second, slash, third = self._next, self._ahead(1), self._ahead(2)
        if second.kind == "number" and second.spaced and slash.text == "/" and third.kind == "number":
            top, bottom = second.text, third.text
            if top.isdigit() and bottom.isdigit() and 0 < number(top) < number(bottom):
                self._place += 3
                return Node("number", value=number(whole) + number(top) / number(bottom))
        if second.text == "\\frac":
            fraction = self._power()  # kept if it is not part of a mixed number: parsed twice, nested ones cost 2^depth
            if fraction.operation == "quotient" and all(part.operation == "number" for part in fraction.arguments):
                top_value, bottom_value = (part.value for part in fraction.arguments)
                if 0 < top_value < bottom_value and top_value.denominator == bottom_value.denominator == 1:
                    return Node("number", value=number(whole) + top_value / bottom_value)
            return Node("product", (Node("number", value=number(whole)), fraction))
        self._place = start
        return self._power()

    def _power(self) -> Node:
        node = self._atom()
        for _ in range(MAX_DEPTH):
            if self._take("!"):
                node = Node("factorial", (node,))
            elif self._take("%") or self._take("\\%"):
                node = Node("quotient", (node, Node("number", value=Fraction(100))))
            elif self._next.text == "^":
                self._place += 1
                if self._take_degree():
                    node = Node("product", (node, DEGREE))
                    continue
                node = Node("power", (node, self._exponent()))
            else:
                return node
        raise TooLargeError("an expression nested too deep")

    def _take_degree(self) -> bool:
        braces = 2 if self._next.text == "{" and self._ahead(2).text == "}" else 0
        found = self._ahead(braces // 2).text == "\\circ"
        self._place += (1 + braces) * found
        return found

    def _exponent(self) -> Node:
        node = self._signed(self._atom)
        return Node("power", (node, self._deeper(self._exponent))) if self._take("^") else node

    def _atom(self) -> Node:
        return self._deeper(self._any_atom)

    def _any_atom(self) -> Node:
        spend(COST)
        token = self._next
        if token.kind == "number":
            self._place += 1
            return Node("number", value=number(token.text))
        if token.text in GROUPS:
            return self._group(GROUPS[token.text])
        if token.text in CONSTANTS and self._ahead(1).text != "_":
            self._place += 1
            return Node("constant", name=CONSTANTS[token.text])
        if token.kind == "symbol" or token.text in SYMBOLS:
            return self._symbol()
        rule = COMMANDS.get(token.text)
        if rule is None:
            self._fail()
        return rule(self)

    def _group(self, closing: str) -> Node:
        self._place += 1
        outside, self._in_bars = self._in_bars, closing == "|"
        node = self._stacked()
        self._expect(closing)
        self._in_bars = outside
        return node

    def _symbol(self) -> Node:
        name = SYMBOLS.get(self._next.text, self._next.text)
        self._place += 1
        return self._named(name)

    def _named(self, name: str) -> Node:
        """Parse a symbol with what belongs to its name, or a function of that name."""
        if self._take("_"):
            name += "_" + self._raw()
        while self._take("'"):
            name += "'"
        if self._next.text == "(" and not self._next.spaced:
            start = self._place
            argument = self._group(")")
            of_letter = argument.operation == "symbol" and name[0] in FUNCTION_LETTERS
            if of_letter or not names(argument):
                return Node("apply", (argument,), name=name)
            self._place = start  # h(a + b) is a product
        return Node("symbol", name=name)

    def _raw(self) -> str:
        """Return a group's tokens as text, for names."""
        taken: list[str] = []
        depth = 0
        while True:
            if self._next is END:
                self._fail()
            text = self._next.text
            depth += (text == "{") - (text == "}")
            self._place += 1
            if text not in ("{", "}"):
                taken.append(text)
            if depth <= 0:
                return "".join(taken)

    def _argument(self) -> Node:
        """Parse the argument of a command: a group, one command with its arguments, or one character."""
        token = self._next
        if token.kind == "number" and token.text.isdigit() and len(token.text) > 1:  # \frac12
            self._tokens[self._place] = Token("number", token.text[1:])
            return Node("number", value=number(token.text[0]))
        return self._atom()

    def _fraction(self) -> Node:
        self._place += 1
        top = self._argument()
        return Node("quotient", (top, self._argument()))

    def _root(self) -> Node:
        self._place += 1
        degree = Node("number", value=Fraction(2))
        if self._next.text == "[":
            degree = self._group("]")
        if self._next.kind == "number" and len(self._next.text) > 1:
            self._fail()  # \sqrt23 is the root of 2 or of 23
        return Node("root", (self._argument(), degree))

    def _binomial(self) -> Node:
        self._place += 1
        top = self._argument()
        return Node("binomial", (top, self._argument()))

    def _function(self) -> Node:
        name = FUNCTIONS[self._next.text]
        self._place += 1
        base: tuple[Node, ...] = ()
        if name == "log":
            base = (self._argument(),) if self._take("_") else (Node("number", value=Fraction(10)),)
        exponent = None
        if self._take("^"):
            exponent = self._exponent()
            if exponent == MINUS_ONE and f"arc{name}" in INVERSE:
                name, exponent = f"arc{name}", None
        node = Node(name, (self._operand(), *base))
        return node if exponent is None else Node("power", (node, exponent))

    def _operand(self) -> Node:
        """Parse the operand of a function without brackets: 2x in `\\sin 2x \\cos x`."""
        if self._next.text in ("(", "[", "{"):
            return self._group(GROUPS[self._next.text])
        factors = [self._signed(self._power)]
        while self._starts_factor() and self._next.text not in FUNCTIONS and self._next.text not in ("(", "["):
            factors.append(self._power())
        return _product(factors)

    def _of_list(self) -> Node:
        name = OF_LISTS[self._next.text]
        self._place += 1
        self._expect("(")
        arguments = [self._sum()]
        while self._take(","):
            arguments.append(self._sum())
        self._expect(")")
        return Node(name, tuple(arguments))

    def _rounded(self) -> Node:
        closing, name = ROUNDED[self._next.text]
        return Node(name, (self._group(closing),))

    def _absolute(self) -> Node:
        return Node("absolute", (self._group("|"),))

    def _drawn(self) -> Node:
        name = self._next.text
        self._place += 1
        return self._named(f"{name} {self._raw()}")


STARTS = frozenset(  # of a factor, beside letters
    ("(", "[", "{", "\\frac", "\\sqrt", "\\binom", *SYMBOLS, *CONSTANTS, *FUNCTIONS, *OF_LISTS, *ROUNDED, *DRAWN)
)


def _product(factors: Sequence[Node]) -> Node:
    return factors[0] if len(factors) == 1 else Node("product", tuple(factors))


END = Token("sign", "")
ONE = Node("number", value=Fraction(1))
DEGREE = Node("quotient", (Node("constant", name="pi"), Node("number", value=Fraction(180))))
MINUS_ONE = Node("negative", (ONE,))

COMMANDS = {
    "\\frac": _Parser._fraction,
    "\\sqrt": _Parser._root,
    "\\binom": _Parser._binomial,
    "|": _Parser._absolute,
    **dict.fromkeys(FUNCTIONS, _Parser._function),
    **dict.fromkeys(OF_LISTS, _Parser._of_list),
    **dict.fromkeys(ROUNDED, _Parser._rounded),
    **dict.fromkeys(DRAWN, _Parser._drawn),
}
