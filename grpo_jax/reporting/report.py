"""report.html: one self-contained page about a run, made from what stands in its directory."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_jax.reporting import figures
from grpo_jax.reporting.page import document, figure_html
from grpo_jax.reporting.pairs import pairs_of
from grpo_jax.training.run_directory import RunDirectory

PAGE = """<h1>{title}</h1>
{results}
<div class="figures">{figures}</div>
<h2>Groups with signal, completions side by side</h2>
<p>The beginning that both share is grey.</p>
{pairs}
<h2>Configuration</h2>
<pre>{config}</pre>
"""


def write_report(workdir: Path) -> Path:
    """Writes report.html into a finished run's directory, and returns its path.

    Raises:
      FileNotFoundError: if it is no run, or has no summary.json yet.
    """
    run = RunDirectory(workdir)
    config, summary = run.finished()
    lines = run.metrics()
    shown = [
        (figures.learning_curve(lines), "Validation pass@1 (95 % interval over problems), and the training reward."),
        (figures.signal(lines), "Groups with signal, against the share at equal difficulty: 2p(1-p) for pairs."),
        (figures.length_and_entropy(lines), "Length of completions, and entropy of the policy."),
        (figures.sampler_difference(lines), "Difference between the sampler's and the trainer's log-probabilities."),
        (figures.time_by_phase(summary["seconds"]), "Time by phase; the rest is start, checkpoints, logging."),
    ]
    title = f"{config['objective']['name']} on {config['task']['name']}, seed {config['seed']}"
    page = PAGE.format(
        title=html.escape(title),
        results=_results(summary),
        figures="".join(figure_html(figure, caption) for figure, caption in shown),
        pairs=pairs_of(run),
        config=html.escape(json.dumps({"config": config, "versions": summary["versions"]}, indent=2)),
    )
    run.write_text("report.html", document(title, page))
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
