"""The look of the pages."""

import html

from matplotlib.figure import Figure

from grpo_jax.reporting import figures

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; margin-bottom: 1rem }
td, th { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.figures { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 33rem }
figure svg { width: 100%; height: auto } figcaption { color: #555 }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .2rem 1rem; margin: .8rem 0 } .pair p { margin: 0 }
.prompt { grid-column: 1 / 3; color: #555 } code { font-size: 1rem; overflow-wrap: anywhere }
.right { border-left: 4px solid GREEN; padding-left: .5rem }
.wrong { border-left: 4px solid ORANGE; padding-left: .5rem }
.undecided { border-left: 4px solid #bbb; padding-left: .5rem }
.same { color: #999 }
""".replace("GREEN", figures.GREEN).replace("ORANGE", figures.ORANGE)


def document(title: str, body: str) -> str:
    """Return a self-contained page. `body` is HTML, `title` plain text."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )


def figure_html(figure: Figure, caption: str) -> str:
    """Return a figure with its caption, as SVG within the page."""
    return f"<figure>{figures.to_svg(figure)}<figcaption>{html.escape(caption)}</figcaption></figure>"
