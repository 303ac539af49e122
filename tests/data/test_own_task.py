"""Tasks that a configuration names by import path: what is wrong with them is told before anything is computed."""

import re
import sys
from collections import Counter
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from grpo_jax.config import ConfigError, OwnTaskConfig
from grpo_jax.data import Problem, check_rows
from grpo_jax.data.tasks.own import own_task
from grpo_jax.data.tokenizer import character_tokenizer, encode
from grpo_jax.evaluation import try_reward
from grpo_jax.rewards import PerAttempt, Verdict

REWARD = PerAttempt("own", lambda attempt: Verdict(1.0, None))


def task(**changes):
    members = {"tokenizer": character_tokenizer("0123456789+="), "stop_tokens": (1,), "max_prompt_tokens": 8}
    members |= {"reward": REWARD, "problems": None, "prompt_tokens": None}
    return SimpleNamespace(**members | changes)


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"tokenizer": None}, "its tokenizer is None; return a tokenizers.Tokenizer"),
        ({"stop_tokens": ()}, "its stop_tokens are empty, so no token would end a completion; name one, or -1 if"),
        ({"stop_tokens": (1, -1)}, "-1 in its stop_tokens is no id of its tokenizer; name ids from 0 to "),
        ({"stop_tokens": (1, 99)}, "99 in its stop_tokens is no id of its tokenizer; name ids from 0 to "),
        ({"stop_tokens": ("=",)}, "'=' in its stop_tokens is no id"),
        ({"prompt_prefix": (1, 99)}, "99 in its prompt_prefix is no id of its tokenizer; name ids from 0 to "),
        ({"prompt_prefix": None}, "its prompt_prefix is None; make it a tuple of token ids"),
        ({"stop_tokens": None}, "one of its members cannot be used (TypeError"),
        ({"max_solution_tokens": None}, "its max_solution_tokens is None; make it the length of the longest solution"),
        ({"max_prompt_tokens": 0}, "its max_prompt_tokens is 0; make it"),
        ({"reward": max}, "its reward has no judge, unscored, warm, close; return"),
    ],
)
def test_a_member_that_cannot_be_used(changes, clause, monkeypatch):
    monkeypatch.setitem(sys.modules, "own_of_test", SimpleNamespace(make=lambda: task(**changes)))
    with pytest.raises(ConfigError) as caught:
        own_task(OwnTaskConfig("own", "own_of_test:make"))
    assert str(caught.value).startswith(f"task.factory='own_of_test:make': {clause}")
    monkeypatch.setitem(sys.modules, "own_of_test", SimpleNamespace(make=task))
    own_task(OwnTaskConfig("own", "own_of_test:make"))


@pytest.mark.parametrize(
    ("judge", "sentence"),
    [
        (lambda attempts: [Verdict(1.0, None)], "returns 1 verdict for 2 completions; return one for each"),
        (lambda attempts: [1.0, 0.0], "returns 1.0, of the type float; return a grpo_jax.rewards.Verdict"),
        (lambda attempts: [Verdict("1", None)] * 2, "make its reward a number"),
        (lambda attempts: [Verdict(1j, None)] * 2, "make its reward a number"),
        (lambda attempts: [Verdict(1.0, 5)] * 2, "its answer a text or None"),
        (lambda attempts: [Verdict(1.0, None, right="no")] * 2, "and right True, False or None"),
        (lambda attempts: sys.exit(3), r"cannot judge the gold answer .* \(SystemExit: 3, in"),
        (
            lambda attempts: {}["gold"],
            r"cannot judge the gold answer '2' of '1\+1=' \(KeyError: 'gold', in \S*.py:\d+\)",
        ),
    ],
)
def test_a_reward_that_cannot_judge(judge, sentence):
    own = task(reward=SimpleNamespace(judge=judge, unscored=Counter()))
    with pytest.raises(ConfigError, match=f"^the reward of the task: .*{sentence}"):
        try_reward(own, Problem("1+1=", "2"), 2)
    for right in (True, 0, np.bool_(True), jnp.bool_(False)):
        reward = PerAttempt("own", lambda attempt, right=right: Verdict(1.0, None, right=right))
        try_reward(task(reward=reward), Problem("1+1=", "2"), 2)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([[1]], "its prompt_tokens returns 1 row for 2 problems; return one for each"),
        ([[1], []], "the prompt 'b' has no tokens, so nothing can follow it; remove it"),
        ([[1, 2, 3, 4], [1]], "the prompt 'a' has 4 tokens, but its task promises at most 3"),
        ([[1], [1, 7]], "the prompt 'b' has the token 7, but the policy has only 7 embeddings; remove it"),
        ([[1], [1.5]], "the prompt 'b' has 1.5 among its tokens; make its task's prompt_tokens return whole numbers"),
        ([[1], [-1, 6]], "the prompt 'b' has the token -1, but"),
    ],
)
def test_prompts_that_a_policy_cannot_read(rows, sentence):
    problems = [Problem("a", "1"), Problem("b", "1")]
    with pytest.raises(ConfigError, match=sentence):
        check_rows(task(max_prompt_tokens=3), problems, rows, embeddings=7)
    check_rows(task(max_prompt_tokens=3), problems, [[1, 2, 3], [6]], embeddings=7)


@pytest.mark.parametrize(("prompt", "character"), [("1 +1=", "' '"), ("1+x=", "'x'")])
def test_prompts_with_characters_that_would_end_a_completion(prompt, character):
    tokenizer = character_tokenizer("01+=\n")
    own, problems = task(tokenizer=tokenizer, stop_tokens=(0,)), [Problem("1\n\n0", "1"), Problem(prompt, "2")]
    rows = encode(tokenizer, [problem.prompt for problem in problems])
    with pytest.raises(ConfigError, match=rf"^the prompt '{re.escape(prompt)}' has {character}, .* a stop token"):
        check_rows(own, problems, rows, embeddings=9)
    check_rows(own, problems[:1], rows[:1], embeddings=9)
    check_rows(own, problems[:1], [[0, *rows[0]]], embeddings=9)  # as a beginning it is no mistake


def test_a_stop_token_in_a_prompt_is_no_unknown_character():
    """A tokenizer of bytes writes a blank as another character, and knows it."""
    tokenizer = Tokenizer(BPE({one: id for id, one in enumerate(["<eos>", *"Ġa<eos>"])}, [], unk_token="<eos>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<eos>"])
    problem = Problem("a a<eos>a", "1")
    rows = encode(tokenizer, [problem.prompt])
    assert rows == [[2, 1, 2, 0, 2]]
    check_rows(task(tokenizer=tokenizer, stop_tokens=(0,)), [problem], rows, embeddings=8)


@pytest.mark.trap(45)
@pytest.mark.parametrize("row", [[5, 3, 1], [5], [5, 2]])
def test_prompts_that_do_not_begin_with_the_prefix_of_their_task(row):
    prefixed, problems = task(prompt_prefix=[5, 2]), [Problem("a", "1"), Problem("b", "1")]
    with pytest.raises(ConfigError, match=r"'b' does not begin with the 2 tokens that .*; correct its prompt_prefix"):
        check_rows(prefixed, problems, [[5, 2, 7], row], embeddings=9)
    check_rows(prefixed, problems, [[5, 2, 7], [5, 2, 5]], embeddings=9)
