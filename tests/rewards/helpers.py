"""Rewards as the tests want them, and the labelled pairs."""

import gc
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from grpo_jax.config import RewardConfig
from grpo_jax.rewards import Attempt

CONFIG = RewardConfig(
    terms={"mathematics": 1.0},
    answer_pattern="",
    max_characters=1000,
    workers=2,
    seconds=2.0,
    memory_mb=512,
    overlong_tokens=0,
)

BACKTRACKING = r"^(?:(\d|\d\d))+$"  # takes forever to find that it does not match ENDLESS
ENDLESS = "1" * 50 + "!"

LABELLED = [json.loads(line) for line in (Path(__file__).parent / "labelled.jsonl").read_text().splitlines()]


def make_config(**changes):
    return replace(CONFIG, **changes)


def attempt(gold, completion, **changes):
    return replace(Attempt(prompt="2+3=", gold=gold, completion=completion, stopped=True, tokens=10), **changes)


def boxed(gold, answer, prompt="2+3="):
    return attempt(gold, rf"So the answer is $\boxed{{{answer}}}$.", prompt=prompt)


def labelled(pair):
    return boxed(pair["gold"], pair["answer"], pair.get("question", ""))


def takes_at_most(seconds: float, call: Callable[[], object]) -> bool:
    """Return whether one of three calls takes at most so many seconds of this thread's processor time.

    Other threads and processes do not count, and neither does looking for garbage, of which other tests leave much.
    What is too slow is too slow three times.
    """
    gc.disable()
    try:
        return any(_thread_seconds(call) <= seconds for _ in range(3))
    finally:
        gc.enable()


def _thread_seconds(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start
