"""The form in which questions are presented to a model: the chat template of its tokenizer, or plain text."""

import itertools
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from grpo_jax.config import ConfigError, described, did_you_mean
from grpo_jax.data.tokenizer import encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Names that every chat template is given, or calls. No variable of the configuration may have one of them.
GIVEN = frozenset(("messages", "tools", "documents", "add_generation_prompt"))

# Pairs that differ at their ends and at their beginnings.
LONG_QUESTIONS = tuple((form.format("1"), form.format("2")) for form in ("a " * 9999 + "{}", "{}" + " a" * 9999))

# Questions with many first characters, because a tokenizer may join the beginning of a question with what precedes it.
# One is shorter than the others, because a template may write something that depends on the question.
BEGINNINGS = (*string.printable, "\u00e9", "\u00a0", "\u4e2d", "\u2212", "\U0001f642")
QUESTIONS = ("Why?", *(f"{beginning}1 + 1 = ?" for beginning in BEGINNINGS))

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
        user = self._user_message(question)
        return self._through_template(tokenizer, self.system, user) if self.chat else user

    def check(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        """Raise ConfigError if the chat template cannot be used, or omits what it is given.

        It is given the question, the system message and variables. Texts must be Unicode, also without a template.
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
        user, another = self._user_message("1 + 1 = ?"), self.system[::-1] + "~"
        if self.system and self._through_template(tokenizer, another, user) == self.render(tokenizer, "1 + 1 = ?"):
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
        user = self._user_message("1 + 1 = ?")
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

    def _user_message(self, question: str) -> str:
        return self.template.replace("{question}", question)  # not str.format: both are full of braces

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
        """Return a conversation as the chat template writes it. Raise ConfigError if the template rejects it."""
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
                f"task.chat=True: the chat template rejects {given} ({described(error)}{line}); {remedy}."
            ) from error
        return str(rendered)

    def encode(self, tokenizer: "PreTrainedTokenizerFast", questions: Sequence[str]) -> list[list[int]]:
        """Return the token ids of the rendered questions. Only plain prompts get the tokenizer's special tokens."""
        texts = [self.render(tokenizer, question) for question in questions]
        rows = encode(tokenizer.backend_tokenizer, texts, special_tokens=not self.chat)
        return rows if self.chat else [_without_end(row, tokenizer) for row in rows]

    def prefix(self, tokenizer: "PreTrainedTokenizerFast") -> tuple[int, ...]:
        """Return the tokens with which every rendered question begins, and after which it continues.

        The last token that `QUESTIONS` share is left out, because other beginnings, such as many spaces, may join it.
        """
        rows = self.encode(tokenizer, QUESTIONS)
        alike = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
        return tuple(token for token, *_ in alike)[:-1]


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
