"""The hosted workflow runs .ci/run and a target of make, and all commands exist. It cannot be tried before a push."""

import os
import re

import pytest
import yaml

from tests.helpers import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
SCRIPT = (ROOT / ".ci" / "run").read_text()
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
JOBS = {name: job["steps"] for name, job in WORKFLOW["jobs"].items()}


def commands(job):
    return [step["run"] for step in JOBS[job] if "run" in step]


def test_the_workflow_runs_the_script_and_plans_for_gpus_and_nothing_else():
    assert set(WORKFLOW[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key `on` as true
    assert {job: commands(job) for job in JOBS} == {"ci": [".ci/run"], "gpu-plan": ["make test-gpu-plan"]}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "test-gpu-plan" in TARGETS


@pytest.mark.parametrize("job", JOBS)
def test_the_actions_have_a_version(job):
    used = [step["uses"] for step in JOBS[job] if "uses" in step]
    assert [re.sub(r"\d+$", "N", action) for action in used] == ["actions/checkout@vN", "actions/setup-python@vN"]


def test_the_workflow_installs_every_python_that_the_script_asks_for():
    (versions,) = [step["with"]["python-version"].split() for step in JOBS["ci"] if "with" in step]
    assert versions == re.findall(r"\$\(find_python ([\d.]+)\)", SCRIPT)


def test_the_script_makes_targets_that_exist():
    made = re.findall(r"^make ((?:[a-z-]+ )+)PYTHON=", SCRIPT, re.MULTILINE)
    assert [line.split() for line in made] == [["test-versions"], ["lint", "docs", "test"]]
    assert all(target in TARGETS for line in made for target in line.split())
