"""What a checkpoint in Hugging Face's format says of its text: the tokenizer, its prompts and its stop tokens."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_jax.config import ConfigError
from grpo_jax.data.tokenizer import encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def load_tokenizer(directory: Path, field: str) -> "PreTrainedTokenizerFast":
    """The fast tokenizer of a directory.

    Args:
      field: of the configuration, for messages.

    Raises:
      ConfigError: if there is none.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if not directory.is_dir():
        raise ConfigError(
            f"{field}={str(directory)!r}: no such directory; fetch a model of the Hugging Face Hub first, as in "
            "hf download REPOSITORY --local-dir DIRECTORY."
        )
    if not (directory / "tokenizer.json").is_file():
        raise ConfigError(f"{field}={str(directory)!r}: has no tokenizer.json; name a directory with a fast tokenizer.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:  # whatever a library raises at a broken file
        raise ConfigError(f"{field}={str(directory)!r}: its tokenizer cannot be read ({error}).") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ConfigError(f"{field}={str(directory)!r}: its tokenizer is not a fast one; convert it.")
    # Whoever saved it after a call that cut or filled up texts left that in tokenizer.json.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def stop_tokens(directory: Path, tokenizer: "PreTrainedTokenizerFast") -> tuple[int, ...]:
    """All tokens that end a completion: generation_config.json may name several, and the tokenizer has its own.

    A chat model often ends a turn with another token than the one its base model ends a text with (Qwen3: 151645 and
    151643, Gemma: 1 and 106).

    Raises:
      ConfigError: if there is none, or a file cannot be understood.
    """
    found = {tokenizer.eos_token_id}
    for name in ("generation_config.json", "config.json"):
        path = directory / name
        if path.is_file():
            found |= _ends(path, max(tokenizer.get_vocab().values()))
    if found == {None}:
        raise ConfigError(
            f"{directory}: neither its tokenizer nor generation_config.json names an end (eos_token_id), so no "
            "completion would ever stop; add one."
        )
    return tuple(sorted(found - {None}))


def _ends(path: Path, last: int) -> set[int | None]:
    """What a file has under eos_token_id, one token or several, up to the tokenizer's last one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); fetch it again.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is not a JSON object; fetch it again.")
    given = values.get("eos_token_id")
    ends = given if isinstance(given, list) else [given]
    if not all(end is None or (type(end) is int and 0 <= end <= last) for end in ends):
        raise ConfigError(f"{path}: eos_token_id={given!r}: must be ids of tokens, from 0 to {last}; correct it.")
    return set(ends)


@dataclass(frozen=True)
class PromptFormat:
    """How a problem is put to a model."""

    system: str  # the system's message; "" is none
    template: str  # of the user's message, with {question}
    chat: bool  # through the tokenizer's chat template
    date: datetime = field(default_factory=lambda: datetime.now(UTC))  # for templates that ask; a run has one

    def render(self, tokenizer: "PreTrainedTokenizerFast", question: str) -> str:
        """The text that a completion follows."""
        # Not str.format: questions and templates are full of braces.
        user = self.template.replace("{question}", question)
        if not self.chat:
            return user
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": user})
        _stop_clock(tokenizer.get_chat_template(), self.date)
        rendered: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return rendered

    def encode(self, tokenizer: "PreTrainedTokenizerFast", questions: Sequence[str]) -> list[list[int]]:
        """Token ids of the rendered questions. A chat template writes its own special tokens; none is added to them."""
        texts = [self.render(tokenizer, question) for question in questions]
        rows = encode(tokenizer, texts, special_tokens=not self.chat)
        return rows if self.chat else [_without_end(row, tokenizer) for row in rows]


def _stop_clock(template: str, date: datetime) -> None:
    """What a template asks the clock is answered with a date.

    transformers compiles each template once, with the clock as one of its globals, and takes no function of ours.
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template

    _compile_jinja_template(template).globals["strftime_now"] = date.strftime


def _without_end(row: list[int], tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """A plain prompt goes on: no EOS behind it, and no second BOS where the template already begins with one."""
    if row[-1:] == [tokenizer.eos_token_id]:
        row = row[:-1]
    doubled = tokenizer.bos_token_id is not None and row[:2] == [tokenizer.bos_token_id] * 2
    return row[1:] if doubled else row
