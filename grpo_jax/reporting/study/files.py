"""Tables as CSV, LaTeX and HTML."""

import csv
import html
from pathlib import Path

from grpo_jax.reporting.study.tables import Table

LATEX = str.maketrans(
    {
        "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#",
        # In the first cell of a row, [ and * would be arguments of the \\ before them.
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}",
        "\n": " ", "±": r"$\pm$", "^": r"\^{}", "$": r"\$", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "\\": r"\textbackslash{}",
    }
)  # fmt: skip


def write_csv(table: Table, directory: Path) -> None:
    """Write NAME.csv, with the header first."""
    with open(directory / f"{table.name}.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([table.header, *table.rows])


def write_latex(table: Table, directory: Path) -> None:
    """Write NAME.tex, a table environment that needs no package."""
    caption = f"{table.caption} {table.method}".rstrip()
    lines = [
        r"\begin{table}",
        rf"\caption{{{caption.translate(LATEX)}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
        r"\hline",
        *(" & ".join(cell.translate(LATEX) for cell in row) + r" \\" for row in (table.header, *table.rows)),
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
    ]
    lines.insert(5, r"\hline")
    (directory / f"{table.name}.tex").write_text("\n".join(lines) + "\n", encoding="utf-8")


def as_html(table: Table) -> str:
    """Return the caption and the table, without the method."""
    header = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<p>{html.escape(table.caption)}</p><table><tr>{header}</tr>{rows}</table>"
