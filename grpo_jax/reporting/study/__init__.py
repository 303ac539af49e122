"""The report of a study: a self-contained page in DIR/report, with its figures and tables as files beside it."""

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from grpo_jax.config import counted, to_dict
from grpo_jax.json_record import flat
from grpo_jax.reporting import figures
from grpo_jax.reporting.page import document, figure_html
from grpo_jax.reporting.pairs import pairs_of
from grpo_jax.reporting.report import REPORT_FILE
from grpo_jax.reporting.study.drawing import UNITS, curves, phases
from grpo_jax.reporting.study.files import as_html, write_csv, write_latex
from grpo_jax.reporting.study.gathering import arms, gather
from grpo_jax.reporting.study.runs import Results, read_results
from grpo_jax.reporting.study.tables import Table, method, power_sentence, tables
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.provenance import origin
from grpo_jax.studies import read_study

__all__ = ["arms", "gather", "write_comparison", "write_study_report"]

PAIRS_SHOWN = 2  # from an arm's beginning, and from its end


def write_study_report(workdir: Path) -> Path:
    """Write the report of a study, which may still be going on, and return the path of its page.

    The report uses the seeds that all arms have finished.

    Raises:
      FileNotFoundError: if the directory has no study.
      ConfigError: if all arms have finished fewer than two seeds, or if the runs cannot be compared.
    """
    return write_comparison(read_results(read_study(workdir), workdir), workdir / "report")


def write_comparison(results: Results, directory: Path) -> Path:
    """Write the report of these results, and return the path of its page."""
    directory.mkdir(parents=True, exist_ok=True)
    made, drawn, power = tables(results), _figures(results), power_sentence(results)
    for table in made:
        write_csv(table, directory)
        write_latex(table, directory)
    for name, (figure, _) in drawn.items():
        (directory / f"{name}.svg").write_text(figures.to_svg(figure), encoding="utf-8")
    findings = json.dumps(_findings(results, made, power), indent=2)
    (directory / "findings.json").write_text(findings + "\n", encoding="utf-8")
    page = directory / REPORT_FILE
    body = _body(results, made, drawn.values(), power)
    page.write_text(document(results.study.question, body), encoding="utf-8")
    return page


def _figures(results: Results) -> dict[str, tuple[Figure, str]]:
    """Return the figures of a study and their captions, by the names of their files."""
    return {
        **{
            f"curves_{comparison.budget}": (
                curves(results, comparison),
                f"Validation pass@1 by {UNITS.get(comparison.budget, comparison.budget)}: means of "
                f"{counted(len(results.seeds), 'seed')}, with pointwise 95 % t intervals.",
            )
            for comparison in results.study.comparisons
        },
        "phases": (phases(results), "Seconds of a run by phase, mean over seeds."),
    }


def _findings(results: Results, made: Sequence[Table], power: str) -> dict[str, Any]:
    """Return the values of findings.json."""
    return {
        "study": results.study.name,
        "seeds": results.seeds,
        "missing": results.missing,
        "power": power,
        "provenance": {
            name: [run.summary.provenance and run.summary.provenance.to_json() for run in runs]
            for name, runs in results.arms.items()
        },
        "tables": {table.name: [dict(zip(table.header, row, strict=True)) for row in table.rows] for table in made},
    }


def _body(results: Results, made: Sequence[Table], drawn: Iterable[tuple[Figure, str]], power: str) -> str:
    """Return the body of the page: two tables, then figures, the other tables, completions, and where all came from."""
    return "".join(
        [
            f"<h1>{html.escape(results.study.question)}</h1>",
            _missing(results),
            "".join(as_html(table) for table in made[:2]),
            f"<p>{html.escape(method(results))}</p>",
            f"<p>{html.escape(power)}</p>",
            f'<div class="figures">{"".join(figure_html(*one) for one in drawn)}</div>',
            "".join(as_html(table) for table in made[2:]),
            "<h2>Groups with signal, completions side by side</h2><p>Their common beginning is grey.</p>",
            *(
                f"<h3>{html.escape(name)}, seed {results.seeds[0]}</h3>"
                + pairs_of(RunDirectory(runs[0].directory), PAIRS_SHOWN)
                for name, runs in results.arms.items()
            ),
            f"<h2>Arms</h2><pre>{html.escape(json.dumps(_differences(results), indent=2))}</pre>",
            f"<h2>Provenance</h2>{_origins(results)}",
            f"<pre>{html.escape(json.dumps(_versions(results), indent=2))}</pre>",
        ]
    )


def _missing(results: Results) -> str:
    seeds = ", ".join(map(str, results.seeds))
    said = f"All arms have finished the seeds {seeds}."
    if results.missing:
        said += f" These runs are missing, so their seeds are left out: {'; '.join(results.missing)}."
    return f"<p>{html.escape(said)}</p>"


def _differences(results: Results) -> dict[str, dict[str, Any]]:
    """Return the fields in which the arms' configurations differ, by arm."""
    by_arm = {name: flat(to_dict(runs[0].config)) for name, runs in results.arms.items()}
    fields = sorted({field for values in by_arm.values() for field in values})
    differing = [f for f in fields if len({json.dumps(values.get(f)) for values in by_arm.values()}) > 1]
    return {name: {field: values.get(field) for field in differing} for name, values in by_arm.items()}


def _origins(results: Results) -> str:
    """Return a line for each run, and a first line if they ran different code."""
    every = [run.summary.provenance for runs in results.arms.values() for run in runs]
    sources = {start.code.digest for provenance in every if provenance for start in provenance.starts}
    lines = [
        f"{name}, seed {seed}: {origin(run.summary.provenance)}"
        for name, runs in results.arms.items()
        for seed, run in zip(results.seeds, runs, strict=True)
    ]
    if len(sources) > 1:
        lines.insert(0, f"These runs used {len(sources)} versions of grpo_jax's source; see their commits.")
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _versions(results: Results) -> Any:
    return {name: runs[0].summary.versions for name, runs in results.arms.items()}
