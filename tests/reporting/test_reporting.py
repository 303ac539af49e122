"""The terminal and the page, from a run's own files."""

import dataclasses
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.table import Table

from grpo_jax.reporting import figures
from grpo_jax.reporting.pairs import pairs_of
from grpo_jax.reporting.report import processes_html, write_report
from grpo_jax.reporting.summary import show_summary
from grpo_jax.rewards import Verdict
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.groups import TrainingCompletion, TrainingGroup
from grpo_jax.runs.lines import RunMetrics, Share
from grpo_jax.runs.phases import PHASES
from grpo_jax.runs.summary import ProcessUse
from tests.helpers import evaluation_line, evaluation_result, summary_of, train_line
from tests.test_terminal import shown
from tests.training.test_loop import run

SUMMARY = dataclasses.replace(
    summary_of(0.134, 0.959),
    base=evaluation_result(0.134, pass_at_1=Share(0.134, 0.126, 0.141), pass_at_k=Share(0.652, 0.6, 0.7)),
    final=evaluation_result(0.959, pass_at_1=Share(0.959, 0.955, 0.964), mean_length=14.0, problems=1024),
    rollouts=19200,
    prompts=9600,
    updates=294,
    signal_share=0.176,
    seconds={"total": 32.31},
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished run whose completions contain markup that a page must escape."""
    directory = tmp_path_factory.mktemp("run")
    run(directory)
    path = directory / "rollouts" / "000001.jsonl"
    path.write_text(path.read_text().replace('"completions": ["', '"completions": ["<script>&'))
    return directory


def test_the_page_is_self_contained_and_escaped(workdir):
    page = write_report(workdir).read_text()
    assert page.count("<script") == 2  # the data and the script of the page
    assert "&lt;script&gt;&amp;" in page
    assert "\\u003cscript>&" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert not re.search(r"url\((?!#)|@import|fetch\(['\"]http", page)
    assert page.count("<svg") == 11
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    for text in ("before RL", "after RL", "two_grpo on modular_expressions, seed 0", "learning_rate"):
        assert text in page


def test_pairs_are_shown_with_their_verdicts(tmp_path):
    """A reward may be any sum of terms, so the page also says whether a completion is right."""
    (tmp_path / "rollouts").mkdir()
    group = {
        "step": 1,
        "id": 7,
        "prompt": "1+1",
        "gold": "2",
        "completions": ["2", "2 or so", "a", "b"],
        "lengths": [1, 3, 1, 1],
    }
    group |= {"rewards": [0.9, 1.2, None, 0.1], "right": [True, False, None, None], "stop_reasons": ["stop"] * 4}
    group |= {"logprobs": [-1.0] * 4, "advantages": [1.0, -1.0, 0.0, 0.0]}
    other = group | {"advantages": [0.0, 0.0, 0.5, -0.5]}
    (tmp_path / "rollouts" / "000001.jsonl").write_text(f"{json.dumps(group)}\n{json.dumps(other)}\n")
    page = pairs_of(RunDirectory(tmp_path))
    for text in ('class="right"', "right, reward 0.9,", 'class="wrong"', "wrong, reward 1.2,"):
        assert text in page
    assert 'class="undecided"' in page
    assert "undecided, unscored," in page


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(0, []), (3, [1, 2, 3]), (7, [1, 2, 3, 4, 5, 6, 7]), (9, [1, 2, 3, 4, 6, 7, 8, 9])],
)
def test_pairs_are_from_both_ends(tmp_path, steps, expected):
    """What lies between is not read: here it is no JSON."""
    run = RunDirectory(tmp_path)
    run.create()
    for step in range(100, 100 * steps + 1, 100):
        for advantage in (0.0, 1.0):  # a group without signal is not shown
            one = TrainingCompletion("1", 1, True, Verdict(1.0, "1", right=True), advantage, -1.0, [1], [-1.0])
            run.append_rollouts(step, [TrainingGroup(1, "1+1", "2", [one, one], step, True, None, step - 1)])
    run.close()
    if steps > 8:
        (tmp_path / "rollouts" / "000401.jsonl").write_text("not read\n")
    assert [int(step) for step in re.findall(r">step (\d+)00: ", pairs_of(run))] == expected


def test_the_same_run_gives_the_same_page(workdir):
    assert write_report(workdir).read_text() == write_report(workdir).read_text()


def test_a_page_says_where_its_numbers_come_from(workdir):
    page = write_report(workdir).read_text()
    assert re.search(r"<p>grpo_jax \d+\.\d+\.\d+.* 1 x cpu on .* cores; begun 20\d\d-.*, ended 20", page)


def test_an_unfinished_run_says_that_it_is(workdir, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no config.json; name the directory of a run"):
        write_report(tmp_path)
    for name in ("config.json", "provenance.json", "lock"):
        shutil.copy(workdir / name, tmp_path)
    page = write_report(tmp_path).read_text()  # before its first line
    assert "Unfinished: finished" not in page
    assert "at step 0 of 12." in page
    assert "<svg" not in page
    lines = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= 6))
    record = json.loads((workdir / "provenance.json").read_text())
    endings = {None: "killed (no end was recorded)", "stopped": "stopped", "failed: E": "failed: E"}
    for outcome, said in endings.items():
        record["starts"][-1] |= {"outcome": outcome, "ended": None}
        (tmp_path / "provenance.json").write_text(json.dumps(record))
        assert f"Unfinished: {said}, at step 6 of 12. Test pass@1 before RL: 0." in write_report(tmp_path).read_text()
    page = write_report(tmp_path).read_text()
    assert "validation at step 0<" in page
    assert "validation at step 4<" in page
    assert page.count("<svg") == 10
    directory = RunDirectory(tmp_path)
    directory.create()
    assert "Unfinished: running, at step 6 of 12." in write_report(tmp_path).read_text()
    directory.close()


HOSTILE = ("x[lr=1e-3]", "x[/b]", "[red]y[/red]", ":smile:", r"a\[b]", "\x1b[2Jz", "$\\foo$")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_printed_as_they_are(name, tmp_path):
    """Nothing in a path, an arm or a suite is markup, an emoji code or a command to the terminal."""
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "report.html").touch()

    def act(display):
        show_summary(SUMMARY, tmp_path / name, display.console)
        display.note(name)
        display.doing(name)
        display.progress(name, 1, 2, {})
        table = Table(title=name, caption=name)
        table.add_column(name)
        table.add_row(name)
        display.console.print(table)

    text = shown(act)
    written = name.replace("\x1b", r"\x1b")
    assert f"report: {tmp_path / written}/report.html" in text
    assert text.count(written) == 8
    assert "\x1b" not in text
    assert written in shown(act, terminal=True)


def test_the_updates_own_numbers_are_drawn_where_there_are_any():
    measured = {"loss": 0.1, "grad_norm": 1.0, "learning_rate": 1e-3}
    lines = [
        train_line(1, {"terms": {"a$b": 0.5}}, measured=measured),
        train_line(2, {"terms": {"a$b": 0.5}}, measured=measured | {"grad_norm": np.nan, "clip_share/low": 0.0}),
    ]
    drawn = figures.of_run(RunMetrics(lines, []))
    captions = [caption for _, caption in drawn]
    assert captions == [
        "Tokens a second: sampled and learned.",
        "Loss: of the update.",
        "Gradient norm: before clipping.",
        "Tokens clipped: share below.",
        "Learning rate: of the optimizer.",
        "Reward of a term: a$b.",
    ]
    assert "a$b" in figures.to_svg(drawn[-1][0])
    assert drawn[3][0].axes[0].get_ylim()[0] == 0  # no share is below
    assert len(figures.of_run(RunMetrics([train_line(1, measured={"loss": np.nan})], []))) == 1


def test_a_comparison_of_runs(workdir):
    metrics = RunDirectory(workdir).metrics()
    shorter = RunMetrics(metrics.training[:-3], metrics.evaluations[:-1])
    svg = figures.to_svg(figures.comparison({"one": [metrics], "two": [metrics, shorter, metrics]}))
    ElementTree.fromstring(svg)
    for text in ("rollouts", "prompts", "seconds of training", "one, 95 % interval", "two, range of 3 seeds"):
        assert text in svg


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([0.8, 0.9, 0.95], 0.79, 0.96), ([1.0, 1.0], 0.95, 1.02), ([0.0, 0.5], 0.0, 0.53), ([-0.5, 1.5], -0.6, 1.6)],
)
def test_an_axis_of_shares_is_that_of_its_curves(values, low, high):
    """The axis cuts nothing off, and does not reach far beyond the curves."""
    axes = Figure().subplots()
    axes.fill_between(range(len(values)), min(values), max(values))
    axes.plot(values)
    figures.limit_shares([axes])
    assert low - 1e-9 <= axes.get_ylim()[0] <= min(values)
    assert max(values) <= axes.get_ylim()[1] <= high + 1e-9


def test_an_axis_of_shares_without_a_curve_is_whole():
    axes = Figure().subplots()
    figures.limit_shares([axes])
    assert axes.get_ylim() == (0.0, 1.02)


def test_the_table_at_the_end(tmp_path):
    text = shown(lambda display: show_summary(SUMMARY, tmp_path, display.console))
    assert "1024 test problems, 8 samples each" in text
    assert re.search(r"before RL .* 0\.134 .* 0\.126 - 0\.141 .* 0\.652", text)
    assert "19,200 rollouts of 9,600 prompts, 294 updates, 17.6 % of the groups carried signal" in text
    assert "total 32.3 s" in text
    assert "validation" not in text


def test_the_learning_curve_at_the_end(tmp_path):
    run = RunDirectory(tmp_path)
    for step, value in ((0, 0.1), (5, 0.5), (10, 0.9)):
        run.append_metrics(evaluation_line(step, value))
    text = shown(lambda display: show_summary(SUMMARY, tmp_path, display.console))
    assert "\nvalidation pass@1: 0.100 ▁▅█ 0.900, from step 0 to 10\n" in text


def test_the_table_of_several_processes_names_the_slowest(tmp_path):
    phases = dict.fromkeys(PHASES, 0.0)
    uses = [
        ProcessUse("a", phases | {"sampling": 8.0, "update": 2.0}, 6.5, 2**31, {0: 2**30, 1: 3 * 2**30}, 1, 0.5),
        ProcessUse("b", phases | {"sampling": 9.5, "update": 0.5}, 0.5, 2**30, {2: 2**31}, 9, 6.5),
    ]
    summary = dataclasses.replace(SUMMARY, processes=uses)
    text = shown(lambda display: show_summary(summary, tmp_path, display.console))
    rows = [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]
    assert "sampling 9.5 s 1 8.0 s 0" in rows
    assert "update 2.0 s 0 0.5 s 1" in rows
    assert "waited for others 6.5 s 0 0.5 s 1" in rows
    assert "slowest in a step 9 steps 1 1 steps 0" in rows
    assert "others waited for it 6.5 s 1 0.5 s 0" in rows
    assert "memory of the host 2.00 GiB 0 1.00 GiB 1" in rows
    assert "memory of a device 3.00 GiB 0 2.00 GiB 1" in rows
    assert "warm" not in text  # nobody made one
    page = " ".join(re.sub(r"<[^>]*>", " ", processes_html(uses)).split())
    assert "2 processes most process least process" in page
    assert "sampling 9.5 s 1 8.0 s 0 update 2.0 s 0 0.5 s 1" in page
