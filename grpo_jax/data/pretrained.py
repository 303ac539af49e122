"""The text side of a checkpoint in Hugging Face's format: its tokenizer, prompts and stop tokens."""

import json
import logging
import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_jax.config import ConfigError, did_you_mean, one_line
from grpo_jax.data.tokenizer import encode

if TYPE_CHECKING:  # transformers takes a second to import, and mistakes in a config should be reported at once
    from transformers import PreTrainedTokenizerFast

# Otherwise transformers warns on import that PyTorch is missing, which nothing here needs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

logger = logging.getLogger(__name__)

UNUSED = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")  # roles that no text here needs

# Names that every chat template is given, or calls. No variable of the configuration may have one of them.
GIVEN = frozenset(("messages", "tools", "documents", "add_generation_prompt"))

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
        raise ConfigError(f"{where}: its tokenizer cannot be read ({_one_line(error)}); fetch it again.") from error
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
        return f"{beginning} cannot read its tokenizer ({_one_line(error)}); {ending}"
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


def _one_line(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def stop_tokens(
    directory: Path, tokenizer: "PreTrainedTokenizerFast", more: Sequence[str | int] = (), *, of_model: bool = True
) -> tuple[int, ...]:
    """Return the tokens that end a completion, from generation_config.json, config.json and the tokenizer.

    Args:
      directory: of the model.
      tokenizer: of the model.
      more: `task.stop_tokens`, further tokens by their texts or ids.
      of_model: whether the tokens that the model's files name are among them.

    A chat model often ends a turn with another token than its base model ends a text with (Qwen3: 151645 and 151643,
    Gemma: 1 and 106).

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


# Pairs that differ at their ends and at their beginnings.
LONG_QUESTIONS = tuple((form.format("1"), form.format("2")) for form in ("a " * 9999 + "{}", "{}" + " a" * 9999))

# Questions of one character, because the first one decides which tokens before it are its own: a tokenizer may join it
# with what precedes it.
SHORT_QUESTIONS = (*string.printable, "\u00e9", "\u00a0", "\u4e2d", "\u2212", "\U0001f642")

REPLY = "A reply."  # of a model, to see what a chat template writes after it


@dataclass(frozen=True)
class Conversation:
    """A question as a chat template writes it."""

    prompt: str
    without_generation_prompt: str  # the same, but ending before the model's turn begins
    after_reply: str  # what follows a reply of the model; "" if the template does not write replies


@dataclass(frozen=True)
class PromptFormat:
    """The form in which a problem is presented to a model."""

    system: str  # the system message; "" is none
    template: str  # of the user's message, with {question}
    chat: bool  # whether to use the tokenizer's chat template
    date: datetime = field(default_factory=lambda: datetime.now(UTC))  # of the run, for templates that use a date
    variables: Mapping[str, Any] = field(default_factory=dict)  # of the chat template

    def render(self, tokenizer: "PreTrainedTokenizerFast", question: str) -> str:
        """Return the text that precedes a completion."""
        # Not str.format: questions and templates are full of braces.
        user = self.template.replace("{question}", question)
        if not self.chat:
            return user
        return self._through_template(tokenizer, self.system, user)

    def check(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        """Raise ConfigError if the chat template cannot be used, or omits what it is given.

        That is the question, the system message, or a variable. Texts must be Unicode, also without a template.
        """
        for name, text in (("system", self.system), ("template", self.template)):
            try:
                text.encode()
            except UnicodeEncodeError as error:  # bytes of the command line that are not UTF-8
                raise ConfigError(
                    f"task.{name}={text!r}: is not Unicode from character {error.start} on; write it in UTF-8."
                ) from error
        if not self.chat:
            return
        self._check_variables(tokenizer)
        if self.render(tokenizer, "1 + 1 = ?") == self.render(tokenizer, "2 + 3 = ?"):
            raise ConfigError("task.chat=True: the chat template omits the question; set task.chat to false.")
        if any(self.render(tokenizer, one) == self.render(tokenizer, other) for one, other in LONG_QUESTIONS):
            raise ConfigError(
                "task.chat=True: the chat template omits a part of long questions; correct it, or set task.chat to "
                "false."
            )
        user = self.template.replace("{question}", "1 + 1 = ?")
        if (
            self.system
            and len({self._through_template(tokenizer, s, user) for s in (self.system, self.system[::-1] + "~")}) == 1
        ):
            raise ConfigError(
                f"task.system={self.system!r}: the chat template omits it; move it into task.template, and set "
                "task.system to ''."
            )

    def conversation(self, tokenizer: "PreTrainedTokenizerFast") -> Conversation | None:
        """Return a question as the chat template writes it; None if there is no template.

        Raises:
          ConfigError: if the template rejects it.
        """
        if not self.chat:
            return None
        user = self.template.replace("{question}", "1 + 1 = ?")
        try:
            replied = self._through_template(tokenizer, self.system, user, reply=REPLY, begins_turn=False)
        except ConfigError:  # a template for questions alone
            replied = ""
        _, reply, after = replied.rpartition(REPLY)
        return Conversation(
            prompt=self._through_template(tokenizer, self.system, user),
            without_generation_prompt=self._through_template(tokenizer, self.system, user, begins_turn=False),
            after_reply=after if reply else "",
        )

    def _check_variables(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        if not self.variables:
            return
        read = _variables_of(self._template(tokenizer)) - tokenizer.special_tokens_map.keys()
        for name, value in self.variables.items():
            if name not in read:
                known = did_you_mean(name, sorted(read)) if read else "it reads none; remove it."
                raise ConfigError(
                    f"task.chat_variables.{name}={value!r}: the chat template reads no such variable; {known}"
                )

    def _template(self, tokenizer: "PreTrainedTokenizerFast") -> str:
        template = tokenizer.chat_template
        if not template:
            raise ConfigError("task.chat=True: the tokenizer has no chat template; set it to false.")
        if isinstance(template, dict):
            if "default" not in template:
                raise ConfigError(
                    f"task.chat=True: the tokenizer has several chat templates ({', '.join(sorted(template))}), and "
                    "none is the default; save the right one as chat_template.jinja in its directory."
                )
            template = template["default"]
        return str(template)

    def _through_template(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        system: str,
        user: str,
        *,
        reply: str = "",
        begins_turn: bool = True,
    ) -> str:
        template = self._template(tokenizer)
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": user})
        messages += [{"role": "assistant", "content": reply}] if reply else []
        try:
            _stop_clock(template, self.date)
            rendered: Any = tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=begins_turn, **self.variables
            )
        except Exception as error:  # a template is a program that comes with the checkpoint, and may raise anything
            given = "a system message and a user message" if system else "a user message"
            remedy = "set task.system to '', or task.chat to false" if system else "set task.chat to false"
            line = f", line {error.lineno}" if hasattr(error, "lineno") else ""
            raise ConfigError(
                f"task.chat=True: the chat template rejects {given} ({_one_line(error)}{line}); {remedy}."
            ) from error
        return str(rendered)

    def encode(self, tokenizer: "PreTrainedTokenizerFast", questions: Sequence[str]) -> list[list[int]]:
        """Return the token ids of the rendered questions. Only plain prompts get the tokenizer's special tokens."""
        texts = [self.render(tokenizer, question) for question in questions]
        rows = encode(tokenizer.backend_tokenizer, texts, special_tokens=not self.chat)
        return rows if self.chat else [_without_end(row, tokenizer) for row in rows]

    def prefix(self, tokenizer: "PreTrainedTokenizerFast") -> tuple[int, ...]:
        """Return the tokens with which every rendered question begins, and after which it continues."""
        rows = self.encode(tokenizer, SHORT_QUESTIONS)
        return tuple(os.path.commonprefix(rows)[: min(map(len, rows)) - 1])


def _variables_of(template: str) -> frozenset[str]:
    """Return the names of the variables that a chat template reads, without those that it always gets.

    A template that cannot be compiled has none; rendering it reports what is wrong.
    """
    from jinja2 import TemplateError, meta
    from transformers.utils.chat_template_utils import _compile_jinja_template

    try:
        environment = _compile_jinja_template(template).environment
        read = meta.find_undeclared_variables(environment.parse(template))
    except TemplateError:
        return frozenset()
    return frozenset(read) - GIVEN - environment.globals.keys()


def _stop_clock(template: str, date: datetime) -> None:
    """Make a template see this date instead of the clock.

    transformers compiles each template once, with a function of the clock among its globals, and offers no way to
    replace it.
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template

    _compile_jinja_template(template).globals["strftime_now"] = date.strftime


def _without_end(row: list[int], tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """Return a plain prompt without the EOS at its end, and without a second BOS if its text begins with one."""
    if row[-1:] == [tokenizer.eos_token_id]:
        row = row[:-1]
    doubled = tokenizer.bos_token_id is not None and row[:2] == [tokenizer.bos_token_id] * 2
    return row[1:] if doubled else row
