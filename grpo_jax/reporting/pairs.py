"""The pair viewer: two completions of a group side by side, with their common beginning in grey."""

import html
from collections.abc import Iterable, Sequence

from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.groups import Rollout, TrainingGroup
from grpo_jax.runs.written import alike

PAIRS_SHOWN = 4  # of the first groups with signal, and of the last
JUDGED = {True: "right", False: "wrong", None: "undecided"}  # also the names of classes in the page's style


def pairs_of(run: RunDirectory, shown: int = PAIRS_SHOWN) -> str:
    """Return HTML of this many groups with signal from a run's beginning, and of as many from its end."""
    return "".join(_pair(group) for group in _to_show(run.rollouts(), shown))


def _to_show(groups: Iterable[TrainingGroup], shown: int) -> Sequence[TrainingGroup]:
    """Return the first and the last groups with signal."""
    valid = [group for group in groups if group.signal]
    return valid[:shown] + valid[shown:][-shown:]


def _pair(group: TrainingGroup) -> str:
    """Return HTML of the completions with the highest and the lowest advantage of a group."""
    ordered = sorted(group.completions, key=lambda one: -one.advantage)
    both = [ordered[0], ordered[-1]]
    shared = alike(*(one.text for one in both))
    prompt = f"step {group.step}: {html.escape(group.prompt)} (answer {html.escape(group.gold)})"
    return f'<div class="pair"><p class="prompt">{prompt}</p>{"".join(_cell(one, shared) for one in both)}</div>'


def _cell(one: Rollout, shared: int) -> str:
    judged = JUDGED[one.verdict.right]
    worth = "unscored" if one.reward is None else f"reward {one.reward:g}"
    return (
        f'<p class="{judged}"><code><span class="same">{html.escape(one.text[:shared])}</span>'
        f"{html.escape(one.text[shared:])}</code><br>{judged}, {worth}, "
        f"{one.stop_reason} after {one.length} tokens, log-probability "
        f"{one.logprob:.2f}, advantage {one.advantage:+.2f}</p>"
    )
