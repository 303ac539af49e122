"""The work that all systems do: models, batches, lengths and rewards, as data for which no library is needed.

A policy is fresh: its matrices are normal with the standard deviation 1 / sqrt(inputs), and the embedding, which is the
head too, with 1 / sqrt(width). So all tokens are about equally likely, and if some of them stop a completion, lengths
are geometric.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PROMPT_TOKENS = 64  # of every prompt
NEW_TOKENS = 128  # the room of a completion
PAD = 0  # no prompt has this token: some systems recognise padding by its id
LEARNING_RATE = 1e-5
CLIP = 0.2  # of the ratio, on both sides
CLIP_NORM = 1.0  # of the gradient
ROPE_THETA = 10_000.0
NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class Model:
    """The shape of a decoder of Qwen2's kind, in float32: biases of q, k and v, tied embedding."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    mlp: int


@dataclass(frozen=True)
class Case:
    """Whole training steps of one kind."""

    name: str
    model: Model
    prompts: int  # of a step
    group: int  # completions of each
    update_rows: int  # completions whose activations a system may hold at once, if it can be told
    stops: int = 0  # so many tokens, the last of the vocabulary, end a completion; 0: none does
    void: bool = False  # whether every second group has the same reward for all its completions

    @property
    def stop_tokens(self) -> Sequence[int]:
        """The tokens that end a completion."""
        return stop_tokens(self.model.vocabulary, self.stops)

    @property
    def rollouts(self) -> int:
        """The completions of a step."""
        return self.prompts * self.group

    def prompt_ids(self) -> list[list[int]]:
        """Return the tokens of each prompt."""
        return prompt_ids(self.model.vocabulary, self.stops, self.prompts)

    def is_void(self, prompt: int) -> bool:
        """Return whether the group of a prompt, given by its place, has the same reward for all its completions."""
        return self.void and is_void(prompt)

    def to_json(self) -> dict[str, Any]:
        """Return the case as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Case":
        """Return the case that `to_json` wrote."""
        return cls(**{**values, "model": Model(**values["model"])})


def stop_tokens(vocabulary: int, stops: int) -> Sequence[int]:
    """Return the last `stops` tokens of a vocabulary."""
    return range(vocabulary - stops, vocabulary)


def prompt_ids(vocabulary: int, stops: int, prompts: int) -> list[list[int]]:
    """Return random tokens for each prompt. None of them stops a completion or stands for padding."""
    generator = random.Random(0)
    ids = range(PAD + 1, vocabulary - stops)
    return [generator.choices(ids, k=PROMPT_TOKENS) for _ in range(prompts)]


def is_void(prompt: int) -> bool:
    """Return whether the group of a prompt, given by its place, is void in a case with void groups: every second."""
    return prompt % 2 == 1


def as_text(ids: Sequence[int]) -> str:
    """Return tokens as a text of decimal numbers, which is what every tokenizer here reads and writes."""
    return " ".join(map(str, ids))


def as_ids(text: str) -> list[int]:
    """Return the tokens of a text."""
    return [int(word) for word in text.split()]


def reward(ids: Sequence[int], void: bool) -> float:
    """Return the reward of a completion: cheap, in [0, 1), and hardly ever equal for two of them unless void."""
    return 0.0 if void else sum(ids) % 997 / 997


TINY = Model(vocabulary=512, width=256, layers=4, heads=4, kv_heads=2, head=64, mlp=704)
SMALL = Model(vocabulary=32_000, width=576, layers=12, heads=9, kv_heads=3, head=64, mlp=1536)


def _cases(size: str, model: Model, rows: int, first_group: int, many: int) -> Mapping[str, Case]:
    """Return the cases of a size: `rows` completions of equal length, or `many` of geometric lengths."""
    stops = 4 * model.vocabulary // NEW_TOKENS  # the mean length is a quarter of the room
    kinds: Mapping[str, dict[str, Any]] = {
        "equal": {"prompts": rows // first_group, "group": first_group},
        "equal_pairs": {"prompts": rows // 2, "group": 2},
        "mixed": {"prompts": many // 2, "group": 2, "stops": stops},
        "void": {"prompts": many // 2, "group": 2, "void": True},
        "mixed_void": {"prompts": many // 2, "group": 2, "stops": stops, "void": True},
        "mixed_void_16": {"prompts": many // 16, "group": 16, "stops": stops, "void": True},
    }
    return {kind: Case(f"{size}/{kind}", model, update_rows=rows, **settings) for kind, settings in kinds.items()}


CASES: Mapping[str, Mapping[str, Case]] = {
    "tiny": _cases("tiny", TINY, rows=32, first_group=16, many=256),
    "small": _cases("small", SMALL, rows=16, first_group=8, many=64),
}
