"""The pages name existing files, list those of a run, and keep to their width and length; `make docs` checks links."""

import re

import pytest

from grpo_jax.files import SUMMARY_FILE
from grpo_jax.reporting.report import REPORT_FILE
from grpo_jax.runs.directory import BASE_POLICY, FOLDERS, FROM_THE_START, METRICS_FILE
from grpo_jax.runs.suite_scores import SUITES_FILE
from tests.helpers import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
# Not in links, which `make docs` checks, and not in a run's directory.
NAMED = re.compile(r"(?<![\w./-])(?<!\]\()(?!runs/\w+/)(?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|md|jsonl|ipynb|svg|txt)\b")
BASES = (ROOT, ROOT / "grpo_jax", ROOT / "tests")  # the pages leave out the first folder of modules and tests


def each(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


@each([page for page in PAGES if page.name != "CHANGELOG.md"])  # which names files of its time
def test_the_files_that_a_page_names_exist(page):
    named = sorted(set(NAMED.findall(page.read_text())))
    assert [name for name in named if not any((base / name).exists() for base in BASES)] == []


@each([page for page in PAGES if page.name != "CHANGELOG.md"])
def test_lines_of_prose_have_at_most_120_characters(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    whole = re.compile(r"\||    |!\[|\[\w+\]: ")  # rows, code, pictures and addresses cannot be split
    assert [line for line in text.splitlines() if len(line) > 120 and not whole.match(line)] == []


def test_the_page_on_runs_lists_the_files_of_a_run():
    page = (ROOT / "docs" / "runs.md").read_text()
    recorded = [path.name for path in (ROOT / "tests" / "fixtures" / "run").iterdir()]
    files = {
        METRICS_FILE,
        SUMMARY_FILE,
        SUITES_FILE,
        REPORT_FILE,
        str(BASE_POLICY),
        *FOLDERS,
        *FROM_THE_START,
        *recorded,
    }
    assert sorted(name for name in files if not re.search(rf"`{re.escape(name)}[`/]", page)) == []


def rows_of(text, first):
    """Return the cells of the tables whose first column has this name, row by row."""
    tables = re.findall(r"^\| (.+?) \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [row for name, body in tables if name == first for row in body.splitlines()]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_each_row_of_the_checklist_has_a_status_a_task_figures_and_a_command():
    page = (ROOT / "docs" / "paper.md").read_text()
    statuses = {row[0] for row in rows_of(page, "status")}
    tasks = {task for row in rows_of(page, "task") for task in row[0].split(", ")}
    rows = rows_of(page, "claim")
    assert {found.split(", ")[0] for _, found, _ in rows} == statuses
    for claim, found, measured in rows:
        status, *on = found.split(", ")
        assert set(on) <= tasks, claim
        figures, command = re.fullmatch(r"(.*?) ?\(([^()]+)\)", measured).groups()
        assert figures or status == "not tried", claim
        if study := re.fullmatch(r"study `(\w+)`", command):
            assert (ROOT / "configs" / "studies" / f"{study[1]}.py").exists(), claim
        else:
            assert f"# {command}" in page or command in ("below", "docs/results.md"), claim


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
