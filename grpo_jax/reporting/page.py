"""The frame of the pages: their look, their script and its data, and what a browser may do with them.

Pages load nothing from elsewhere. The style is page.css. The script, page.js, works on the data of the page alone, or
asks the server of `grpo watch` for more.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from matplotlib.figure import Figure

from grpo_jax.json_record import JsonRecord
from grpo_jax.reporting import figures
from grpo_jax.reporting.curves import Curves
from grpo_jax.reporting.panels import LOGARITHMIC
from grpo_jax.reporting.sample_groups import ShownGroup

STYLE = (files(__package__) / "page.css").read_text(encoding="utf-8")
SCRIPT = (files(__package__) / "page.js").read_text(encoding="utf-8")
LIVE = '<div id="live" hidden></div>'  # where the script puts the curves and the groups


@dataclass(frozen=True)
class ShownRun(JsonRecord):
    """A run in the data of the script."""

    index: int  # among the runs of the page, from 0
    name: str
    curves: Curves | None
    groups: Sequence[ShownGroup]


@dataclass(frozen=True)
class PageData(JsonRecord):
    """The data of the script."""

    runs: Sequence[ShownRun]
    asks: bool  # the server for more
    logarithmic: Sequence[str]  # panels


def policy(*, asks: bool) -> str:
    """Return the Content-Security-Policy of a page: our script runs in it, no other, and nothing is loaded.

    Args:
      asks: whether the script asks the server that the page comes from.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    connect = "; connect-src 'self'" if asks else ""
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'{connect}; base-uri 'none'; "
        "form-action 'none'"
    )


def document(title: str, body: str, data: PageData | None = None) -> str:
    """Return a self-contained page. `body` is HTML, `title` plain text; with data for it, the script is part of it."""
    script = ""
    if data:
        text = json.dumps(data.to_json(), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        script = f'<script type="application/json" id="data">{text}</script>\n<script>{SCRIPT}</script>\n'
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(asks=bool(data and data.asks))}">'
        f"<style>{STYLE}</style></head><body>\n{body}{script}</body></html>\n"
    )


def watch_page(runs: Sequence[Path]) -> str:
    """Return the page of `grpo watch`, whose script asks for everything. Runs are named by directory, or by path."""
    short = [run.resolve().name for run in runs]
    names = short if len(set(short)) == len(short) else [str(run) for run in runs]
    body = f"<h1>{html.escape(', '.join(names))}</h1><noscript><p>This page needs JavaScript.</p></noscript>{LIVE}"
    shown = [ShownRun(index, name, None, []) for index, name in enumerate(names)]
    return document(", ".join(names), body, PageData(shown, asks=True, logarithmic=LOGARITHMIC))


def figure_html(figure: Figure, caption: str) -> str:
    """Return a figure with its caption, as SVG within the page."""
    return f"<figure>{figures.to_svg(figure)}<figcaption>{html.escape(caption)}</figcaption></figure>"
