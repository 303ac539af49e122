"""A run that trackers follow."""

import shutil

import pytest

from tests.helpers import ROOT


@pytest.fixture
def run(tmp_path):
    """A run that was stopped, as it lies on the disk."""
    return shutil.copytree(ROOT / "tests" / "fixtures" / "run", tmp_path / "run")
