"""Whose a directory is, and what a run records of its inputs and its starts; without a device."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from grpo_jax.config import CONTINUABLE, ConfigError, obstacle, read_recorded, to_dict
from grpo_jax.runs.claim import claim, keep_base
from grpo_jax.runs.directory import NO_LOCKS, RunDirectory
from grpo_jax.runs.ending import Interrupted, recorded
from grpo_jax.runs.inputs import Inputs, ProblemsDigest, TokenizerDigest, changes
from grpo_jax.runs.provenance import PROVENANCE_FILE, Start, origin
from grpo_jax.runs.record import provenance_of, recorded_date
from tests.helpers import make_config

PROBLEMS = ProblemsDigest(number=40, digest="a", in_any_order="b", tokens="c")
INPUTS = Inputs(
    date="2026-01-31T23:59:58+00:00",
    problems={"train": PROBLEMS, "test": PROBLEMS},
    tokenizer=TokenizerDigest(vocabulary="v", stop_tokens=[0], files={"tokenizer.json": "t"}),
    policy={"model.safetensors": "m"},
    code={"mine:reward": {"mine": "x"}},
)


def start(digest="0123456789abcdef", **changed):
    code = {"version": "0.1.0", "commit": "c" * 40, "dirty": False, "digest": digest}
    devices, host = {"kinds": ["cpu"], "count": 2}, {"processor": "P", "cores": 2, "platform": "L", "processes": 1}
    began = {"began": "2026-01-31T23:59:59+00:00", "ended": None, "outcome": None, "command": "python main.py"}
    values = {**began, "code": code, "host": host, "devices": devices, "environment": {}, "versions": {}} | changed
    return Start.from_json(values)


def begin(path, ours, inputs=INPUTS, **options):
    directory = RunDirectory(path)
    claimed = claim(directory, ours, inputs, options.pop("start", start()), **options)
    directory.close()
    return claimed


def touched(path):
    """A directory that something has come of."""
    begin(path, {"seed": 1})
    (path / "metrics.jsonl").touch()
    return path


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch, number):
    def without(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", without)
    with pytest.raises(ConfigError, match=r"is on a file system without locks, .*; mount it with locks"):
        begin(tmp_path, {"seed": 1})


def test_a_directory_that_nothing_came_of_may_be_another_runs(tmp_path):
    """As when a model could not be read: the corrected command is not refused. One that holds anything is."""
    first, second = {"seed": 1}, {"seed": 2}
    for ours in (first, second):
        begin(tmp_path / "run", ours, dataclasses.replace(INPUTS, policy={str(ours): "m"}))
        assert RunDirectory(tmp_path / "run").read_json("config.json") == ours
    (tmp_path / "run" / "warm_start" / "metrics.jsonl").touch()
    with pytest.raises(ConfigError, match=r"another configuration \(seed is 2 there and 1 here\)"):
        begin(tmp_path / "run", first)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"is the directory of a study; name another one for a run"):
        begin(tmp_path / "study", first)


def problems(**fields):
    return {"problems": {**INPUTS.problems, "train": dataclasses.replace(PROBLEMS, **fields)}}


def tokenizer(**fields):
    return {"tokenizer": dataclasses.replace(INPUTS.tokenizer, **fields)}


@pytest.mark.trap(41)
@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (problems(number=41, digest="z", in_any_order="z"), "the training problems differ: 40 were read then, 41 now"),
        (
            problems(digest="z", in_any_order="z"),
            "the training problems differ: there are 40 as before, but with other questions",
        ),
        (problems(digest="z"), "the training problems are the same 40, in another order"),
        (problems(tokens="z"), "the training problems are the same, but become other tokens"),
        (tokenizer(files={"tokenizer.json": "z"}), "tokenizer.json has changed"),
        (tokenizer(files={}), "the tokenizer's tokenizer.json is gone"),
        (tokenizer(vocabulary="z"), "some ids have other tokens or texts"),
        (tokenizer(stop_tokens=[0, 7]), r"stop tokens differ: \[0\] then, \[0, 7\] now"),
        ({"policy": {"model.safetensors": "z"}}, "the base policy's model.safetensors has changed"),
        ({"policy": {**INPUTS.policy, "model-2.safetensors": "z"}}, "model-2.safetensors is new"),
        ({"code": {"mine:reward": {"mine": "x", "helper": "z"}}}, "the code of mine:reward has changed in helper"),
    ],
)
def test_what_was_read_must_be_what_is_read(changed, sentence, tmp_path):
    path = touched(tmp_path)
    before = (path / PROVENANCE_FILE).read_bytes()
    with pytest.raises(ConfigError, match=sentence):
        begin(path, {"seed": 1}, dataclasses.replace(INPUTS, **changed))
    assert (path / PROVENANCE_FILE).read_bytes() == before
    assert begin(path, {"seed": 1}, dataclasses.replace(INPUTS, date="2026-02-01T00:00:00+00:00")).notes == ()
    assert recorded_date(RunDirectory(path)) == INPUTS.date  # a run has one


def test_a_split_that_is_read_from_now_on_is_recorded_then(tmp_path):
    path = touched(tmp_path)
    begin(path, {"seed": 1}, dataclasses.replace(INPUTS, problems={**INPUTS.problems, "validation": PROBLEMS}))
    with pytest.raises(ConfigError, match="the validation problems differ"):
        begin(
            path,
            {"seed": 1},
            dataclasses.replace(INPUTS, problems={"validation": dataclasses.replace(PROBLEMS, number=3)}),
        )


def test_a_run_that_was_begun_before_anything_was_recorded_goes_on(tmp_path):
    path = touched(tmp_path)
    (path / PROVENANCE_FILE).unlink()
    (note,) = begin(path, {"seed": 1}).notes
    assert "was begun before inputs were recorded" in note
    assert begin(path, {"seed": 1}).notes == ()
    assert "begun before starts were recorded" in origin(provenance_of(RunDirectory(path)))


def test_a_base_policy_that_the_run_has_made_must_stay_the_same(tmp_path):
    path, base = touched(tmp_path), Path("warm_start", "params.safetensors")
    directory = RunDirectory(path)
    (path / base).write_bytes(b"a")
    for _ in range(2):
        keep_base(directory, base)
    begin(path, {"seed": 1})  # which does not look: a damaged one is made anew first
    (path / base).write_bytes(b"b")
    with pytest.raises(ConfigError, match=r"warm_start/params\.safetensors is not the base policy that the run was"):
        keep_base(directory, base)


def test_every_start_is_recorded_and_other_code_is_reported(tmp_path):
    path = touched(tmp_path)
    with pytest.raises(Interrupted), recorded(RunDirectory(path)):
        raise Interrupted("SIGTERM")
    other = start(
        digest="f" * 16, code=start().code.to_json() | {"commit": "d" * 40, "dirty": True, "digest": "f" * 16}
    )
    (note,) = begin(path, {"seed": 1}, start=other).notes
    assert note.startswith("continued with other code: grpo_jax 0.1.0, commit cccccccccccc so far, now ")
    with recorded(RunDirectory(path)):
        pass
    provenance = provenance_of(RunDirectory(path))
    assert [one.outcome for one in provenance.starts] == ["stopped", "finished"]
    assert all(one.ended for one in provenance.starts)
    said = origin(provenance)
    assert "commit cccccccccccc then grpo_jax 0.1.0, commit dddddddddddd with changes" in said
    assert "2 x cpu on P, 2 cores" in said
    assert "2 starts" in said
    assert "inputs" not in provenance.to_json()
    assert origin(None) == "Code, machine and dates were not recorded."


def test_free_fields_may_change_and_are_written_down(tmp_path):
    path = tmp_path / "run"
    before, now = to_dict(make_config()), to_dict(make_config(logging__rollouts_every=5, checkpoint__keep_last=7))
    begin(path, before)
    (path / "metrics.jsonl").touch()
    with pytest.raises(ConfigError, match=r"logging\.rollouts_every|checkpoint\.keep_last"):
        begin(path, now)
    notes = begin(path, now, free=CONTINUABLE).notes
    assert any("logging.rollouts_every: " in note and "5 from here on" in note for note in notes)
    assert json.loads((path / "config.json").read_text()) == now
    assert provenance_of(RunDirectory(path)).starts[-1].changed["checkpoint.keep_last"][1] == 7
    other = to_dict(make_config(optimizer__learning_rate=1.0))
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate"):
        begin(path, other, free=CONTINUABLE)


def test_work_may_be_done_in_another_way_from_here_on(tmp_path):
    """On another mesh, in other portions, on other devices: it is noted, since sums are rounded in another order."""
    path = tmp_path / "run"
    before = to_dict(make_config())
    now = to_dict(make_config(mesh__fsdp=2, train__microbatch_groups=2, evaluation__prompts_per_batch=4))
    begin(path, before)
    (path / "metrics.jsonl").touch()
    notes = begin(path, now, free=CONTINUABLE).notes
    assert "mesh.fsdp: 1 so far, 2 from here on" in notes
    assert sum("last digits" in note for note in notes) == 1
    other = begin(path, now, start=start(devices={"kinds": ["TPU v5e"], "count": 4})).notes
    assert other[0] == "continued on other devices: 2 x cpu so far, now 4 x TPU v5e"
    assert "last digits" in other[1]
    logged = begin(path, to_dict(make_config(logging__tensorboard=False)) | {"mesh": now["mesh"]}, free=CONTINUABLE)
    assert not any("fsdp" in note for note in logged.notes)


def test_a_directory_of_an_earlier_version_goes_on(tmp_path):
    """Fields that it did not record have the value of that time, not today's default."""
    path, now = tmp_path / "run", to_dict(make_config(logging__arms_every=0))
    begin(path, now)
    earlier = json.loads(json.dumps(now))
    del earlier["logging"]["arms_every"], earlier["rollout"]["noise"], earlier["model"]["lora"]
    (path / "config.json").write_text(json.dumps(earlier))
    (path / "metrics.jsonl").touch()
    (note,) = begin(path, now, read=read_recorded).notes
    assert note == (
        "config.json was written by an earlier version; filled in 3 newer fields; unlike today's defaults: "
        "logging.arms_every=0 (it has them all now)"
    )
    assert json.loads((path / "config.json").read_text()) == now
    assert begin(path, now, read=read_recorded).notes == ()
    (path / "config.json").write_text(json.dumps(earlier))
    with pytest.raises(ConfigError, match=r"rollout\.noise is 'independent' there and 'antithetic' here"):
        begin(path, to_dict(make_config(rollout__noise="antithetic")), free=CONTINUABLE, read=read_recorded)


