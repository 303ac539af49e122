"""A comparison of plain runs, which no study planned."""

import csv
import json
import shutil

import pytest

from grpo_jax.commands import report
from grpo_jax.config import ConfigError
from grpo_jax.reporting.study import arms, gather
from tests.helpers import assert_one_sentence
from tests.reporting.test_study import write_run_into

TARGETS = (0.75,)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Write runs with groups of two and of four and the seeds 0 to 2, as if they were made one by one."""
    monkeypatch.setattr("grpo_jax.reporting.report.write_report", lambda workdir: workdir / "report.html")
    found = []
    for name, size in (("small", 2), ("large", 4)):
        for seed in (0, 1, 2):
            found.append(tmp_path / f"{name}_seed_{seed}")
            write_run_into(found[-1], seed, size, rollout={"group_size": size})
    return found


def command(runs, *more):
    return report.main([*map(str, runs), *more])


def edit(run, **sections):
    path = run / "config.json"
    config = json.loads(path.read_text())
    for name, values in sections.items():
        config[name] = values if not isinstance(values, dict) else config[name] | values
    path.write_text(json.dumps(config))


def test_arms_are_named_by_what_their_runs_share(runs):
    assert arms(runs) == {"small": runs[:3], "large": runs[3:]}


def test_arms_have_whole_words(runs, tmp_path):
    """Seeds 11 and 12 do not give the name "grpo_1", and seed_11 in a directory belongs to that arm."""
    for number, run in enumerate(runs[:3]):
        run.rename(tmp_path / f"grpo-{11 + number}")
    (tmp_path / "sixteen").mkdir()
    for number, run in enumerate(runs[3:]):
        run.rename(tmp_path / "sixteen" / f"seed_{11 + number}")
    renamed = [*sorted(tmp_path.glob("grpo-*")), *sorted((tmp_path / "sixteen").iterdir())]
    assert arms(renamed) == {"grpo": renamed[:3], "sixteen": renamed[3:]}
    assert list(arms(renamed[:1])) == ["grpo-11"]  # as its directory is


def test_how_often_a_run_is_saved_makes_no_other_arm(runs):
    edit(runs[1], logging={"rollouts_every": 3}, checkpoint={"every": 7})
    assert len(arms(runs)) == 2


def test_the_report_is_a_studys(runs, tmp_path):
    assert command(runs, f"--to={tmp_path / 'both'}", "--baseline=large", "--targets=0.75") == 0
    page = (tmp_path / "both" / "report.html").read_text()
    assert "small against large" in page
    assert "All arms have finished the seeds 0, 1, 2." in page
    with open(tmp_path / "both" / "at_equal_rollouts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # All have spent 60. Evaluations are 20 rollouts apart, or 40 with groups of four, so less is known of 15 and 30.
    assert [row["rollouts"] for row in rows] == ["15", "15", "30", "30", "60", "60"]
    assert [row["pass@1"][:6] for row in rows] == ["n/a"] * 4 + ["0.810 ", "n/a"]
    assert (tmp_path / "both" / "rollouts_to_target.tex").exists()


def test_seeds_that_not_all_have_are_left_out_and_named(runs):
    results = gather(runs[:-1], None, TARGETS, runs[0].parent)
    assert (results.seeds, results.study.baseline) == ((0, 1), "small")
    assert results.missing == ("large, seed 2",)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (slice(0, 3), "all runs have one configuration, small; name runs of another, too"),
        (slice(0, 4), "a comparison needs two seeds that all arms have"),
    ],
)
def test_what_cannot_be_compared(runs, tmp_path, capsys, chosen, sentence):
    assert command(runs[chosen], f"--to={tmp_path / 'both'}") == 2
    assert_one_sentence(capsys, sentence)
    assert not (tmp_path / "both").exists()


def test_other_starts_and_tests_are_refused(runs):
    for run in runs[3:]:
        edit(run, evaluation={"test_problems": 7})
    with pytest.raises(ConfigError, match=r"large differs from small in evaluation.test_problems"):
        gather(runs, None, TARGETS, runs[0].parent)


def test_other_budgets_are_refused(runs):
    for run in runs[3:]:
        edit(run, train={"steps": 777})
    with pytest.raises(ConfigError, match=r"the arms have spent different numbers of prompts, rollouts and updates"):
        gather(runs, None, TARGETS, runs[0].parent)


def test_a_budget_that_is_matched(runs):
    assert gather(runs, None, TARGETS, runs[0].parent).study.matched == "prompts"


def test_runs_without_validation_are_refused(runs):
    path = runs[4] / "metrics.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "VALIDATION" not in line))
    with pytest.raises(ConfigError, match=r"large_seed_1: was never validated \(evaluation.every=0\)"):
        gather(runs, None, TARGETS, runs[0].parent)


def test_more_seeds_than_can_be_tested(runs, tmp_path):
    many = []
    for name, size in (("small", 2), ("large", 4)):
        for seed in range(16):
            many.append(tmp_path / f"many_{name}_{seed}")
            write_run_into(many[-1], seed, size, rollout={"group_size": size})
    with pytest.raises(ConfigError, match="all arms have 16 seeds; name runs of at most 15"):
        gather(many, None, TARGETS, tmp_path)


@pytest.mark.trap(10)
def test_other_scales_are_refused(runs):
    for run in runs[3:]:
        edit(run, objective={"std_ddof": 1})
    with pytest.raises(ConfigError, match=r"runs differ in objective.std_ddof"):
        gather(runs, None, TARGETS, runs[0].parent)


def test_mistakes_in_names(runs, tmp_path, capsys):
    place = f"--to={tmp_path / 'both'}"
    assert command(runs, place, "--baseline=larg") == 2
    assert_one_sentence(capsys, "--baseline=larg: is not an arm; did you mean large?")
    (runs[2] / "summary.json").unlink()
    assert command(runs, place) == 2
    assert_one_sentence(capsys, "small_seed_2: has no summary.json; finish the run first")
    shutil.copytree(runs[0], tmp_path / "small_again")
    assert command([*runs[:2], tmp_path / "small_again", *runs[3:]], place) == 2
    assert_one_sentence(capsys, "small_again: is seed 0 of small")
    file = f"--to={runs[0] / 'config.json'}"
    for wrong in (["--baseline=x"], ["--targets=1.5", place], ["--targets=high", place], [file]):
        with pytest.raises(SystemExit):
            command(runs, *wrong)


def test_forks_are_refused(runs):
    """A fork has spent its budget under two configurations."""
    path = runs[4] / "summary.json"
    summary = json.loads(path.read_text())
    forked = {"run": "x", "step": 3, "config_hash": "0" * 16, "starts": []}
    path.write_text(json.dumps(summary | {"provenance": {"forked_from": forked, "starts": []}}))
    with pytest.raises(ConfigError, match="large_seed_1: is a fork"):
        gather(runs, None, TARGETS, runs[0].parent)
