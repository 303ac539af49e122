"""Demonstrations as the warm start learns from them."""

from types import SimpleNamespace

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data import Problem, character_tokenizer, encode
from grpo_jax.training.supervised import encode_demonstrations

TOKENIZER = character_tokenizer("0123456789+=")
TASK = SimpleNamespace(
    tokenizer=TOKENIZER,
    stop_tokens=(0,),
    max_prompt_tokens=4,
    prompt_tokens=lambda problems: encode(TOKENIZER, [problem.prompt for problem in problems]),
)
PROBLEMS = [Problem("1+1=", "2"), Problem("1+2=", "3")]


def test_a_demonstration_ends_once():
    """A character that the tokenizer does not know would become a stop token, after which no policy goes on."""
    batch = encode_demonstrations(TASK, PROBLEMS, ["2", "1+2=3"], width=8)
    assert batch["completion_lengths"].tolist() == [2, 6]
    assert (batch["completion_tokens"] == 0).argmax(1).tolist() == [1, 5]
    with pytest.raises(ConfigError, match=r"^warm_start: the demonstration '1 \+ 2' has a stop token before its end"):
        encode_demonstrations(TASK, PROBLEMS, ["2", "1 + 2"], width=8)
