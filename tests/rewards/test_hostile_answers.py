"""A model's answer is hostile input: nothing is executed, everything is bounded, and nobody else pays for it."""

import os
import random
import time
import typing
from functools import partial

import pytest

from grpo_jax.rewards.mathematics.outcome import Outcome, outcome_by
from grpo_jax.rewards.mathematics.reward import AT_ONCE, Mathematics
from tests.rewards.helpers import LABELLED, boxed, labelled, make_config, takes_at_most

SECONDS = 0.5
OUTCOMES = set(typing.get_args(Outcome))

HOSTILE = [
    "9^{9^{9}}",
    "9^{9^{9^{9^{9}}}}",
    "10^{10^9}",
    r"9^{9^{9^{\pi}}}",
    r"e^{e^{e^{e^{e^{e}}}}}",
    r"x^{10^{10}}",
    "1e999999999",
    "9" * 100_000,
    "0." + "9" * 900,
    r"\binom{10^9}{5\cdot10^8}",
    r"\binom{10^9\pi}{5\cdot10^8}",
    "10^9!",
    "1000000000!",
    "9!!!!!!!!!!!!",
    r"(10^{3000}\pi)!",
    "{" * 100_000,
    "}" * 100_000,
    "(" * 500,
    "(" * 400 + "1" + ")" * 400,
    r"\{" * 300 + r"\}" * 300,
    r"\sqrt" * 150 + "2",
    r"\frac" * 150 + "2",
    r"\sin" * 150 + "x",
    "-" * 900,
    "x" * 900,
    "1,2,3," * 150,
    "a=" * 400,
    "1:" * 400,
    "5\x00",
    "\ud800",
    "\udfff5",
    r"\frac{1}{",
    r"\left(",
    r"\begin{pmatrix}",
    r"\begin{pmatrix}" + "1&" * 300 + r"\end{pmatrix}",
    r"\sum_{k=1}^{10^{12}} k^{k^k}",
    r"\prod_{k=1}^{10} 9^{9^{9^{9}}}",
    r"\int_0^1 \sin(\sin(\sin(x^{x^x})))dx",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^{10^{10}}",
    r"\sum " * 100,
    r"\sqrt[3]{7^{7000}}",
    "+".join([r"\sqrt[3]{7^{7000}}"] * 50),
    "+".join([r"\sqrt[3]{7^{1401}}"] * 50),
    "+".join([rf"\frac{{3^{{5000}}}}{{7^{{{power}}}}}" for power in range(7000, 7040)]),
    "+".join(["1999!"] * 150),
    r"1\frac{" * 18 + "1" + "}{2}" * 18,
    "a=(" * 15 + "+".join("x" * 400) + ")" * 15,
    r"\{1," * 18 + "1" + r"\}" * 18,
    r"(n!)!+e^{e^{e^{n}}}",
]


@pytest.fixture(scope="module")
def mathematics():
    made = Mathematics(make_config(seconds=SECONDS), any_form=True)
    made.compare([(r"\sqrt{2}", r"\sqrt{3}+1"), (r"\sqrt{2}", r"\sqrt{3}+2")])  # the workers have started
    yield made
    made.close()


@pytest.mark.trap(39)
@pytest.mark.parametrize("gold", ["5", r"\sqrt{7}", r"\{1, x\}"])
def test_every_answer_is_answered_in_time(mathematics, gold):
    for answer in HOSTILE:
        start = time.monotonic()
        (outcome,) = mathematics.compare([(gold, answer)])
        assert outcome == "wrong", answer[:80]  # not unscored: a policy could learn to write such things
        assert time.monotonic() - start < SECONDS + 6, answer[:80]  # the limit, the kernel's, and a busy machine


@pytest.mark.trap(39)
@pytest.mark.parametrize("gold", ["5", r"\{2," * 18 + "1" + r"\}" * 18, r"\sqrt[3]{7^{1400}}"])
def test_no_answer_holds_up_the_process_that_asks(gold):
    for answer in HOSTILE:  # a few milliseconds, on a slow machine too
        assert takes_at_most(0.1, partial(outcome_by, gold[:1000], answer[:1000], AT_ONCE)), answer[:80]


