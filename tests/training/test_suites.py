"""Suites: their numbers, that an evaluation which was stopped ends like one which was not, and whose policy it is."""

import dataclasses
import json
import shutil
import signal
from contextlib import closing
from math import comb
from pathlib import Path

import jax
import numpy as np
import pytest

from grpo_jax.config import ConfigError, load, to_dict
from grpo_jax.data import Problem, Split
from grpo_jax.policy.huggingface import load_checkpoint
from grpo_jax.runs.checkpoints import Checkpoints
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.suites import SUITES, find_suites
from grpo_jax.training import Interrupted, Silent, build, evaluate_suites, suites
from tests.checkpoints import make_checkpoint
from tests.helpers import CONFIGS, make_config

FILES = Path(__file__).parent.parent / "data" / "suites"
ONE_DEVICE = jax.devices()[:1]
PROBLEMS = dict.fromkeys(SUITES, 2)
SMALL = {
    "model.compute_dtype": "float32",
    "model.remat": "none",
    "task.max_prompt_tokens": "320",
    "rollout.max_new_tokens": "6",
    "evaluation.test_samples": "4",
    "evaluation.prompts_per_batch": "1",
    "evaluation.bootstrap": "50",
}


def is_even(attempt):
    """A reward that a random policy earns about every second time."""
    return float(sum(attempt.completion.encode()) % 2 == 0)


def configuration(checkpoint, **changes):
    """The paper's evaluation, small; `changes` are of the section evaluation."""
    config = load(CONFIGS / "paper" / "evaluation.py", [*SMALL.items(), ("model.checkpoint", str(checkpoint))])
    reward = dataclasses.replace(config.task.reward, terms={f"{__name__}:is_even": 1.0})
    task = dataclasses.replace(config.task, reward=reward)
    return dataclasses.replace(config, task=task, evaluation=dataclasses.replace(config.evaluation, **changes))


def evaluate(config, workdir, names=(), directory=FILES, **options):
    """Return what suites.json then holds."""
    sources = find_suites(config, names, directory)
    return evaluate_suites(config, sources, workdir, devices=ONE_DEVICE, **options).to_json()


def lines(workdir, name):
    return [json.loads(line) for line in (workdir / "evaluation" / f"{name}.jsonl").read_text().splitlines()]


def numbers(report):
    """Return the part of a report that two evaluations of the same policy share."""
    return {name: {**result, "seconds": None} for name, result in report["suites"].items()}, report["average"]


class StoppedAt(Silent):
    """Requests a stop when a suite begins."""

    def __init__(self, suite):
        self.suite, self.seen = suite, []

    def progress(self, phase, step, total, values):
        self.seen.append(phase)
        if phase == self.suite and step == 0:  # a second signal would end the process at once
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def whole(checkpoint, tmp_path_factory):
    """All suites at once: the directory, the report, and how often the sampler was compiled."""
    workdir = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        built = []
        patch.setattr(suites, "build", lambda *arguments: built.append(build(*arguments)) or built[-1])
        report = evaluate(configuration(checkpoint), workdir)
    evaluation = built[0].config.evaluation
    return (
        workdir,
        report,
        built[0].programs.sampling.whole(evaluation.sampling, evaluation.test_samples, "independent")._cache_size(),
    )


def test_every_suite_is_there_with_its_numbers(whole, checkpoint):
    workdir, report, _ = whole
    assert json.loads((workdir / "suites.json").read_text()) == report
    assert report["policy"] == {"checkpoint": str(checkpoint)}
    record = json.loads((workdir / "provenance.json").read_text())
    assert report["provenance"]["starts"] == record["starts"]
    assert [one["outcome"] for one in record["starts"]] == ["finished"]
    assert list(record["inputs"]["code"]) == [f"{__name__}:is_even"]
    assert sorted(path.name for path in workdir.iterdir()) == [
        "config.json", "evaluation", "lock", "provenance.json", "suites.json",
    ]  # fmt: skip
    assert list(report["suites"]) == list(SUITES)
    means = []
    for name, result in report["suites"].items():
        records = lines(workdir, name)
        right = [sum(record["right"]) for record in records]
        assert len(records) == result["problems"] == 2
        assert all(len(record["completions"]) == 4 for record in records)
        assert result["mean@4"] == np.mean(right) / 4
        assert result["pass@2"] == pytest.approx(np.mean([1 - comb(4 - c, 2) / comb(4, 2) for c in right]))
        assert result["pass@4"] == np.mean([c > 0 for c in right])
        assert result["best@4_with_replacement"] == pytest.approx(np.mean([1 - (1 - c / 4) ** 4 for c in right]))
        assert result["best@4_with_replacement"] <= result["pass@4"]
        low, high = result["interval"]["mean@4"]
        assert low <= result["mean@4"] <= high
        assert result["mean_length"] == np.mean([record["lengths"] for record in records])
        means.append(result["mean@4"])
    assert 0 < np.mean(means) < 1  # or this test could not see much
    assert report["average"]["mean@4"] == pytest.approx(np.mean(means))


