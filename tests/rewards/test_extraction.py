"""Where answers are found."""

from functools import partial

import pytest

from grpo_jax.rewards import extraction
from grpo_jax.rewards.extraction import extract, last_boxed
from grpo_jax.rewards.verdict import Unscorable
from tests.rewards.helpers import BACKTRACKING, ENDLESS, takes_at_most


@pytest.mark.trap(38)
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so $\boxed{7}$.", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\frac{\sqrt{3}}{2^{n}}} is it", r"\frac{\sqrt{3}}{2^{n}}"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{x}", r"\left\{x"),
        (r"\boxed {8}", "8"),
        (r"\fbox{9}", "9"),
        (r"\boxed 7", "7"),
        (r"$\boxed 7$", "7"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed{x = \boxed{5}}", r"x = \boxed{5}"),
        (r"\boxed{}", ""),
        (r"}}}\boxed{{{1}}}", "{{1}}"),
        ("7", None),
        (r"\boxed", None),
        (r"\boxed{", None),
        (r"\boxedtext{7}", None),
        ("", None),
        # What only speaks of a box does not undo the one before.
        (r"\boxed{7}. I have put it in \boxed as asked.", "7"),
        (r"\boxed{7}. The \boxed command holds it, in \boxed{}.", "7"),
        (r"\boxed{7}, as \boxed{ } or $\boxed{\ldots}$ or \boxed{...} or \boxed", "7"),
        (r"\boxed{3} and \boxed{", "3"),
        (r"\fbox{9}, a \boxed answer", "9"),
        ("\\boxed{7} is in the \\boxed\n\n2. Next", "7"),
        (r"Answer: \boxed 7, which is what \boxed means", "7,"),
        # A bare box that holds something is one.
        (r"\boxed{3}? No: $\boxed 4$.", "4"),
        (r"\boxed{3}? No: $\boxed4$.", "4"),
        (r"$\boxed \frac{1}{2}$", r"\frac{1}{2}"),
        (r"\boxed\text{two words}.", r"\text{two words}."),
        (r"it is \boxed A", "A"),
        (r"\boxed 7} and", "7"),
        # The last one counts, wherever it stands.
        (r"the answer is not \boxed{3} but \boxed{4}", "4"),
        (r"<think>\boxed{3}? no, \boxed{4}</think> The answer is $\boxed{5}$.", "5"),
        (r"<think>so \boxed{4}</think> The answer is 4.", "4"),
        (r"<think>so \boxed{4}</think> The answer is in the \boxed form.", "4"),
        (r"\boxed{so \boxed{5}", "5"),
        (r"\fbox{$\boxed{x}$ and \fbox{y}} \fbox{ }", r"$\boxed{x}$ and \fbox{y}"),
    ],
)
def test_the_last_balanced_box(text, answer):
    assert last_boxed(text) == answer


@pytest.mark.trap(38)
@pytest.mark.parametrize(
    "text",
    [
        "{" * 10**5,
        r"\boxed{" * 10**4,
        "}" * 10**5,
        r"\boxed{" + "{" * 10**5,
        "\\" * 10**5,
        r"\boxed a" * 10**4,
        r"\boxed {" * 10**4,
        r"\boxed7{}" * 10**4,
    ],
)
def test_time_is_linear(text):
    assert takes_at_most(1, partial(extract, text + r"\boxed{1}", ""))


def test_a_pattern_of_ones_own():
    assert extract("#### 1\n#### 1,234", r"#### (.*)") == "1,234"
    assert extract("nothing", r"#### (.*)") is None
    assert extract(r"\boxed{3} #### 4", r"#### (\d)") == "4"
    assert extract("answer is 12, the answer is unclear", r"answer is (\d+)?") == "12"


def test_a_pattern_means_what_it_means_to_re():
    """To the package regex a letter in braces means errors: d{e} is anything."""
    assert extract(r"\mathrm{e} 3 \mathrm{d} 4", r"\\mathrm{e} (\d)") == "3"
    assert extract("a b", r"d{e}(.)") is None
    assert extract("aa{5}", r"a{2}{(\d{1,2})}") == "5"
    assert extract("{1} \N{EM DASH}2", r"\N{EM DASH}([{e}\d])") == "2"


def test_a_search_that_takes_too_long_is_ended(monkeypatch, caplog):
    monkeypatch.setattr(extraction, "SEARCH_SECONDS", 0.1)
    for _ in range(2):
        with pytest.raises(Unscorable, match="slow_pattern"):
            extract(ENDLESS, BACKTRACKING)
    assert extract("12", BACKTRACKING) == "2"
    assert len(caplog.records) == 1
    assert f"task.reward.answer_pattern={BACKTRACKING!r}: a search took more than 0.1 s" in caplog.text
