"""The text side of a checkpoint in Hugging Face's format: its tokenizer and its stop tokens."""

import json
import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from grpo_jax.config import ConfigError, described, did_you_mean
from grpo_jax.data.tokenizer import encode

if TYPE_CHECKING:  # transformers takes a second to import, and mistakes in a config should be reported at once
    from transformers import PreTrainedTokenizerFast

# Otherwise transformers warns on import that PyTorch is missing, which nothing here needs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

logger = logging.getLogger(__name__)

UNUSED = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")  # roles that no text here needs

# Texts by which tokenizers are compared: white space, digits, composed and decomposed letters, scripts, newlines.
PROBES = (
    "Hello world",
    " a  b\tc ",
    "\n\nx = 3.14159 + 2,718;\n",
    "e\u0301 \u00e9 \ufb01 \u212b \u2460",
    "\u65e5\u672c\u8a9e \U0001f642",
    "don't \\frac{1}{2}",
)


def load_tokenizer(directory: Path, field: str) -> "PreTrainedTokenizerFast":
    """Return the tokenizer of a directory: the pipeline of its tokenizer.json, with which the model was trained.

    The names of special tokens and the chat template come from the files beside it, as transformers reads them. The
    class that tokenizer_config.json names is not used, because some classes replace the file's pipeline with their own.
    If transformers would give other ids for that reason, a warning is logged once.

    Args:
      field: its field in the configuration, for messages.

    Raises:
      ConfigError: if there is no tokenizer, or the files beside tokenizer.json name tokens that it does not have.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    where = f"{field}={str(directory)!r}"
    if not directory.is_dir():
        raise ConfigError(
            f"{where}: no such directory; fetch a model of the Hugging Face Hub first, as in "
            "hf download REPOSITORY --local-dir DIRECTORY."
        )
    if not (directory / "tokenizer.json").is_file():
        raise ConfigError(f"{where}: has no tokenizer.json; name a directory with a fast tokenizer.")
    try:
        own = Tokenizer.from_file(str(directory / "tokenizer.json"))
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(
            str(directory), local_files_only=True
        )
        if tokenizer.chat_template is None:
            tokenizer.chat_template = _processor_template(directory)
    except Exception as error:  # whatever a library raises at a broken file
        raise ConfigError(f"{where}: its tokenizer cannot be read ({described(error)}); fetch it again.") from error
    # A tokenizer that was saved after truncating or padding a text has these settings in its tokenizer.json.
    own.no_truncation()
    own.no_padding()
    absent = tokenizer.get_vocab().keys() - own.get_vocab().keys()
    for role, token in tokenizer.special_tokens_map.items():
        if role in UNUSED and token in absent:
            setattr(tokenizer, role, None)
            absent.discard(token)
    if absent:
        raise ConfigError(
            f"{where}: tokenizer_config.json or a file beside it names {', '.join(map(repr, sorted(absent)[:3]))}, "
            "but tokenizer.json has no such token; save the tokenizer again with transformers."
        )
    tokenizer._tokenizer = own  # no public function gives the file's own pipeline
    _tell_difference(directory)
    return tokenizer


@cache  # once
def _tell_difference(directory: Path) -> None:
    if difference := transformers_differs(directory):
        logger.warning("%s", difference)


def transformers_differs(directory: Path) -> str | None:
    """Return a sentence on how transformers' tokenizer for a directory differs from tokenizer.json, or None."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, __version__

    beginning = f"{directory}: transformers {__version__}"
    ending = "this project uses tokenizer.json, but a server that uses transformers may read other text"
    own = Tokenizer.from_file(str(directory / "tokenizer.json"))
    try:
        theirs = AutoTokenizer.from_pretrained(str(directory), local_files_only=True).backend_tokenizer
    except Exception as error:  # the class that the directory names may raise anything
        return f"{beginning} cannot read its tokenizer ({described(error)}); {ending}"
    for one in (own, theirs):
        one.no_truncation()
        one.no_padding()
    added = [token.content for _, token in sorted(own.get_added_tokens_decoder().items())]
    added = [token for token in added if token.strip()]
    for text in (*PROBES, *(f"a {token} b{token}" for token in added[:32] + added[32:][-32:])):
        for special in (True, False):
            ours = own.encode(text, add_special_tokens=special).ids
            other = theirs.encode(text, add_special_tokens=special).ids
            if ours != other:
                return f"{beginning} reads {text!r} as {other}, and tokenizer.json as {ours}; {ending}"
            if own.decode(ours) != theirs.decode(ours):
                return (
                    f"{beginning} writes {ours} as {theirs.decode(ours)!r}, and tokenizer.json as "
                    f"{own.decode(ours)!r}; {ending}"
                )
    return None


