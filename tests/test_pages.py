"""The pages name existing files and list the files of a run, and README stays short. `make docs` checks their links."""

import re

import pytest

from grpo_jax.files import SUMMARY_FILE
from grpo_jax.reporting.report import REPORT_FILE
from grpo_jax.runs.directory import BASE_POLICY, FOLDERS, FROM_THE_START, METRICS_FILE
from grpo_jax.runs.suite_scores import SUITES_FILE
from tests.helpers import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
# Not in links, which `make docs` checks, and not in a run's directory.
NAMED = re.compile(r"(?<![\w./-])(?<!\]\()(?!runs/\w+/)(?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|md|jsonl|ipynb|svg|txt)\b")
BASES = (ROOT, ROOT / "grpo_jax", ROOT / "tests")  # the pages leave out the first folder of modules and tests


def each(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


@each([page for page in PAGES if page.name != "CHANGELOG.md"])  # which names files of its time
def test_the_files_that_a_page_names_exist(page):
    named = sorted(set(NAMED.findall(page.read_text())))
    assert [name for name in named if not any((base / name).exists() for base in BASES)] == []


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


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
