"""An answer of vLLM is used only if it is a whole completion with a log-probability for each token."""

import math

import pytest

from grpo_jax.json_requests import NoAnswer
from grpo_jax.sampling.vllm_client import Answer, read_answer

STOPS = (7, 9)


def answer(tokens, reason, logprobs=None, labels=("a",)):
    logprobs = [-0.5] * len(tokens) if logprobs is None else logprobs
    entries = [{"token_id": token, "logprob": logprob} for token, logprob in zip(tokens, logprobs, strict=False)]
    choice = {"token_ids": tokens, "logprobs": {"content": entries}, "finish_reason": reason}
    return {"choices": [choice | {"weight_versions": [{"version": label} for label in labels]}]}


def test_a_completion_is_read_with_its_stop_token():
    assert read_answer(answer([3, 4, 9], "stop"), 5, STOPS) == Answer([3, 4, 9], [-0.5] * 3, True, "a")
    assert read_answer(answer([3, 4], "length"), 2, STOPS) == Answer([3, 4], [-0.5] * 2, False, "a")


def test_a_completion_by_several_weights_has_no_label():
    assert read_answer(answer([3, 9], "stop", labels=("a", "b")), 2, STOPS).label == ""


def test_a_stop_token_at_the_last_place_ends_a_completion_whatever_the_server_says():
    assert read_answer(answer([3, 9], "length"), 2, STOPS).stopped


@pytest.mark.parametrize(
    ("values", "clause"),
    [
        (None, "lacks a part of a completion"),
        ({"choices": []}, "lacks a part of a completion"),
        ({"choices": [{"token_ids": [3], "finish_reason": "stop", "logprobs": None}]}, "lacks a part of a completion"),
        ({"choices": [answer([3], "stop")["choices"][0] | {"weight_versions": None}]}, "lacks a part of a completion"),
        (answer([3, 4, 9], "stop", [-0.5]), "1 log-probabilities for 3 tokens"),
        (answer([3, 9], "stop", [-0.5, math.nan]), "lacks the log-probability"),
        (answer([3, 9], "stop", [-0.5, -9999.0]), "lacks the log-probability"),
        (answer([3, 9], "stop", [0.5, -0.5]), "lacks the log-probability"),
        (answer([], "length"), "0 tokens, and 1 to 3"),
        (answer([3, 4, 5, 6], "length"), "4 tokens, and 1 to 3"),
        (answer([7, 4, 9], "stop"), "goes on after a stop token"),
        (answer([3, 4], "stop"), "stops at the token 4, which is not a stop token"),
        (answer([3, 4], "length"), "cut off after 2 tokens of 3; raise the server's --max-model-len"),
    ],
)
def test_anything_else_is_refused(values, clause):
    with pytest.raises(ValueError, match=clause):
        read_answer(values, 3, STOPS)


def test_log_probabilities_of_other_tokens_are_refused():
    values = answer([3, 9], "stop")
    values["choices"][0]["logprobs"]["content"][0]["token_id"] = 4
    with pytest.raises(ValueError, match="those of other tokens"):
        read_answer(values, 3, STOPS)


def test_a_completion_that_was_given_up_may_be_asked_for_again():
    with pytest.raises(NoAnswer, match="abort"):
        read_answer(answer([3], "abort"), 3, STOPS)
