"""The terminal's view of a completion that was sampled again."""

import dataclasses
import io

import pytest

from grpo_jax.reporting.replay import show_replay
from grpo_jax.rewards import UNSCORED, Verdict
from grpo_jax.runs.groups import TrainingCompletion, TrainingGroup
from grpo_jax.terminal import PlainConsole
from grpo_jax.training.replay import Replay, Sample, SampledToken

TOKENS = [SampledToken(3, "a", -0.5), SampledToken(4, "\x1b[2J", -1.0), SampledToken(0, "[/red]<eos>", -0.25)]
RIGHT = Verdict(1.0, None, right=True)
COMPLETION = TrainingCompletion("a\x1b", 3, True, RIGHT, -1.0, -1.75, [3, 4, 0], [-0.5, -1.0, -0.25])
THEN = Sample(COMPLETION, TOKENS)


def replayed(now, **changes):
    group = TrainingGroup(9, "2+3=", "5", [COMPLETION, COMPLETION], step=7, chosen=True, expected=0.5, policy_step=6)
    return Replay(dataclasses.replace(group, **changes), policy_step=6, place=2, index=1, then=THEN, now=now)


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
    assert text.endswith("the same 3 tokens; largest |difference| of log-probabilities 2.0e-06\n")
    assert ["0", "3", "'a'", "-0.500000", "-0.500002", "-2.0e-06"] in [line.split() for line in text.splitlines()]
    assert "reward 1, right; stop after 3 tokens, log-probability -1.7500, advantage -1.0000\n" in text


def test_what_a_model_wrote_does_not_reach_the_terminal():
    text = shown(replayed(THEN))
    assert "\x1b" not in text
    assert r"'\x1b[2J'" in text
    assert "'[/red]<eos>'" in text


def test_tokens_that_differ():
    text = shown(replayed(with_tokens(SampledToken(3, "a", -0.4), SampledToken(9, "b", -3.0)), chosen=False))
    rows = [line.split() for line in text.splitlines()]
    assert ["1", "4", "->", "9", r"'\x1b[2J'", "->", "'b'", "-1.000000", "-3.000000", "-"] in rows
    assert ["2", "0", "->", "-", "'[/red]<eos>'", "->", "-", "-0.250000", "-", "-"] in rows
    assert "(left out)" in text
    last = (
        "tokens differ from place 1 on (3 tokens then, 2 now); before that, largest |difference| of log-probabilities "
        "1.0e-01"
    )
    assert text.splitlines()[-1] == last


@pytest.mark.parametrize("now", [(), (SampledToken(9, "b", -3.0),)])
def test_nothing_alike(now):
    found = replayed(with_tokens(*now))
    assert (found.alike, found.equal, found.largest_difference) == (0, False, None)
    assert shown(found).splitlines()[-1] == f"tokens differ from place 0 on (3 tokens then, {len(now)} now)"


def test_a_longer_one_is_not_equal():
    found = replayed(with_tokens(*THEN.tokens, SampledToken(5, "c", -1.0)))
    assert (found.alike, found.equal, found.largest_difference) == (3, False, 0.0)


def with_verdict(verdict):
    return dataclasses.replace(THEN, completion=dataclasses.replace(COMPLETION, verdict=verdict))


def test_what_could_not_be_judged():
    text = shown(replayed(with_verdict(UNSCORED)))
    assert "now:    'a\\x1b': unscored; stop" in text
    text = shown(replayed(with_verdict(Verdict(-0.5, None))))
    assert "reward -0.5, no verdict; stop" in text


def test_a_group_without_signal_is_said_to_have_none():
    assert "no signal" not in shown(replayed(THEN))
    even = dataclasses.replace(COMPLETION, advantage=0.0)
    assert "advantage +0.0000 (no signal in the group)\n" in shown(replayed(THEN, completions=[even, even]))
