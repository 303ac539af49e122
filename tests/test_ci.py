"""The hosted workflow runs .ci/run, and all commands that they name exist. A workflow cannot be tried before a push."""

import os
import re

import yaml

from tests.helpers import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
SCRIPT = (ROOT / ".ci" / "run").read_text()
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def steps():
    (job,) = WORKFLOW["jobs"].values()
    return job["steps"]


def test_the_workflow_runs_the_script_and_nothing_else():
    assert set(WORKFLOW[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key `on` as true
    assert [step["run"] for step in steps() if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_actions_have_a_version():
    used = [step["uses"] for step in steps() if "uses" in step]
    assert [re.sub(r"\d+$", "N", action) for action in used] == ["actions/checkout@vN", "actions/setup-python@vN"]


def test_the_workflow_installs_every_python_that_the_script_asks_for():
    (versions,) = [step["with"]["python-version"].split() for step in steps() if "with" in step]
    assert versions == re.findall(r"\$\(find_python ([\d.]+)\)", SCRIPT)


def test_the_script_makes_targets_that_exist():
    made = re.findall(r"^make ((?:[a-z-]+ )+)PYTHON=", SCRIPT, re.MULTILINE)
    assert [line.split() for line in made] == [["test-versions"], ["lint", "test"]]
    assert all(target in TARGETS for line in made for target in line.split())