def _processor_template(directory: Path) -> str | None:
    """Return the chat template in chat_template.json, where models with a processor for images may have it."""
    file = directory / "chat_template.json"
    found = json.loads(file.read_text(encoding="utf-8"))["chat_template"] if file.is_file() else None
    if found is not None and not isinstance(found, str):
        raise ValueError(f"chat_template of {file.name} is not a text")
    return found


def stop_tokens(
    directory: Path, tokenizer: "PreTrainedTokenizerFast", more: Sequence[str | int] = (), *, of_model: bool = True
) -> tuple[int, ...]:
    """Return the tokens that end a completion, from generation_config.json, config.json and the tokenizer.

    A chat model often ends a turn with another token than its base model ends a text with (Qwen3: 151645 and 151643,
    Gemma: 106 and 1).

    Args:
      directory: of the model.
      tokenizer: of the model.
      more: `task.stop_tokens`, further tokens by their texts or ids.
      of_model: whether the tokens that the model's files name are among them.

    Raises:
      ConfigError: if there is none, a file cannot be read, or the tokenizer has no such token.
    """
    named = {_token(tokenizer, token) for token in more}
    if not of_model:
        return tuple(sorted(named))
    found = named | {tokenizer.eos_token_id}
    for name in ("generation_config.json", "config.json"):
        path = directory / name
        if path.is_file():
            found |= _ends(path, max(tokenizer.get_vocab().values()))
    if found == {None}:
        raise ConfigError(
            f"{directory}: neither its tokenizer nor generation_config.json names a stop token (eos_token_id), so no "
            "completion would ever stop; add one."
        )
    return tuple(sorted(found - {None}))


def _token(tokenizer: "PreTrainedTokenizerFast", token: str | int) -> int:
    """Return the id of a token that is named by its text or its id."""
    vocabulary = tokenizer.get_vocab()
    if isinstance(token, int):
        if token not in vocabulary.values():
            raise ConfigError(
                f"task.stop_tokens={token}: the tokenizer has no such id; name one up to {max(vocabulary.values())}."
            )
        return token
    if token in vocabulary:  # a name, such as <|im_end|>
        return vocabulary[token]
    ids = encode(tokenizer.backend_tokenizer, [token])[0]
    if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:  # a text, such as a new line, which has another name
        return ids[0]
    special = [added.content for added in tokenizer.added_tokens_decoder.values()]
    raise ConfigError(
        f"task.stop_tokens={token!r}: is not a single token of the tokenizer; {did_you_mean(token, special)}"
    )


def _ends(path: Path, last: int) -> set[int | None]:
    """Return the tokens under eos_token_id in a file, which must not exceed the tokenizer's last one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); fetch it again.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is not a JSON object; fetch it again.")
    given = values.get("eos_token_id")
    ends = given if isinstance(given, list) else [given]
    if not all(end is None or (type(end) is int and 0 <= end <= last) for end in ends):
        raise ConfigError(f"{path}: eos_token_id={given!r}: must be token ids from 0 to {last}; correct it.")
    return set(ends)
