"""The pair viewer: two completions of a group side by side, with their common beginning in grey."""

import html
from collections.abc import Iterable
from itertools import islice, takewhile

from grpo_jax.config import counted
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.groups import TrainingCompletion, TrainingGroup
from grpo_jax.runs.written import alike

PAIRS_SHOWN = 4  # of the first groups with signal, and of the last
JUDGED = {True: "right", False: "wrong", None: "undecided"}  # also the names of classes in the page's style


def pairs_of(run: RunDirectory, shown: int = PAIRS_SHOWN) -> str:
    """Return HTML of this many groups with signal from a run's beginning, and of as many from its end."""
    first = _with_signal(run.rollouts(), shown)
    last = _with_signal(takewhile(lambda group: group != first[-1], run.newest_rollouts()), shown) if first else []
    return "".join(map(_pair, [*first, *reversed(last)]))


def _with_signal(groups: Iterable[TrainingGroup], number: int) -> list[TrainingGroup]:
    return list(islice((group for group in groups if group.signal), number))


def _pair(group: TrainingGroup) -> str:
    """Return HTML of the completions with the highest and the lowest advantage of a group."""
    both = group.extremes
    shared = alike(*(one.text for one in both))
    prompt = f"step {group.step}: {html.escape(group.prompt)} (answer {html.escape(group.gold)})"
    return f'<div class="pair"><p class="prompt">{prompt}</p>{"".join(_cell(one, shared) for one in both)}</div>'


def _cell(one: TrainingCompletion, shared: int) -> str:
    judged = JUDGED[one.verdict.right]
    worth = "unscored" if one.reward is None else f"reward {one.reward:g}"
    return (
        f'<p class="{judged}"><code><span class="same">{html.escape(one.text[:shared])}</span>'
        f"{html.escape(one.text[shared:])}</code><br>{judged}, {worth}, "
        f"{one.stop_reason} after {counted(one.length, 'token')}, log-probability "
        f"{one.logprob:.2f}, advantage {one.advantage:+.2f}</p>"
    )
