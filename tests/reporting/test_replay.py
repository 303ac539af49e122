"""The terminal's view of a completion that was sampled again."""

import dataclasses
import io

import pytest

from grpo_jax.reporting import show_replay
from grpo_jax.terminal import PlainConsole
from grpo_jax.training.replay import Replay, Sample, Token

THEN = Sample(
    [Token(3, "a", -0.5), Token(4, "\x1b[2J", -1.0), Token(0, "[/red]<eos>", -0.25)], "a\x1b", "stop", 1.0, True
)


def replayed(now, **changes):
    given = Replay(
        step=7,
        policy_step=6,
        prompt="2+3=",
        gold="5",
        place=2,
        index=1,
        advantage=-1.0,
        chosen=True,
        then=THEN,
        now=now,
    )
    return dataclasses.replace(given, **changes)


def shown(replay):
    console = PlainConsole(width=120, file=io.StringIO())
    show_replay(replay, console)
    return console.file.getvalue()


def with_tokens(*tokens):
    return dataclasses.replace(THEN, tokens=tokens)


def test_equal_tokens():
    moved = with_tokens(*(token._replace(logprob=token.logprob - 2e-6) for token in THEN.tokens))
    text = shown(replayed(moved))
    assert "step 7, prompt 2, sample 1; policy after step 6" in text
    assert text.endswith("tokens are equal, all 3; largest |difference| of log-probabilities 2.0e-06\n")
    assert ["0", "3", "'a'", "-0.500000", "-0.500002", "-2.0e-06"] in [line.split() for line in text.splitlines()]
    assert "reward 1, right; stop after 3 tokens, log-probability -1.7500, advantage -1.0000\n" in text


def test_what_a_model_wrote_does_not_reach_the_terminal():
    text = shown(replayed(THEN))
    assert "\x1b" not in text
    assert r"'\x1b[2J'" in text
    assert "'[/red]<eos>'" in text


def test_tokens_that_differ():
    text = shown(replayed(with_tokens(Token(3, "a", -0.4), Token(9, "b", -3.0)), chosen=False))
    rows = [line.split() for line in text.splitlines()]
    assert ["1", "4", "->", "9", r"'\x1b[2J'", "->", "'b'", "-1.000000", "-3.000000", "-"] in rows
    assert ["2", "0", "->", "-", "'[/red]<eos>'", "->", "-", "-0.250000", "-", "-"] in rows
    assert "(left out)" in text
    last = (
        "tokens differ from place 1 on (3 then, 2 now); before it the largest |difference| of log-probabilities 1.0e-01"
    )
    assert text.splitlines()[-1] == last


@pytest.mark.parametrize("now", [(), (Token(9, "b", -3.0),)])
def test_nothing_alike(now):
    found = replayed(with_tokens(*now))
    assert (found.alike, found.equal, found.largest_difference) == (0, False, None)
    assert shown(found).splitlines()[-1] == f"tokens differ from place 0 on (3 then, {len(now)} now)"


def test_a_longer_one_is_not_equal():
    found = replayed(with_tokens(*THEN.tokens, Token(5, "c", -1.0)))
    assert (found.alike, found.equal, found.largest_difference) == (3, False, 0.0)


def test_what_could_not_be_judged():
    text = shown(replayed(dataclasses.replace(THEN, reward=None, right=None)))
    assert "now:    'a\\x1b': unscored; stop" in text
    text = shown(replayed(dataclasses.replace(THEN, reward=-0.5, right=None)))
    assert "reward -0.5, no verdict; stop" in text
