"""The comparison of two commits' runs, on files that the tests write. No run is made."""

import json

import pytest

from tools import compare_commits
from tools.compare_commits import Recipe, as_table, compare_runs, loopback_cluster

METRICS = [
    {"phase": "train", "step": 1, "kind": "train", "loss": 0.25, "updates": 3, "seconds": 1.5, "tokens_per_second": 9},
    {"phase": "train", "step": 2, "kind": "train", "loss": None, "updates": 4, "seconds": 1.4, "tokens_per_second": 8},
    {"phase": "train", "step": 2, "kind": "evaluation", "split": "TEST", "pass@1": 0.5, "interval": {"pass@1": [0, 1]}},
]
GROUPS = [{"phase": "train", "step": 1, "id": 7, "tokens": [[1, 2], [3]], "completions": ["12", "3"]}]


def run(path, metrics=METRICS, groups=GROUPS):
    for file, records in ((path / "metrics.jsonl", metrics), (path / "rollouts" / "000001.jsonl", groups)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def changed(line, **values):
    """Return the metrics with other values on one line; the value `...` removes a name."""
    lines = [dict(one) for one in METRICS]
    lines[line] = {name: value for name, value in (lines[line] | values).items() if value is not ...}
    return lines


@pytest.fixture
def compared(tmp_path):
    """Return the differences between the run above and another, and whether they are tolerated."""

    def compared(metrics=METRICS, groups=GROUPS, tolerance=0.0, renamed=None):
        old, new = run(tmp_path / "old"), run(tmp_path / "new", metrics, groups)
        parts = compare_runs(old, new, renamed or {})
        return *(part.differences for part in parts), all(part.within(tolerance) for part in parts)

    return compared


def test_only_times_may_differ(compared):
    assert compared(changed(0, seconds=99.0, tokens_per_second=0)) == ({}, {}, True)
    assert compared(changed(0, seconds={"update": 1.0}))[-1]


def test_the_last_bit_counts_and_its_relative_size_is_reported(compared):
    close = 0.25 * (1 + 2**-40)
    differences, _, equal = compared(changed(0, loss=close))
    assert not equal
    assert list(differences) == ["train: loss"]
    assert differences["train: loss"].lines == 1
    assert differences["train: loss"].largest == pytest.approx(2**-40, rel=1e-6)
    assert "train step 1" in differences["train: loss"].first
    assert compared(changed(0, loss=close), tolerance=1e-6)[-1]
    assert not compared(changed(0, loss=0.26), tolerance=1e-6)[-1]


@pytest.mark.parametrize(
    ("line", "values", "name"),
    [
        (1, {"loss": 0.0}, "train: loss"),  # a number where there was none
        (1, {"updates": ...}, "train: updates"),
        (1, {"more": 1}, "train: more"),
        (2, {"interval": {"pass@1": [0, 1.5]}}, "TEST: interval/pass@1/1"),
        (2, {"phase": "warm_start"}, "TEST: phase"),
    ],
)
def test_what_is_not_a_small_difference_of_two_numbers(compared, line, values, name):
    differences, _, within = compared(changed(line, **values), tolerance=1e-6)
    assert list(differences) == [name]
    assert not within


def test_lines_that_are_missing_are_reported(compared):
    assert list(compared(METRICS[:-1], tolerance=1e9)[0]) == ["number of lines"]
    assert not compared(METRICS[:-1], tolerance=1e9)[-1]


def test_metrics_may_have_other_names(compared):
    lines = [{("left" if name == "loss" else name): value for name, value in line.items()} for line in METRICS]
    assert not compared(lines)[-1]
    assert compared(lines, renamed={"loss": "left"})[-1]
    assert compared(changed(0, updates=...), renamed={"updates": ""})[0].keys() == {"train: updates"}  # on line 2
    gone = [{name: value for name, value in line.items() if name != "loss"} for line in METRICS]
    assert compared(gone, renamed={"loss": ""})[-1]


def test_tokens_are_compared_wherever_a_record_holds_them(compared):
    nested = [{"version": 2, "step": 1, "completions": [{"tokens": [1, 2]}, {"tokens": [3]}]}]
    assert compared(groups=nested)[-1]
    other = [{**GROUPS[0], "tokens": [[1, 2], [4]]}]
    _, differences, equal = compared(groups=other)
    assert not equal
    assert "group 0 of step 1" in differences["sampled tokens"].first
    assert not compared(groups=[])[-1]


def test_two_runs_without_tokens_do_not_agree(tmp_path):
    bare = [{"step": 1, "id": 7}]
    parts = compare_runs(run(tmp_path / "old", groups=bare), run(tmp_path / "new", groups=bare), {})
    assert [part.within(1e9) for part in parts] == [True, False]


def test_the_table_names_run_metric_and_line(tmp_path, capsys):
    parts = compare_runs(run(tmp_path / "old"), run(tmp_path / "new", changed(0, loss=0.2)), {})
    compare_commits.PlainConsole(width=120).print(as_table({"pairs": parts}, 0.0))
    printed = capsys.readouterr().out
    for text in ("pairs", "DIFFER", "train: loss", "2.0e-01", "train step 1", "equal"):
        assert text in printed


def test_a_commit_that_does_not_exist_is_reported_before_anything_runs(capsys, monkeypatch):
    monkeypatch.setattr(compare_commits, "run_both", pytest.fail)
    assert compare_commits.main(["no-such-commit", "HEAD"]) == 2
    assert "error: no-such-commit: cannot be checked out" in capsys.readouterr().err


def test_processes_of_a_run_find_each_other():
    first, second = loopback_cluster(2)
    assert first["JAX_COORDINATOR_ADDRESS"] == second["JAX_COORDINATOR_ADDRESS"]
    assert [first["SLURM_PROCID"], second["SLURM_PROCID"]] == ["0", "1"]
    assert all(isinstance(recipe, Recipe) for recipe in compare_commits.RECIPES.values())
