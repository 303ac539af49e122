"""Tokenizers, and conversion between texts and arrays. Arrays of tokens are padded on the right and have lengths."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from grpo_jax.config import counted

EOS = "<eos>"  # the end-of-sequence token of `character_tokenizer`


def character_tokenizer(alphabet: str) -> Tokenizer:
    """Return a tokenizer of single characters and an end-of-sequence token, whose id is that of the padding, 0.

    Many real models pad with the end-of-sequence token, too, so code that recognises padding by its id fails here. The
    same token stands for other characters; `check_rows` and `encode_demonstrations` refuse texts that have any.
    """
    vocabulary = {EOS: 0} | {character: index for index, character in enumerate(sorted(set(alphabet)), start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=EOS))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")  # line ends, too
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([EOS])
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], *, special_tokens: bool = False) -> list[list[int]]:
    """Return the token ids of each text: of all of it, and of nothing else.

    A tokenizer that was used or saved with truncation or padding still has these settings; they are taken from it.

    Args:
      special_tokens: whether the tokenizer adds its own special tokens, such as a BOS.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=special_tokens)
    return [encoding.ids for encoding in encodings]


def decode(tokenizer: Tokenizer, tokens: Int[np.ndarray, "B C"], lengths: Int[np.ndarray, " B"]) -> list[str]:
    """Return the text of the first `lengths` tokens of each row, without special tokens."""
    rows = [row[:length].tolist() for row, length in zip(tokens, lengths, strict=True)]
    return tokenizer.decode_batch(rows, skip_special_tokens=True)


def pad(rows: Sequence[Sequence[int]], width: int) -> tuple[Int[np.ndarray, "B width"], Int[np.ndarray, " B"]]:
    """Return rows of ids as one array, padded with 0 on the right, and their lengths.

    Raises:
      ValueError: if a row is longer than `width`.
    """
    tokens = np.zeros((len(rows), width), np.int32)
    for index, row in enumerate(rows):
        if len(row) > width:
            raise ValueError(f"a row of {counted(len(row), 'token')} does not fit into {width}")
        tokens[index, : len(row)] = row
    return tokens, np.array([len(row) for row in rows], np.int32)
