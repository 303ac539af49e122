"""The report of a study, from run directories."""

import csv
import json
import re

import numpy as np
import pytest

from grpo_jax.commands import report
from grpo_jax.config import ConfigError, to_dict
from grpo_jax.json_record import plain
from grpo_jax.reporting.figures import COLORS
from grpo_jax.reporting.study import write_study_report
from grpo_jax.runs.phases import PHASES
from grpo_jax.studies import Arm, StudyRun, read_study
from tests.helpers import evaluation_line, make_config, summary_of, train_line

SEEDS, STEPS = (0, 1, 2), (10, 20, 30)
FINAL = {"small": 0.8, "large": 0.9}


@pytest.fixture
def study(tmp_path):
    """Write a study of two arms and three seeds: the small one at .5, .7, .8 plus noise, the large one .1 above."""
    (tmp_path / "study.json").write_text(
        json.dumps(
            {
                "name": "mine",
                "question": "Is <it> so?",
                "seeds": SEEDS,
                "baseline": "large",
                "matched": "prompts",
                "comparisons": {"rollouts": [40, 60, 1000], "prompts": [20], "seconds": [2.5, 2.75]},
                "targets": [0.75, 0.99],
                "arms": {name: {"config": "configs/two_grpo.py", "overrides": {}} for name in FINAL},
            }
        )
    )
    for run in read_study(tmp_path).runs():
        write_run(run, tmp_path)
    return tmp_path


def write_run(run, workdir, **objective):
    write_run_into(run.directory(workdir), run.seed, 2 if run.arm.name == "small" else 4, objective=objective)


def write_run_into(directory, seed, size, **sections):
    """Write a run with groups of this size. Groups of four are .1 above groups of two, plus .01 per seed."""
    shift = 0.01 * seed + (0.1 + 0.01 * seed if size == 4 else 0.0)
    (directory / "rollouts").mkdir(parents=True, exist_ok=True)
    config = to_dict(make_config(seed=seed))
    config |= {name: config[name] | values for name, values in sections.items()}
    (directory / "config.json").write_text(json.dumps(config))
    lines = [evaluation_line(0, 0.1)]
    for step, value in zip(STEPS, (0.5, 0.7, 0.8), strict=True):
        line = train_line(step, {"tokens": 5}, rollouts=step * size, seconds=step / 10)
        lines += [line, evaluation_line(step, value + shift)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(plain(line.to_json())) + "\n" for line in lines))
    seconds = {"sampling": 2.0 * size, "update": 1.0 * size, "total": 20.0}
    final = FINAL["large" if size == 4 else "small"] + 0.01 * seed * size / 2
    summary = summary_of(0.1, final, rollouts=30 * size, prompts=30, seconds=seconds)
    (directory / "summary.json").write_text(json.dumps(summary.to_json()))


def rows(study, table):
    with open(study / "report" / f"{table}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_is_whole_and_safe(study):
    page = write_study_report(study).read_text()
    assert "Is &lt;it&gt; so?" in page
    assert "<it>" not in page
    assert page.count("<svg") == 4  # three budgets, and phases
    assert "://" not in page.split("<svg")[0]
    assert "All arms have finished the seeds 0, 1, 2." in page
    assert page.count("seeds or more) means: the difference is not 0") == 1  # of all tables
    files = {path.name for path in (study / "report").iterdir()}
    assert {"curves_rollouts.svg", "phases.svg", "final.tex", "final.csv", "findings.json", "report.html"} <= files
    assert ">0.5<" in (study / "report" / "curves_seconds.svg").read_text()  # a run's seconds may be few
    colors = set(re.findall(r"fill: (#\w{6})", (study / "report" / "phases.svg").read_text()))
    assert len(colors & set(COLORS)) == len(PHASES)


def test_equal_budgets_by_hand(study):
    """At 40 rollouts, pairs are at their second evaluation (.7), and groups of four at their first (.6)."""
    write_study_report(study)
    at_40 = [row for row in rows(study, "at_equal_rollouts") if row["rollouts"] == "40"]
    small = next(row for row in at_40 if row["arm"] == "small")
    assert small["pass@1"].startswith("0.710 ")
    assert small["difference"] == "0.090 [0.065, 0.115]"  # of .10, .09 and .08: t = 4.303, and .01/sqrt(3)
    assert small[""] == "resolved"
    assert (small["p"], small["Holm"], small["flips"]) == ("0.004", "0.004", "0.250")
    assert small["ratio"].startswith("1.145 ")
    beyond = [row for row in rows(study, "at_equal_rollouts") if row["rollouts"] == "1,000"]
    assert {row["pass@1"] for row in beyond} == {"n/a"}
    final = rows(study, "final")[0]
    assert (final["difference"], final["ratio"][:5]) == ("-0.110 [-0.135, -0.085]", "0.880")
    assert [row["seconds"] for row in rows(study, "at_equal_seconds")] == ["2.5", "2.5", "2.75", "2.75"]


def test_what_was_evaluated_too_seldom_is_not_told(study):
    """Groups of four have evaluations at 40 and 80 rollouts, and reach .75 between these."""
    write_study_report(study)
    at_60 = {row["arm"]: row for row in rows(study, "at_equal_rollouts") if row["rollouts"] == "60"}
    assert at_60["small"]["pass@1"].startswith("0.810 ")
    assert at_60["large"]["pass@1"] == "n/a"
    assert at_60["small"]["difference"] == ""
    found = {(row["target"], row["arm"]): row for row in rows(study, "rollouts_to_target")}
    assert found["0.75", "large"]["rollouts"] == "evaluated too seldom"
    assert found["0.75", "small"]["ratio to large"] == ""


def test_arms_that_have_not_spent_the_same_are_not_compared_at_their_ends(study):
    """Seconds are known only after the runs. Here the small arm takes a third more of them."""
    values = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**values, "matched": "seconds"}))
    write_study_report(study)
    assert rows(study, "final")[0]["difference"].startswith("-0.110 ")
    for run in read_study(study).runs():
        if run.arm.name == "small":
            path = run.directory(study) / "metrics.jsonl"
            path.write_text(path.read_text().replace('"seconds": 3.0', '"seconds": 4.0'))
    page = write_study_report(study).read_text()
    (final,) = rows(study, "final")
    assert (final["arm"], final["difference"]) == ("small (1.33 times the seconds)", "n/a")
    assert "No arm has spent the same seconds as large, so none is compared." in page


