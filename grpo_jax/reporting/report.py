"""report.html: one self-contained page about a run, made from what stands in its directory."""

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_jax.reporting import figures
from grpo_jax.training.run_directory import RunDirectory

PAIRS_SHOWN = 4  # of the first steps with signal, and of the last

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.1rem; margin-top: 2rem }}
table {{ border-collapse: collapse; margin-bottom: 1rem }}
td, th {{ padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: left }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem }} figure {{ margin: 0; width: 33rem }}
figure svg {{ width: 100%; height: auto }} figcaption {{ color: #555 }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: .2rem 1rem; margin: .8rem 0 }} .pair p {{ margin: 0 }}
.prompt {{ grid-column: 1 / 3; color: #555 }} code {{ font-size: 1rem; overflow-wrap: anywhere }}
.right {{ border-left: 4px solid {green}; padding-left: .5rem }}
.wrong {{ border-left: 4px solid {orange}; padding-left: .5rem }}
.same {{ color: #999 }}
</style></head><body>
<h1>{title}</h1>
{results}
<div class="figures">{figures}</div>
<h2>Groups with signal, completions side by side</h2>
<p>The beginning that both share is grey.</p>
{pairs}
<h2>Configuration</h2>
<pre>{config}</pre>
</body></html>
"""


def write_report(workdir: Path) -> Path:
    """Writes report.html into a finished run's directory, and returns its path.

    Raises:
      FileNotFoundError: if the run has no summary.json yet.
    """
    run = RunDirectory(workdir)
    summary, config = run.read_json("summary.json"), run.read_json("config.json")
    if summary is None or config is None:
        raise FileNotFoundError(f"{workdir}: has no summary.json; finish the run first")
    lines = run.metrics()
    shown = [
        (figures.learning_curve(lines), "Validation pass@1 (95 % interval over problems), and the training reward."),
        (figures.signal(lines), "Groups with signal, against the share at equal difficulty: 2p(1-p) for pairs."),
        (figures.length_and_entropy(lines), "Length of completions, and entropy of the policy."),
        (figures.sampler_difference(lines), "Difference between the sampler's and the trainer's log-probabilities."),
        (figures.time_by_phase(summary["seconds"]), "Time by phase; the rest is start, checkpoints, logging."),
    ]
    page = PAGE.format(
        title=html.escape(f"{config['objective']['name']} on {config['task']['name']}, seed {config['seed']}"),
        green=figures.GREEN,
        orange=figures.ORANGE,
        results=_results(summary),
        figures="".join(
            f"<figure>{figures.to_svg(figure)}<figcaption>{html.escape(caption)}</figcaption></figure>"
            for figure, caption in shown
        ),
        pairs="".join(_pair(group) for group in _pairs_to_show(run.rollouts())),
        config=html.escape(json.dumps({"config": config, "versions": summary["versions"]}, indent=2)),
    )
    run.write_text("report.html", page)
    return workdir / "report.html"


def _results(summary: Mapping[str, Any]) -> str:
    k = summary["final"]["k"]
    header = "".join(f"<th>{name}</th>" for name in ("", "pass@1", "95 % interval", f"pass@{k}", f"maj@{k}", "tokens"))
    rows = "".join(
        f"<tr><td>{name}</td>"
        + "".join(
            f'<td class="number">{cell}</td>'
            for cell in (
                f"{result['pass@1']:.3f}",
                "{:.3f} &ndash; {:.3f}".format(*result["interval"]["pass@1"]),
                f"{result['pass@k']:.3f}",
                f"{result['maj@k']:.3f}",
                f"{result['mean_length']:.1f}",
            )
        )
        + "</tr>"
        for name, result in (("before RL", summary["base"]), ("after RL", summary["final"]))
    )
    return (
        f"<p>{summary['final']['problems']} test problems, {k} samples each; {summary['rollouts']:,} rollouts of "
        f"{summary['prompts']:,} prompts, {summary['updates']:,} updates; {summary['valid_pair_share']:.1%} of the "
        f"groups carried signal.</p><table><tr>{header}</tr>{rows}</table>"
    )


def _pairs_to_show(groups: Iterator[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """A completion with the highest and one with the lowest advantage, of the first and the last groups with signal."""
    valid = [group for group in groups if any(group["advantages"])]
    return valid[:PAIRS_SHOWN] + valid[PAIRS_SHOWN:][-PAIRS_SHOWN:]


def _pair(group: Mapping[str, Any]) -> str:
    order = sorted(range(len(group["advantages"])), key=lambda index: -group["advantages"][index])
    both = [order[0], order[-1]]
    shared = _shared_prefix(*(group["completions"][index] for index in both))
    cells = []
    for index in both:
        text = group["completions"][index]
        verdict = "right" if group["rewards"][index] == 1.0 else "wrong"
        cells.append(
            f'<p class="{verdict}"><code><span class="same">{html.escape(text[:shared])}</span>'
            f"{html.escape(text[shared:])}</code><br>{verdict}, {group['stop_reasons'][index]} after "
            f"{group['lengths'][index]} tokens, log-probability {group['logprobs'][index]:.2f}, "
            f"advantage {group['advantages'][index]:+.2f}</p>"
        )
    prompt = f"step {group['step']}: {html.escape(group['prompt'])} (answer {html.escape(group['gold'])})"
    return f'<div class="pair"><p class="prompt">{prompt}</p>{"".join(cells)}</div>'


def _shared_prefix(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))