def test_programs_are_compiled_once_for_all_suites(whole):
    assert whole[2] == 1


def test_a_stopped_evaluation_ends_like_one_that_was_not(whole, checkpoint, tmp_path):
    config = configuration(checkpoint)
    with pytest.raises(Interrupted, match="SIGTERM: 2 of 5 suites are done and saved"):
        evaluate(config, tmp_path, display=StoppedAt("minerva"))
    saved = json.loads((tmp_path / "suites.json").read_text())
    assert list(saved["suites"]) == ["math_500", "amc_2023"]
    assert not (tmp_path / "evaluation" / "minerva.jsonl").exists()

    display = StoppedAt(None)
    report = evaluate(config, tmp_path, display=display)
    assert set(display.seen) == {"minerva", "aime_2025", "olympiad_bench"}
    assert numbers(report) == numbers(whole[1])
    assert all(lines(tmp_path, name) == lines(whole[0], name) for name in SUITES)
    assert report["suites"]["math_500"] == saved["suites"]["math_500"]  # its seconds, too


def test_suites_are_added_and_those_whose_file_changed_are_made_again(checkpoint, tmp_path):
    config, files, workdir = configuration(checkpoint), tmp_path / "files", tmp_path / "evaluation"
    shutil.copytree(FILES, files)
    evaluate(config, workdir, ["math_500"], files)
    report = evaluate(config, workdir, ["aime_2025"], files)
    assert list(report["suites"]) == ["math_500", "aime_2025"]
    with open(files / "math_500.jsonl", "a") as file:
        file.write('{"problem": "What is 1 + 1?", "answer": "2"}\n')
    display = StoppedAt(None)
    report = evaluate(config, workdir, ["math_500", "aime_2025"], files, display=display)
    assert set(display.seen) == {"math_500"}
    assert report["suites"]["math_500"]["problems"] == len(lines(workdir, "math_500")) == 3


