"""Parts of sentences, and the agreement of nouns with their numbers everywhere."""

import ast
import re
from collections.abc import Iterator

from grpo_jax.config import agreeing, counted
from tests.helpers import ROOT

# A count, and a noun in the plural, with up to three words between them, as in "{} of the gold answers".
NOUNS = (
    "answers|arms|checks|completions|cores|devices|files|groups|hosts|lines|problems|processes|prompts|records|rollouts|"
    "runs|samples|seeds|starts|steps|suites|tokens|updates"
)
NO_NOUNS = "and |for |has |in |is |it |on "  # words that begin another part of the sentence
COUNTED = re.compile(rf"(?<! x )(?:\{{\}}|%d) (?:(?!{NO_NOUNS})[\w'-]+ ){{0,3}}?(?:{NOUNS})\b")
NO_COUNTS = {"the {} problems"}  # texts stand there


def templates(source: str) -> Iterator[tuple[int, str]]:
    """Yield the texts of a source with their lines. {} stands for what may be a whole number."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(part, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def part(of: ast.expr) -> str:
    """Return a part of an f-string. Fractions, quoted texts, constants and what `counted` returns become "#"."""
    if isinstance(of, ast.Constant):
        return str(of.value)
    assert isinstance(of, ast.FormattedValue)
    value, form = ast.unparse(of.value), ast.unparse(of.format_spec) if of.format_spec else ""
    agrees = value.startswith(("counted(", "agreeing("))
    return "#" if agrees or value.isupper() or of.conversion > 0 or "." in form else "{}"


def test_a_number_agrees_with_its_noun():
    assert [counted(number, "answer") for number in (0, 1, 2)] == ["0 answers", "1 answer", "2 answers"]
    assert counted(1234, "process", ",") == "1,234 processes"
    assert [agreeing(number, "is", "are") for number in (0, 1, 2)] == ["are", "is", "are"]


def test_the_search_for_nouns_that_are_always_in_the_plural():
    for wrong in ("f'{n} problems'", "f'{len(found):,} of the gold answers'", "'%d of %d problems repeat'"):
        assert any(COUNTED.search(text) for _, text in templates(wrong))
    for right in ("f'{counted(n, \"problem\")}'", "f'{mean:.1f} tokens'", "f'{SEEDS} seeds'", "f'{word!r} runs'"):
        assert not any(COUNTED.search(text) for _, text in templates(right))


def test_nouns_agree_with_their_numbers():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for folder in ("grpo_jax", "launch")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in templates(path.read_text(encoding="utf-8"))
        if COUNTED.search(text) and text not in NO_COUNTS
    ]
    assert found == [], "use grpo_jax.config.counted"
