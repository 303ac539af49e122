"""The pair viewer: completions side by side, and where they part."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.written import alike

PAIRS_SHOWN = 4  # of the first steps with signal, and of the last
JUDGED = {True: "right", False: "wrong", None: "undecided"}  # a class of the page's style, too


def pairs_of(run: RunDirectory, shown: int = PAIRS_SHOWN) -> str:
    """HTML of so many groups with signal from a run's beginning, and from its end."""
    return "".join(_pair(group) for group in _to_show(run.rollouts(), shown))


def _to_show(groups: Iterator[Mapping[str, Any]], shown: int) -> Sequence[Mapping[str, Any]]:
    """A completion with the highest and one with the lowest advantage, of the first and the last groups with signal."""
    valid = [group for group in groups if any(group["advantages"])]
    return valid[:shown] + valid[shown:][-shown:]


def _pair(group: Mapping[str, Any]) -> str:
    order = sorted(range(len(group["advantages"])), key=lambda index: -group["advantages"][index])
    both = [order[0], order[-1]]
    shared = alike(*(group["completions"][index] for index in both))
    cells = []
    for index in both:
        text = group["completions"][index]
        judged = JUDGED[group["right"][index]]
        cells.append(
            f'<p class="{judged}"><code><span class="same">{html.escape(text[:shared])}</span>'
            f"{html.escape(text[shared:])}</code><br>{judged}, {_worth(group['rewards'][index])}, "
            f"{group['stop_reasons'][index]} after {group['lengths'][index]} tokens, log-probability "
            f"{group['logprobs'][index]:.2f}, advantage {group['advantages'][index]:+.2f}</p>"
        )
    prompt = f"step {group['step']}: {html.escape(group['prompt'])} (answer {html.escape(group['gold'])})"
    return f'<div class="pair"><p class="prompt">{prompt}</p>{"".join(cells)}</div>'


def _worth(reward: float | None) -> str:
    return "unscored" if reward is None else f"reward {reward:g}"