def test_seeds_that_do_not_differ_resolve_nothing(study):
    for run in read_study(study).runs():
        path = run.directory(study) / "summary.json"
        summary = json.loads(path.read_text())
        summary["final"]["pass@1"] = FINAL[run.arm.name]
        path.write_text(json.dumps(summary))
    page = write_study_report(study).read_text()
    (final,) = rows(study, "final")
    assert (final[""], final["± 80 % power"]) == ("no spread", "n/a")
    assert "small: ± n/a" in page


@pytest.mark.filterwarnings("error")
def test_arms_may_have_any_name_that_directories_can(study):
    values = json.loads((study / "study.json").read_text())
    names = {r"$\foo$": "small", "_large": "large"}
    for name, former in names.items():
        values["arms"][name] = values["arms"].pop(former)
        (study / "runs" / former).rename(study / "runs" / Arm(name, "", {}).slug)
    (study / "study.json").write_text(json.dumps({**values, "baseline": "_large"}))
    write_study_report(study)
    drawn = (study / "report" / "curves_rollouts.svg").read_text()
    assert r"$\foo$" in drawn
    assert "_large" in drawn


def test_a_target_that_costs_nothing_has_no_ratio(study):
    values = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**values, "targets": [0.05]}))
    write_study_report(study)
    small, large = rows(study, "rollouts_to_target")
    assert small["rollouts"] == large["rollouts"] == "0 [0, 0]"
    assert small["ratio to large"] == "n/a"


def test_a_target_that_is_not_reached_has_no_mean(study):
    write_study_report(study)
    found = {(row["target"], row["arm"]): row for row in rows(study, "rollouts_to_target")}
    assert found["0.99", "small"]["rollouts"] == "0 of 3 reached it"
    assert found["0.75", "small"]["rollouts"].startswith("48 ")  # half way from .7 to .8 without noise, less with it
    assert found["0.75", "large"]["ratio to large"] == ""


def test_time_is_of_the_phases_of_training(study):
    write_study_report(study)
    small = next(row for row in rows(study, "time") if row["arm"] == "small")
    assert (small["of"], small["seconds"][:4], small["ratio"][:5]) == ("training", "6.0 ", "0.500")


def test_a_study_that_goes_on_is_of_the_seeds_that_are_paired(study):
    (StudyRun(read_study(study).arms[0], 2).directory(study) / "summary.json").unlink()
    page = write_study_report(study).read_text()
    assert "All arms have finished the seeds 0, 1." in page
    assert "These runs are missing, so their seeds are left out: small, seed 2." in page
    final = rows(study, "final")[0]
    assert final["difference"].startswith("-0.105 ")
    assert "2 seeds are too few to estimate the power of the study" in page
    assert final[""] == "too few seeds"  # two differences that are equal by chance resolve nothing
    (StudyRun(read_study(study).arms[1], 1).directory(study) / "summary.json").unlink()
    with pytest.raises(ConfigError, match=r"all arms have finished 1 seed, but a comparison needs two; continue the"):
        write_study_report(study)
    values = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**values, "seeds": [0]}))
    with pytest.raises(ConfigError, match="a comparison needs two; add seeds to it"):
        write_study_report(study)


def test_scales_are_not_compared(study, capsys):
    write_run(StudyRun(read_study(study).arms[0], 0), study, std_ddof=1)
    assert report.main([str(study)]) == 2
    assert "runs differ in objective.std_ddof" in capsys.readouterr().err


def test_latex_has_no_bare_special_characters(study):
    values = json.loads((study / "study.json").read_text())
    values["arms"]["A_&#1"] = values["arms"].pop("small")
    (study / "study.json").write_text(json.dumps(values))
    (study / "runs" / "small").rename(study / "runs" / Arm("A_&#1", "", {}).slug)
    write_study_report(study)
    paths = sorted((study / "report").glob("*.tex"))
    assert [path.stem for path in paths] == [
        "arms", "at_equal_prompts", "at_equal_rollouts", "at_equal_seconds", "final", "rollouts_to_target", "time",
    ]  # fmt: skip
    assert all(r"A\_\&\#1" in path.read_text() for path in paths)
    for path in paths:
        text = path.read_text()
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert "%" not in text.replace(r"\%", "")
        assert "_" not in text.replace(r"\_", "")


def test_findings_hold_what_the_study_could_have_seen(study):
    write_study_report(study)
    findings = json.loads((study / "report" / "findings.json").read_text())
    assert findings["power"].startswith("With 3 seeds, a true difference of test pass@1 to large is found")
    # Differences of -.10, -.11 and -.12: their standard error is .00577, and three seeds need 5.65 of it.
    assert np.isclose(float(findings["power"].split("± ")[1].rstrip(".")), 0.0326, atol=1e-4)