def test_a_directory_of_a_later_version_is_refused(tmp_path):
    path, now = tmp_path / "run", to_dict(make_config())
    begin(path, now)
    (path / "metrics.jsonl").touch()
    (path / "config.json").write_text(json.dumps(now | {"rollout": now["rollout"] | {"speed": 2}}))
    with pytest.raises(ConfigError, match=r"config\.json: rollout\.speed: is not a field of this version of grpo_jax"):
        begin(path, now, read=read_recorded)


def test_when_a_run_can_be_extended():
    before = to_dict(make_config())
    assert obstacle(before, make_config(), 12) == ""
    assert obstacle(before, make_config(train__steps=20), 12) == ""
    assert obstacle(before, make_config(train__steps=8), 8) == ""
    assert "already reached step 12" in obstacle(before, make_config(train__steps=8), 12)
    cosine = {"optimizer__schedule": "cosine"}
    before = to_dict(make_config(**cosine))
    assert obstacle(before, make_config(**cosine), 12) == ""
    assert "optimizer.schedule='cosine'" in obstacle(before, make_config(train__steps=20, **cosine), 4)


def test_how_many_prompts_are_sampled_at_once_may_not_change_where_it_decides_which_are():
    resampled = {"rollout__max_rollouts": 64}
    assert obstacle(to_dict(make_config()), make_config(rollout__prompts_per_batch=4), 4) == ""
    before = to_dict(make_config(**resampled))
    assert obstacle(before, make_config(**resampled), 4) == ""
    assert "keep 8" in obstacle(before, make_config(rollout__prompts_per_batch=4, **resampled), 4)


def test_every_kind_of_input_is_compared():
    """Whoever adds a field to `Inputs` compares it. `keep_base` compares base policies."""
    assert changes(INPUTS, INPUTS) == []
    others = {
        **problems(number=1),
        **tokenizer(stop_tokens=[]),
        "policy": {},
        "code": {"mine:reward": {}},
    }
    assert set(others) == {field.name for field in dataclasses.fields(Inputs)} - {"date", "base_policy"}
    for name, value in others.items():
        assert changes(INPUTS, dataclasses.replace(INPUTS, **{name: value})), name
