r"""Vectors by their components: 3\mathbf{i} - 2\mathbf{j} is (3, -2)."""

from fractions import Fraction

from grpo_jax.rewards.mathematics.answer import Items
from grpo_jax.rewards.mathematics.exact import rational
from grpo_jax.rewards.mathematics.expression import Node, nodes, replaced
from grpo_jax.rewards.mathematics.formula import Formula

DRAWN = frozenset(("\\hat", "\\vec", "\\widehat", "\\overrightarrow"))
AXES = tuple(
    frozenset(f"{drawn} {letter}".strip() for drawn in ("", *DRAWN) for letter in letters)
    for letters in (("i", "\\imath"), ("j", "\\jmath"), ("k",))
)
ANY = frozenset[str]().union(*AXES)
ZERO, ONE = Node("number"), Node("number", value=Fraction(1))


def components(formula: Formula, size: int) -> Items | None:
    """Return the components of a vector written with i, j and k; None if the formula may be something else."""
    node = formula.node
    if node is None or formula.unit is not None or size not in (2, 3) or not _is_linear(node):
        return None
    used = [axis for axis, names in enumerate(AXES) if _has(node, names)]
    if max(used) == 0 or max(used) >= size:  # i alone may be the imaginary unit; k needs three components
        return None
    found = []
    for axis in range(size):
        alone = replaced(node, {name: ONE if name in AXES[axis] else ZERO for name in ANY})
        found.append(Formula((*formula.tokens, f"[{axis}]"), alone, rational(alone)))
    return Items("(", ")", tuple(found))


def _is_linear(node: Node) -> bool:
    """Return whether every term is a multiple of one axis."""
    match node:
        case Node("sum", arguments):
            return all(map(_is_linear, arguments))
        case Node("negative", (of,)):
            return _is_linear(of)
        case Node("product", factors):
            vectors = [factor for factor in factors if _has(factor, ANY)]
            return len(vectors) == 1 and _is_linear(vectors[0])
        case Node("quotient", (top, bottom)):
            return _is_linear(top) and not _has(bottom, ANY)
    return node.name in ANY and not node.arguments


def _has(node: Node, names: frozenset[str]) -> bool:
    return any(inner.name in names for inner in nodes(node))
