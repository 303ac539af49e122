"""Conversion of texts to arrays and back, and the order of prompts."""

import numpy as np
import pytest

from grpo_jax.config import ModularExpressionsConfig
from grpo_jax.data import PromptSource, Split, character_tokenizer, decode, encode, encode_prompts, pad
from grpo_jax.data.tasks import ModularExpressions

TASK = ModularExpressions(
    ModularExpressionsConfig("modular_expressions", 2, "+", 10, train_problems=40, right="answer", credit="exact")
)
PROBLEMS = TASK.problems(Split.TRAIN, 40)


def test_characters_are_tokens():
    tokenizer = TASK.tokenizer
    assert tokenizer.get_vocab_size() == len("0123456789()=+-*") + 1
    assert encode(tokenizer, ["1+2="]) == [[tokenizer.token_to_id(character) for character in "1+2="]]


def test_texts_are_neither_padded_nor_cut():
    """With the settings of other uses the tokens of a prompt would depend on its batch, and long ones be cut."""
    tokenizer = character_tokenizer("01")
    tokenizer.enable_padding(pad_id=1, pad_token="0")
    assert encode(tokenizer, ["01", "1"]) == [[1, 2], [2]]
    tokenizer.enable_truncation(1)
    assert encode(tokenizer, ["01", "1"]) == [[1, 2], [2]]


@pytest.mark.trap(1)
@pytest.mark.trap(8)
def test_decoding_goes_by_length_and_leaves_special_tokens_out():
    """Padding and end of sequence have the same id, so only lengths distinguish them."""
    tokenizer = TASK.tokenizer
    (end,) = TASK.stop_tokens
    assert end == pad([[]], 1)[0][0, 0]
    tokens, lengths = pad([[*ids, end] for ids in encode(tokenizer, ["7", "3+4=7"])], 9)
    assert lengths.tolist() == [2, 6]
    assert decode(tokenizer, tokens, lengths) == ["7", "3+4=7"]
    assert decode(tokenizer, tokens, np.array([1, 3])) == ["7", "3+4"]


@pytest.mark.trap(9)
def test_no_special_token_is_added():
    assert encode_prompts(TASK, PROBLEMS[:3]).lengths.tolist() == [8, 8, 8]


def test_pad_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="a row of 3 tokens does not fit into 2"):
        pad([[1, 2, 3]], 2)


def test_ids_are_of_the_text():
    batch = encode_prompts(TASK, PROBLEMS)
    assert batch.ids.dtype == np.uint32
    assert batch.ids.tolist() == [problem.id for problem in PROBLEMS]
    assert len(set(batch.ids.tolist())) == len(PROBLEMS)


@pytest.mark.trap(41)
def test_the_order_is_a_function_of_the_cursor():
    source = PromptSource(PROBLEMS, seed=3)
    batches = [source.take(cursor, 8) for cursor in range(0, 120, 8)]
    assert [PromptSource(PROBLEMS, 3).take(cursor, 8) for cursor in reversed(range(0, 120, 8))] == batches[::-1]
    epochs = [[p for batch in batches[first : first + 5] for p in batch] for first in (0, 5, 10)]
    for epoch in epochs:
        assert sorted(problem.prompt for problem in epoch) == sorted(problem.prompt for problem in PROBLEMS)
    assert epochs[0] != epochs[1] != epochs[2]


def test_seeds_next_to_each_other_have_orders_of_their_own():
    orders = [[PromptSource(PROBLEMS, seed).take(cursor, 40) for cursor in (0, 40, 80)] for seed in (3, 4, 5)]
    assert len({tuple(problem.prompt for problem in epoch) for epochs in orders for epoch in epochs}) == 9


def test_no_step_holds_a_problem_twice():
    source = PromptSource(PROBLEMS, seed=0)  # 40 of them
    cursor, begun = 0, []
    for number in (32, 8, 24, 32, 40, 1):
        cursor = source.start_of_step(cursor, number)
        begun.append(cursor)
        assert len(set(source.take(cursor, number))) == number
        cursor += number
    assert begun == [0, 32, 40, 80, 120, 160]