@pytest.mark.trap(39)
@pytest.mark.parametrize(
    "answer",
    [
        "+".join(["1999!"] * 150),
        "+".join([r"\sqrt[3]{7^{1401}}"] * 50),
        "+".join([rf"\frac{{3^{{5000}}}}{{7^{{{power}}}}}" for power in range(7000, 7038)]),
    ],
)
def test_work_on_one_answer_is_bounded_by_a_count(answer):
    """Whatever the machine: each part of these is small, and a clock would let fast machines through."""
    assert len(answer) < 1000
    assert outcome_by("5", answer, AT_ONCE) == "too_large"


@pytest.mark.trap(39)
def test_a_long_answer_is_not_looked_at(mathematics):
    assert mathematics.compare([("5", "9" * 100_000)]) == ["wrong"]
    short = Mathematics(make_config(max_characters=20))
    zeros = "5." + "0" * 20  # would be right, if it were looked at
    assert short.compare([("5", zeros), (zeros, "5"), ("5", zeros[:10])]) == ["wrong", "too_long", "right"]


def test_a_hostile_gold_answer_is_answered_too(mathematics):
    for gold in HOSTILE:
        assert mathematics.compare([(gold, "5")])[0] in OUTCOMES - {"right", "error"}, gold[:80]


@pytest.mark.trap(16)
def test_the_rest_of_the_batch_keeps_its_verdicts(mathematics):
    good = [pair for pair in LABELLED if pair["kind"] in ("surd", "tuple", "equation")]
    pairs = [pair for one in zip(good, HOSTILE * 10, strict=False) for pair in one]
    verdicts = mathematics.judge([boxed("5", pair) if isinstance(pair, str) else labelled(pair) for pair in pairs])
    for pair, verdict in zip(pairs, verdicts, strict=True):
        if isinstance(pair, dict):
            assert (verdict.scored, verdict.right) == (True, pair["label"] == "right"), pair


@pytest.mark.trap(39)
@pytest.mark.parametrize(
    "shape",
    [
        "{}",
        r"\text{{{}}}",
        r"\sum_{{k=1}}^{{2}} {}",
        r"\int {} dx",
        r"\mathbb{{R}} {}",
        r"\operatorname{{{}}}",
        "x = {}",
        r"\lim_{{x \to 0}} {}",
    ],
)
def test_nothing_is_executed(mathematics, shape, tmp_path):
    victim = tmp_path / "executed"
    code = [f"__import__('os').system('touch {victim}')", f"open('{victim}', 'w')", f"exec(\"open('{victim}','w')\")"]
    outcomes = mathematics.compare(
        [pair for line in code for pair in (("5", shape.format(line)), (shape.format(line), "5"))]
    )
    assert "right" not in outcomes
    assert not victim.exists()
    assert not os.listdir(tmp_path)


COMMANDS = [
    r"\frac", r"\sqrt", r"\{", r"\}", r"\text{", r"\\", r"\pi", r"\cdot", r"\le", r"\pm", r"\infty", r"\left(", "^{",
    "!!", r"\cup", r"\sin", "é", "∞",
]  # fmt: skip
ALPHABET = [*"0123456789.,;:+-*/^_=<>(){}[]|!%&$ \\xyzABie'\x00\ud83d", *COMMANDS]


def mutated(text, rng):
    characters = list(text)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(characters) + 1)
        match rng.randrange(3):
            case 0:
                characters.insert(place, rng.choice(ALPHABET))
            case 1:
                del characters[place : place + 1]
            case _:
                characters[place:place] = characters[: rng.randint(0, 8)]
    return "".join(characters)


def test_random_answers_are_answered(mathematics, caplog):
    rng = random.Random(0)
    pairs = [(pair["gold"], mutated(pair["answer"], rng)) for pair in LABELLED[::4]]
    outcomes = mathematics.compare(pairs)
    assert set(outcomes) <= OUTCOMES
    strange = [pair for pair, outcome in zip(pairs, outcomes, strict=True) if outcome not in ("right", "wrong")]
    assert not strange
    assert not [record for record in caplog.records if record.exc_info]
