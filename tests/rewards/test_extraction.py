"""Where answers are found."""

import time

import pytest

from grpo_jax.rewards.extraction import extract, last_boxed


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
    ],
)
def test_the_last_balanced_box(text, answer):
    assert last_boxed(text) == answer


@pytest.mark.trap(38)
@pytest.mark.parametrize("text", ["{" * 10**5, r"\boxed{" * 10**4, "}" * 10**5, r"\boxed{" + "{" * 10**5, "\\" * 10**5])
def test_time_is_linear(text):
    start = time.process_time()
    extract(text + r"\boxed{1}", "")
    assert time.process_time() - start < 1


def test_a_pattern_of_ones_own():
    assert extract("#### 1\n#### 1,234", r"#### (.*)") == "1,234"
    assert extract("nothing", r"#### (.*)") is None
    assert extract(r"\boxed{3} #### 4", r"#### (\d)") == "4"
    assert extract("answer is 12, the answer is unclear", r"answer is (\d+)?") == "12"