def test_a_file_of_ones_own_is_the_suite_test(checkpoint, tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text('{"q": "What is 1 + 1?", "a": "2"}\n{"q": "What is 1 + 2?", "a": "3"}\n')
    config = configuration(checkpoint)
    test = dataclasses.replace(
        config.task.test, kind="jsonl", path=str(own), split="", prompt_field="q", answer_field="a"
    )
    config = dataclasses.replace(config, task=dataclasses.replace(config.task, test=test))
    evaluate(config, tmp_path / "evaluation", ["test"])
    assert [record["gold"] for record in lines(tmp_path / "evaluation", "test")] == ["2", "3"]


def test_without_a_file_the_suite_test_is_what_the_task_holds_out(checkpoint, tmp_path):
    """The same problems that a run of this configuration is measured on."""
    own = tmp_path / "own.jsonl"
    own.write_text("".join(f'{{"q": "What is {number}?", "a": {number}}}\n' for number in range(40)))
    config = configuration(checkpoint, test_problems=2)
    train = dataclasses.replace(
        config.task.train, kind="jsonl", path=str(own), split="", prompt_field="q", answer_field="a"
    )
    train = dataclasses.replace(train, answer_format="plain")
    config = dataclasses.replace(config, task=dataclasses.replace(config.task, train=train, test=None))
    report = evaluate(config, tmp_path / "evaluation", ["test"])
    assert report["suites"]["test"]["problems"] == 2
    assert find_suites(config, ["test"], FILES) == {"test": None}
    golds = [record["gold"] for record in lines(tmp_path / "evaluation", "test")]
    assert all(Problem(f"What is {gold}?", gold).split is Split.TEST for gold in golds)


def make_run(workdir, config, scores):
    """A run's directory with a checkpoint for each score, all of them of different parameters."""
    experiment = build(config, ONE_DEVICE)
    workdir.mkdir()
    RunDirectory(workdir).write_json("config.json", to_dict(config))
    base = load_checkpoint(
        Path(config.model.checkpoint), experiment.programs.policy, experiment.programs.shardings.params
    )
    with closing(Checkpoints(workdir / "checkpoints", keep_last=9, keep_best=1)) as checkpoints:
        for step, score in enumerate(scores):
            params = jax.tree.map(lambda array, factor=1 + step: array * factor, base)
            checkpoints.save(step, experiment.programs.init_state(params), {}, score)


def of_run(checkpoint):
    """A configuration whose runs keep their best policy."""
    config = configuration(checkpoint, every=10)
    return dataclasses.replace(
        config,
        checkpoint=dataclasses.replace(config.checkpoint, keep_best=1, keep_last=9),
        task=dataclasses.replace(config.task, hold_out_validation=True),
    )


def test_the_policy_of_a_run(whole, checkpoint, tmp_path):
    config, run, workdir = of_run(checkpoint), tmp_path / "run", tmp_path / "best"
    make_run(run, config, [0.5, 0.2])
    elsewhere = configuration(tmp_path / "nowhere")  # the run says which model and tokenizer it is
    report = evaluate(elsewhere, workdir, ["amc_2023"], run=run, best=True)
    assert report["policy"] == {"run": str(run), "step": 0}
    assert lines(workdir, "amc_2023") == lines(whole[0], "amc_2023")  # at step 0 it is the checkpoint
    with pytest.raises(ConfigError, match=r"\(policy\.step is 0 there and 1 here\)"):
        evaluate(elsewhere, workdir, ["amc_2023"], run=run)


def test_another_configuration_does_not_mix(whole, checkpoint):
    with pytest.raises(ConfigError, match=r"\(config\.evaluation\.test_samples is 4 there and 3 here\)"):
        evaluate(configuration(checkpoint, test_samples=3), whole[0])


def test_an_evaluation_of_an_earlier_version_goes_on(whole, checkpoint, tmp_path):
    """Its configuration lacks fields that have come since. One of them has changed how work is shared."""
    workdir = Path(shutil.copytree(whole[0], tmp_path / "evaluation"))
    values = json.loads((workdir / "config.json").read_text())
    del values["config"]["rollout"]["noise"], values["config"]["task"]["share_prefix"]
    (workdir / "config.json").write_text(json.dumps(values))
    before = (workdir / "suites.json").read_text()
    notes = []
    display = Silent()
    display.note = notes.append
    evaluate(configuration(checkpoint), workdir, display=display)
    assert any(note.startswith("config.json was written by an earlier version; filled in 2 newer f") for note in notes)
    assert "config.task.share_prefix: False so far, True from here on" in notes
    assert any("last digits" in note for note in notes)
    assert (workdir / "suites.json").read_text() == before


def test_other_weights_do_not_mix(whole, checkpoint):
    path = checkpoint / "model.safetensors"
    contents = path.read_bytes()
    path.write_bytes(contents[:-1] + bytes([contents[-1] ^ 1]))
    try:
        with pytest.raises(ConfigError, match=r"begun: the base policy's model\.safetensors has changed"):
            evaluate(configuration(checkpoint), whole[0])
    finally:
        path.write_bytes(contents)


def test_prompts_are_checked_before_anything_is_sampled(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(suites.Questions, "prompt_prefix", (1, 2, 3))
    with pytest.raises(ConfigError, match=r"does not begin with the 3 tokens .*; set task\.share_prefix to false"):
        evaluate(configuration(checkpoint), tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_mistakes_are_reported_before_anything_is_sampled(checkpoint, tmp_path):
    config, workdir = configuration(checkpoint), tmp_path / "evaluation"
    short = dataclasses.replace(config, task=dataclasses.replace(config.task, max_prompt_tokens=200))
    untrained, other = tmp_path / "untrained", tmp_path / "other"
    for run, its in ((untrained, config), (other, make_config())):
        run.mkdir()
        RunDirectory(run).write_json("config.json", to_dict(its))
    for sentence, attempt in {
        r"--suite=math500: unknown; did you mean math_500\?": lambda: evaluate(config, workdir, ["math500"]),
        "--suite=math_500: .* has none of math_500.jsonl": lambda: evaluate(config, workdir, directory=tmp_path),
        r"max_prompt_tokens=200: 1 of the 2 problems of math_500 is longer, .*; raise it to 204,": (
            lambda: evaluate(short, workdir)
        ),
        "suites consist of questions": lambda: evaluate(make_config(), workdir),
        f"--run={tmp_path}/x: no such directory": lambda: evaluate(config, workdir, run=tmp_path / "x"),
        f"--run={untrained}: has no checkpoint yet": lambda: evaluate(config, workdir, run=untrained),
        f"--run={other}: its policy was trained on the task modular": lambda: evaluate(config, workdir, run=other),
    }.items():
        with pytest.raises(ConfigError, match=sentence):
            attempt()
    assert not workdir.exists()
