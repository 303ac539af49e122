"""Trackers follow the files of a run in processes of their own, and no run waits for them or fails with them."""

import io
import json

import pytest

from grpo_jax.config import ConfigError, load
from grpo_jax.config.earlier import current, current_flag
from grpo_jax.tracking import Entry, Trackers, check_trackers
from grpo_jax.tracking.following import Logged, _new, _whole_lines
from grpo_jax.training import train_config
from tests.helpers import CONFIGS, make_config

KEEPING = """
import json, pathlib, time

class Keeping:
    def __init__(self, begun):
        self.id = begun.id or "the first id"
        self.file = open(begun.folder / "kept.jsonl", "a")
        self.keep("begin", id=self.id, known=begun.id, seed=begun.config["seed"])

    def keep(self, what, **values):
        print(json.dumps({"what": what, **values}), file=self.file, flush=True)

    def log(self, entry):
        self.keep("log", place=entry.place, curve=entry.curve, step=entry.step, numbers=entry.numbers)

    def pairs(self, step, rows):
        self.keep("pairs", step=step, rows=[row._asdict() for row in rows])

    def end(self, summary):
        self.keep("end", summary=summary)

class Raising(Keeping):
    def log(self, entry):
        raise RuntimeError("the service is not there")

class Hanging(Keeping):
    def log(self, entry):
        time.sleep(3600)
"""


@pytest.fixture
def services(tmp_path, monkeypatch):
    """Write the module `services`, whose trackers keep what they are told in a file."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "services.py").write_text(KEEPING)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def follow(run, name, patience=120.0):
    """Let a tracker follow a run that ends at once, and return the notes."""
    notes = []
    trackers = Trackers([name], run, notes.append, patience)
    trackers.begin()
    trackers.close()
    return notes


def kept(run, name):
    return [json.loads(line) for line in (run / "tracking" / name / "kept.jsonl").read_text().splitlines()]


def test_a_run_that_is_continued_is_one_run_there(services, run):
    name = "services:Keeping"
    assert follow(run, name) == []
    begun, *logged, ended = kept(run, name)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    entries = [one for one in logged if one["what"] == "log"]
    assert (begun["known"], begun["seed"], ended) == (None, 0, {"what": "end", "summary": None})
    assert [one["step"] for one in entries] == [line["step"] for line in lines]
    assert [one["place"] for one in entries] == list(range(len(lines)))
    assert {one["curve"] for one in entries} >= {"warm_start", "train", "evaluation_validation"}
    train = next(line for line in lines if line["kind"] == "train")
    assert next(one for one in entries if one["curve"] == "train")["numbers"]["train/reward"] == train["reward"]

    # It is killed and continued, takes its last step again, and takes another one.
    last = [line for line in lines if line["kind"] == "train"][-1]
    with open(run / "metrics.jsonl", "a") as file:
        for step in (last["step"], last["step"] + 1):
            file.write(json.dumps({**last, "step": step}) + "\n")
    assert follow(run, name) == []
    begun, one, ended = kept(run, name)[len(lines) + 2 + sum(one["what"] == "pairs" for one in logged) :]
    assert (begun["known"], begun["id"]) == ("the first id", "the first id")
    assert (one["step"], one["place"]) == (last["step"] + 1, len(lines))


def test_a_tracker_that_raises_costs_a_warning(services, run):
    (note,) = follow(run, "services:Raising")
    assert note.startswith("warning: services:Raising failed and does not follow the run any more; ")
    assert "RuntimeError: the service is not there" in (run / "tracking" / "services:Raising.log").read_text()


def test_a_tracker_that_hangs_is_not_waited_for(services, run):
    (note,) = follow(run, "services:Hanging", patience=0.1)
    assert note.startswith("warning: services:Hanging was not done in time")


def test_a_whole_run(services, tmp_path):
    name = "services:Keeping"
    config = make_config(logging__trackers=name, evaluation__every=0, checkpoint__keep_best=0)
    summary = train_config(config, tmp_path / "run")
    told = kept(tmp_path / "run", name)
    assert [one["step"] for one in told if one.get("curve") == "train"] == list(range(1, 13))
    pairs = [one["rows"] for one in told if one["what"] == "pairs"][-1]
    assert pairs
    assert all(row["better_reward"] > row["worse_reward"] for row in pairs)
    assert told[-1]["summary"]["final.pass@1"] == summary.final.pass_at_1.value
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_line_that_is_being_written_is_left_for_later():
    file = io.BytesIO(b'{"step": 1}\n{"step": ')
    assert list(_whole_lines(file)) == [{"step": 1}]
    file.seek(0, io.SEEK_END)
    file.write(b"2}\n")
    file.seek(len(b'{"step": 1}\n'))
    assert list(_whole_lines(file)) == [{"step": 2}]


def test_curves_have_steps_of_their_own():
    logged = Logged("id", 5, {"train": 3})
    lines = [{"step": 3, "kind": "train"}, {"step": 3, "kind": "evaluation", "split": "TEST", "pass@1": 0.5}]
    (entry,) = _new(iter(lines), logged)
    assert entry == Entry(5, "evaluation_test", 3, {"evaluation_test/pass@1": 0.5})


@pytest.mark.parametrize(
    ("trackers", "sentence"),
    [
        ("tensorbord", r"tensorbord is not a tracker; did you mean tensorboard\?"),
        ("tensorboard,tensorboard", "names tensorboard more than once; name each once."),
        ("wandb", r"wandb is not installed; run `pip install '\.\[wandb\]'`, or leave it out."),
        ("nowhere:Tracker", "logging.trackers='nowhere:Tracker': cannot be imported"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_else(trackers, sentence, monkeypatch):
    monkeypatch.setattr("grpo_jax.tracking.trackers._installed", lambda name: False)
    with pytest.raises(ConfigError, match=sentence):
        check_trackers(make_config(logging__trackers=trackers))


def test_the_earlier_field_still_works():
    assert load(CONFIGS / "two_grpo.py", [("logging.tensorboard", "false")]).logging.trackers == ()
    assert current({"logging": {"tensorboard": True}}) == {"logging": {"trackers": ["tensorboard"]}}
    assert current({"logging": {"tensorboard": 3}}) == {"logging": {"tensorboard": 3}}
    assert current_flag("logging.tensorboard", "True") == ("logging.trackers", "['tensorboard']")
    with pytest.raises(ConfigError, match=r"logging\.tensorboard"):
        load(CONFIGS / "two_grpo.py", [("logging.tensorboard", "maybe")])
