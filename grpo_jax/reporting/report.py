"""report.html: one self-contained page about a run, made from the files in its directory."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_jax.config import counted, known
from grpo_jax.data import Split
from grpo_jax.reporting import figures
from grpo_jax.reporting.curves import MOST_STEPS, Curves
from grpo_jax.reporting.page import LIVE, PageData, ShownRun, document, figure_html
from grpo_jax.reporting.pairs import pairs_of
from grpo_jax.reporting.panels import LOGARITHMIC
from grpo_jax.reporting.processes import COLUMNS, slowest
from grpo_jax.reporting.sample_groups import sample_groups
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.lines import RunMetrics
from grpo_jax.runs.provenance import origin
from grpo_jax.runs.record import provenance_of
from grpo_jax.runs.state import state_of
from grpo_jax.runs.summary import WITHOUT_VERDICTS, EvaluationResult, ProcessUse, Summary

REPORT_FILE = "report.html"  # in the run's directory

PAGE = """<h1>{title}</h1>
{results}
<p>{origin}</p>
{processes}
{live}
<div class="without-script">
<div class="figures">{figures}</div>
<h2>Groups with signal, completions side by side</h2>
<p>Their common beginning is grey.</p>
{pairs}
</div>
<div class="drawn figures">{time}</div>
<h2>Configuration</h2>
<pre>{config}</pre>
"""


def write_report(workdir: Path) -> Path:
    """Write report.html into a run's directory and return its path. The run may be going on, or have been stopped.

    Raises:
      FileNotFoundError: if the directory has no run.
    """
    run = RunDirectory(workdir)
    config, summary, metrics, provenance = run.config(), run.summary(), run.metrics(), provenance_of(run)
    time = "Time by phase. Other is the time before the first step and after the last."
    summary_versions = summary.versions if summary else None
    versions = provenance.starts[-1].versions if provenance and provenance.starts else summary_versions
    title = f"{config['objective']['name']} on {config['task']['name']}, seed {config['seed']}"
    page = PAGE.format(
        title=html.escape(title),
        results=_results(summary) if summary else _progress(run, config, metrics),
        origin=html.escape(origin(provenance)),
        figures="".join(figure_html(figure, caption) for figure, caption in figures.of_run(metrics)),
        pairs=pairs_of(run),
        live=LIVE,
        time=figure_html(figures.time_by_phase(summary.seconds), time) if summary else "",
        processes=processes_html(summary.processes) if summary and summary.processes else "",
        config=html.escape(json.dumps({"config": config, "versions": versions}, indent=2)),
    )
    shown_run = ShownRun(0, workdir.name, Curves.of(metrics, MOST_STEPS), sample_groups(run))
    run.write_text(REPORT_FILE, document(title, page, PageData([shown_run], asks=False, logarithmic=LOGARITHMIC)))
    return workdir / REPORT_FILE


def _results(summary: Summary) -> str:
    table = _table([("before RL", summary.base), ("after RL", summary.final)])
    return (
        f"<p>{counted(summary.final.problems, 'test problem')}, {counted(summary.final.samples, 'sample')} each; "
        f"{counted(summary.rollouts, 'rollout', ',')} of {counted(summary.prompts, 'prompt', ',')}, "
        f"{counted(summary.updates, 'update', ',')}; {100 * summary.signal_share:.1f} % of the groups carried "
        f"signal.</p>{table}"
    )


def _progress(run: RunDirectory, config: Mapping[str, Any], metrics: RunMetrics) -> str:
    """Return HTML that says how far an unfinished run has come."""
    step = metrics.training[-1].step if metrics.training else 0
    said = f"Unfinished: {state_of(run).said}, at step {step:,} of {config['train']['steps']:,}."
    tested = [line.scores.pass_at[0] for line in metrics.of_split(Split.TEST) if line.step == 0]
    if tested:
        said += f" Test pass@1 before RL: {known(tested[0].value)} ({tested[0].interval(' to ')})."
    validated = metrics.of_split(Split.VALIDATION)
    ends = validated if len(validated) < 2 else [validated[0], validated[-1]]
    rows = [(f"validation at step {line.step:,}", EvaluationResult.of(line.scores)) for line in ends]
    return f"<p>{html.escape(said)}</p>" + (_table(rows) if rows else "")


def processes_html(uses: Sequence[ProcessUse]) -> str:
    """Return HTML of the process that was slowest in each phase, beside the fastest."""
    header = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    rows = "".join(
        f'<tr><th scope="row">{name}</th>' + "".join(f'<td class="number">{cell}</td>' for cell in cells) + "</tr>"
        for name, *cells in slowest(uses)
    )
    return f"<h2>{counted(len(uses), 'process')}</h2><table><tr>{header}</tr>{rows}</table>"


def _table(rows: Sequence[tuple[str, EvaluationResult]]) -> str:
    k = rows[0][1].samples
    header = "".join(
        f'<th scope="col">{name}</th>' for name in ("", "pass@1", "95 % interval", f"pass@{k}", f"maj@{k}", "tokens")
    )
    body = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(
            f'<td class="number">{cell}</td>'
            for cell in (
                known(result.pass_at_1.value),
                result.pass_at_1.interval(" &ndash; "),
                known(result.pass_at_k.value),
                known(result.majority),
                f"{result.mean_length:.1f}",
            )
        )
        + "</tr>"
        for name, result in rows
    )
    why = "" if all(result.pass_at_1.known for _, result in rows) else f"<p>- is not known: {WITHOUT_VERDICTS}</p>"
    return f'<div class="wide"><table><tr>{header}</tr>{body}</table></div>{why}'
