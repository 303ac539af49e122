"""The times of two commits' runs, with a script in place of launch/main.py. Nothing is trained."""

import pytest

from tools import time_commits
from tools.time_commits import as_table, timed

MAIN = """
import json, sys
flags = dict(flag.split("=", 1) for flag in sys.argv[1:])
print(flags["--config"])
print(open(flags["--config"]).read().strip())
workdir = flags["--workdir"]
import pathlib; pathlib.Path(workdir).mkdir()
seconds = {"sampling": 2.0, "rewards": 0.5, "update": 1.0, "evaluation": 3.0, "total": 7.0}
json.dump({"seconds": seconds}, open(f"{workdir}/summary.json", "w"))
sys.exit("failed" if "--fail" in flags else 0)
"""


@pytest.fixture
def tree(tmp_path):
    """A worktree with nothing but a command and a configuration."""
    for name, text in (("launch/main.py", MAIN), ("configs/mine.py", "of the worktree")):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path / "tree"


def test_a_commit_runs_its_own_configuration_and_its_phases_are_read(tree, tmp_path):
    times = timed(tree, tmp_path / "runs" / "mine", ["--config=configs/mine.py", "--config.train.steps=2"])
    assert {name: times[name] for name in ("sampling", "host", "training", "evaluation", "total")} == {
        "sampling": 2.0, "host": 0.0, "training": 3.5, "evaluation": 3.0, "total": 7.0,
    }  # fmt: skip
    assert times["processor"] > 0
    printed = (tmp_path / "runs" / "mine.0.log").read_text().splitlines()
    assert printed == [str(tree / "configs" / "mine.py"), "of the worktree"]


def test_a_training_that_fails_is_told_with_its_last_line(tree, tmp_path):
    with pytest.raises(time_commits.RunError, match="tree: the training failed: failed"):
        timed(tree, tmp_path / "mine", ["--config=configs/mine.py", "--fail=1"])


def test_ratios_are_those_of_pairs(capsys):
    zero = dict.fromkeys(time_commits.ROWS, 0.0)
    pairs = [[zero | {"training": old}, zero | {"training": new}] for old, new in ((1.0, 0.5), (4.0, 1.0), (2.0, 1.6))]
    time_commits.PlainConsole(width=100).print(as_table(pairs))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " training " in line]
    assert [cell.strip() for cell in line.split("│")[2:-1]] == ["2.00", "1.00", "0.50", "0.38 to 0.65"]
