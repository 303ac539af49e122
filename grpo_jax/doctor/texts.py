"""Checks of the prompts as tokens: tokenizer, chat template, beginning and stop tokens."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpo_jax.config import Config, QuestionsConfig, agreeing, counted
from grpo_jax.data import Conversation, encode
from grpo_jax.doctor.findings import Check, Finding, error, examples, note, warning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MARKER = re.compile(r"<\|[^<>|\s]{1,40}\|>|<(?:start|end)_of_turn>")  # what chat templates write as one token
TOO_FEW_TOKENS = 0.8  # of the model's embeddings; families pad them to multiples of at most 1,024, which is far less


@dataclass(frozen=True)
class Texts:
    """The tokenizer of a task, and the prompts as its tokens."""

    config: Config
    tokenizer: "PreTrainedTokenizerFast"
    stop_tokens: Sequence[int]
    embeddings: int  # of the model
    rows: Sequence[Sequence[int]]  # the token ids of prompts
    conversation: Conversation | None  # None: the task uses no chat template

    @property
    def source(self) -> str:
        """Where the tokenizer comes from, as a field with its value."""
        task = self.config.task
        if isinstance(task, QuestionsConfig):
            own = f"task.tokenizer={task.tokenizer!r}"
            return own if task.tokenizer else f"model.checkpoint={self.config.model.checkpoint!r}"
        return f"task.name={task.name!r}"


def _beginning(t: Texts) -> Iterator[Finding]:
    """Warn of prompts without a BOS, or with two, if the tokenizer by itself puts one before a text."""
    bos = t.tokenizer.bos_token_id
    if encode(t.tokenizer.backend_tokenizer, ["a"], special_tokens=True)[0][:1] != [bos]:
        return
    without = sum(row[0] != bos for row in t.rows if row)
    if without:
        yield warning(
            f"{t.source}: {without} of {counted(len(t.rows), 'prompt')} {agreeing(without, 'does', 'do')} not begin "
            f"with {t.tokenizer.bos_token!r}, with which the tokenizer begins a text; add bos_token to the chat "
            "template."
        )
    if doubled := sum(list(row[:2]) == [bos, bos] for row in t.rows):
        yield warning(
            f"{t.source}: {doubled} of {counted(len(t.rows), 'prompt')} {agreeing(doubled, 'begins', 'begin')} with "
            f"{t.tokenizer.bos_token!r} twice; remove it from the chat template, or from task.template."
        )


def _end_of_turn(t: Texts) -> Iterator[Finding]:
    """Warn if the token by which the chat template ends the model's turn does not stop a completion."""
    if t.conversation is None or not isinstance(t.config.task, QuestionsConfig):
        return
    ending = encode(t.tokenizer.backend_tokenizer, [t.conversation.after_reply])[0]
    end = next((token for token in ending if token in t.tokenizer.added_tokens_decoder), None)
    if end is not None and end not in t.stop_tokens:
        yield warning(
            f"task.stop_tokens={t.config.task.stop_tokens}: the chat template ends a turn with "
            f"{t.tokenizer.added_tokens_decoder[end].content!r}, at which no completion would stop; add it."
        )


def _turn_of_the_model(t: Texts) -> Iterator[Finding]:
    if t.conversation is not None and t.conversation.prompt == t.conversation.without_generation_prompt:
        yield note(
            "task.chat=True: the chat template writes nothing where the model's turn begins (add_generation_prompt), "
            "so the model has to begin it; that is right for few models."
        )


def _markers(t: Texts) -> Iterator[Finding]:
    """Find markers that the tokenizer has no tokens for: the template is that of another model."""
    if t.conversation is None:
        return
    written = dict.fromkeys(MARKER.findall(t.conversation.prompt))
    pieces = {marker: len(encode(t.tokenizer.backend_tokenizer, [marker])[0]) for marker in written}
    broken = [marker for marker, number in pieces.items() if number > 1]
    if broken:
        yield error(
            f"{t.source}: its chat template writes {examples(broken)}, which its tokenizer reads as "
            f"{counted(pieces[broken[0]], 'token')}; the template belongs to another model, so replace "
            "chat_template.jinja."
        )


def _unknown(t: Texts) -> Iterator[Finding]:
    unknown = t.tokenizer.unk_token_id
    if unknown in (t.tokenizer.bos_token_id, t.tokenizer.eos_token_id):  # one token for all roles, as in GPT-2's
        return
    having = [list(row) for row in t.rows if unknown is not None and unknown in row]
    if having:
        text = t.tokenizer.backend_tokenizer.decode(having[0], skip_special_tokens=False)
        yield warning(
            f"{t.source}: {len(having)} of {counted(len(t.rows), 'prompt')} "
            f"{agreeing(len(having), 'contains', 'contain')} {t.tokenizer.unk_token!r}, such as {examples([text], 1)}; "
            "its tokenizer cannot write that, so name another task.tokenizer, or remove such prompts."
        )


def _beyond_embeddings(t: Texts) -> Iterator[Finding]:
    beyond = [max(row) for row in t.rows if row and max(row) >= t.embeddings]
    if beyond:
        yield error(
            f"{t.source}: {len(beyond)} of {counted(len(t.rows), 'prompt')} {agreeing(len(beyond), 'has', 'have')} "
            f"tokens up to {max(beyond)}, and the model has embeddings for {t.embeddings}; name the tokenizer that "
            "belongs to the model as task.tokenizer."
        )


def _vocabulary(t: Texts) -> Iterator[Finding]:
    tokens = len(t.tokenizer)
    if tokens < TOO_FEW_TOKENS * t.embeddings:
        yield warning(
            f"{t.source}: its tokenizer has {counted(tokens, 'token', ',')} and the model {t.embeddings:,} "
            "embeddings, so they hardly belong together; name the model's own as task.tokenizer."
        )


def _facts(t: Texts) -> Iterator[Finding]:
    ends = ", ".join(repr(t.tokenizer.convert_ids_to_tokens(token)) for token in t.stop_tokens)
    yield note(
        f"Prompts have {min(map(len, t.rows))} to {counted(max(map(len, t.rows)), 'token')}; completions end with "
        f"{ends}."
    )


def _room_of_prompts(t: Texts) -> Iterator[Finding]:
    longest, room = max(map(len, t.rows), default=0), getattr(t.config.task, "max_prompt_tokens", 0)
    if longest and room >= max(64, 4 * longest):
        yield note(
            f"task.max_prompt_tokens={room}: the longest prompt has {counted(longest, 'token')}, and every cache has "
            f"room for {room}; lower it to save memory."
        )


def _chat_unused(t: Texts) -> Iterator[Finding]:
    if isinstance(t.config.task, QuestionsConfig) and t.conversation is None and t.tokenizer.chat_template:
        yield note(
            "task.chat=False: the tokenizer has a chat template; if the model was tuned on conversations, set it to "
            "true."
        )


CHECKS: Sequence[Check[Texts]] = (
    Check("lengths of prompts, and stop tokens", _facts),
    Check("first tokens of the prompts", _beginning),
    Check("whether the end of a turn stops a completion", _end_of_turn),
    Check("whether the chat template begins the model's turn", _turn_of_the_model),
    Check("whether markers of the chat template are tokens", _markers),
    Check("unknown tokens", _unknown),
    Check("tokens without embeddings", _beyond_embeddings),
    Check("size of the vocabulary", _vocabulary),
    Check("room for prompts", _room_of_prompts),
    Check("an unused chat template", _chat_unused),
)
