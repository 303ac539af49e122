"""A letter that names an axis means the same in the whole package: grpo_jax/types.py has the table."""

import ast
import io
import re
import tokenize

import pytest

from grpo_jax import types
from tests.helpers import ROOT

TABLE = set(re.findall(r"^    (\w)  \w", types.__doc__, re.MULTILINE))

AXIS = r"\*?\w+(?: ?[+/] ?\w+)?"  # N, *batch, P+C, S/2
SHAPE = re.compile(rf"\[({AXIS}(?:, ?{AXIS})*)\]")


def of_annotations(source):
    """The shapes of a module's jaxtyping annotations, such as "N G"."""
    tree = ast.parse(source)
    dtypes = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in dtypes:
            yield ast.literal_eval(node.slice.elts[1])


def of_prose(text):
    """The shapes in a text, such as [N, G]; a list of words or numbers alone is none."""
    for (shape,) in (match.groups() for match in SHAPE.finditer(text)):
        if re.search(r"\b[A-Z]\b", shape):
            yield shape


def prose(source):
    """Docstrings and comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def letters(shapes):
    """The axes of shapes that are named by a single letter."""
    return {word for shape in shapes for word in re.findall(r"\w+", shape) if len(word) == 1 and not word.isdigit()}


def letters_of(source):
    return letters(of_annotations(source)) | {letter for text in prose(source) for letter in letters(of_prose(text))}


def test_the_table_has_every_letter_and_no_letter_that_nobody_uses():
    used = {path: letters_of(path.read_text(encoding="utf-8")) for path in (ROOT / "grpo_jax").rglob("*.py")}
    assert {str(path): found - TABLE for path, found in used.items() if found - TABLE} == {}
    assert set().union(*used.values()) == TABLE


def test_the_page_on_the_design_follows_the_table():
    meanings = {letter: " ".join(rest.split()) for letter, rest in re.findall(r"^    (\w)  (.*)", types.__doc__, re.M)}
    page = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    assert letters(of_prose(page)) <= TABLE
    (section,) = re.findall(r"\n## Data flow\n\n(.*?)\n## ", page, re.DOTALL)
    introduced = dict(re.findall(r"\b([A-Z]) ([a-z-]+)", section.partition("\n")[0]))
    assert set(introduced) == letters(of_prose(section)) | {"P"}  # prompt tokens are in no shape of a group
    for letter, word in introduced.items():
        assert word in meanings[letter], letter


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('from jaxtyping import Float\nx: Float[A, "*Q T heads 1"]', {"Q", "T"}),
        ('from jaxtyping import Key\ndef f(x: Key[A, " z"]) -> Key[A, ""]: ...', {"z"}),
        ('x: Literal["a", "B C"]', set()),
        ('def f():\n    """Return [N, 1] and [X, P+W, 2]."""', {"N", "X", "P", "W"}),
        ("x = y[Q, R]  # [*J, heads], but neither an interval [0, 1] nor [low, high]", {"J"}),
        ('"""`x[:, t]`, `logprobs[..., t]`, E[v|right], [1 - J], [--jobs=N | --all], list[T] and ["a", "B"]"""', {"T"}),
    ],
)
def test_shapes_are_found_wherever_they_are_written(source, found):
    assert letters_of(source) == found
