"""Digests of the inputs of a run: they change exactly if an input changes, for every kind of source."""

import dataclasses
import json
import os
import shutil
from datetime import UTC, datetime

import pytest

from grpo_jax.config import ConfigError, own_code, source_digests
from grpo_jax.data import Split, make_task
from grpo_jax.data.tasks import own
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.inputs import changes, checkpoint_files, read_inputs
from grpo_jax.runs.provenance import PROVENANCE_FILE, Provenance
from grpo_jax.runs.record import RunRecord, read_record, write_record
from grpo_jax.training.restore import _check_inputs, check_problems
from tests.checkpoints import CHAT_TEMPLATE, make_checkpoint, questions
from tests.helpers import make_config

DATE = "2026-01-31T23:59:59+00:00"
TELLS_THE_DATE = "{{ strftime_now('%d %b %Y') }} "


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def checkpoint(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


def read(config, date=DATE):
    task = make_task(config, datetime.fromisoformat(date))
    problems = {split: task.problems(split) for split in (Split.TRAIN, Split.TEST)}
    return read_inputs(config, task, problems, checkpoint_files(config), date)


def of_file(checkpoint, path, kind="jsonl"):
    config = questions(checkpoint)
    train = dataclasses.replace(
        config.task.train, kind=kind, path=str(path), prompt_field="q", answer_field="a", answer_format="plain"
    )
    return dataclasses.replace(config, task=dataclasses.replace(config.task, train=train))


def write(path, rows):
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_problems_are_digested_as_they_come_out(kind, checkpoint, tmp_path):
    path = tmp_path / f"train.{kind}"
    rows = [{"q": f"{a} + {b} =", "a": str(a + b)} for a in range(10) for b in range(6)]
    write(path, rows)
    config = of_file(checkpoint, path, kind)
    before = read(config)
    write(path, [row | {"more": 1} for row in rows])  # another file, the same problems
    assert changes(before, read(config)) == []
    write(path, rows[::-1])
    (clause,) = changes(before, read(config))  # the test split is by hash, and sorted
    assert clause == f"the training problems are the same {before.problems['train'].number}, in another order"
    write(path, [*rows, {"q": "12 + 13 =", "a": "25"}, {"q": "13 + 13 =", "a": "26"}, {"q": "13 + 14 =", "a": "27"}])
    assert any("problems differ: " in clause for clause in changes(before, read(config)))
    write(path, [row | {"a": "7"} for row in rows])
    assert "the test problems differ: there are 4 as before" in changes(before, read(config))[0]


def test_a_policy_that_was_replaced_by_one_of_the_same_size_and_date_is_seen(checkpoint):
    config = questions(checkpoint)
    before, path = read(config), checkpoint / "model.safetensors"
    contents, stat = bytearray(path.read_bytes()), path.stat()
    contents[-1] ^= 1
    path.write_bytes(contents)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert changes(before, read(config)) == ["the base policy's model.safetensors has changed"]


def test_a_tokenizer_or_a_template_that_was_changed_is_seen(checkpoint):
    config = questions(checkpoint)
    before = read(config)
    (checkpoint / "README.md").write_text("of no account")
    assert changes(before, read(config)) == []
    ends = checkpoint / "generation_config.json"
    ends.write_text(json.dumps({"eos_token_id": json.loads(ends.read_text())["eos_token_id"], "temperature": 0.5}))
    assert changes(before, read(config)) == []  # it is of others' sampling
    ends.write_text(json.dumps({"eos_token_id": 5}))
    assert any("the stop tokens differ" in clause for clause in changes(before, read(config)))
    (checkpoint / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("a helper", "an assistant"))
    found = changes(before, read(config))
    assert any("become other tokens" in clause for clause in found)
    assert any("chat_template.jinja has changed" in clause for clause in found)


def test_a_template_is_told_the_runs_date(checkpoint):
    """It does not get today's: reads on two days are equal, and another date gives other tokens."""
    (checkpoint / "chat_template.jinja").write_text(TELLS_THE_DATE + CHAT_TEMPLATE)
    config = questions(checkpoint)
    task = make_task(config, datetime.fromisoformat(DATE))
    text = task._format.render(task.pretrained, "1+1=")
    assert text.startswith("31 Jan 2026 ")
    before = read(config)
    assert changes(before, read(config)) == []
    found = changes(before, read(config, "2026-02-01T00:00:00+00:00"))
    assert [clause.partition(" are the same, but become other tokens")[0] for clause in found] == [
        "the test problems",
        "the training problems",
    ]
    today = make_task(config)._format.render(task.pretrained, "1+1=")
    assert today.startswith(datetime.now(UTC).strftime("%d %b %Y"))


def test_what_is_restored_is_what_the_run_read(checkpoint, tmp_path, caplog):
    """The tokenizer always, the base policy where it is read, own code with a warning, problems for gradients."""

    class Experiment:
        config = questions(checkpoint)
        task = make_task(config, datetime.fromisoformat(DATE))

    write_record(RunDirectory(tmp_path), RunRecord(read(Experiment.config), Provenance([], None)))
    for policy in (False, True):
        _check_inputs(Experiment, tmp_path, policy=policy)
    check_problems(Experiment, tmp_path)
    (checkpoint / "model.safetensors").write_bytes(b"")
    _check_inputs(Experiment, tmp_path, policy=False)
    with pytest.raises(
        ConfigError, match=r"its inputs have changed since it was begun: the base policy's model\.safetensors"
    ):
        _check_inputs(Experiment, tmp_path, policy=True)
    record = read_record(RunDirectory(tmp_path))
    problems = record.inputs.problems["train"]
    more = {"train": dataclasses.replace(problems, number=problems.number + 1)}
    inputs = dataclasses.replace(record.inputs, problems={**record.inputs.problems, **more})
    write_record(RunDirectory(tmp_path), dataclasses.replace(record, inputs=inputs))
    with pytest.raises(ConfigError, match=r"the training problems differ: \d+ were read then, \d+ now"):
        check_problems(Experiment, tmp_path)
    (checkpoint / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"the tokenizer's tokenizer\.json has changed"):
        _check_inputs(Experiment, tmp_path, policy=False)
    (tmp_path / PROVENANCE_FILE).unlink()
    _check_inputs(Experiment, tmp_path, policy=True)  # nothing was recorded, nothing is compared


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A package of the user's, which imports its own modules in several ways and others' too."""
    package = tmp_path / "mine_of_test_inputs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "reward.py").write_text(
        "import json, numpy\nfrom . import words\nfrom .numbers_of_mine import ONE\nfrom grpo_jax.config import load\n"
        "def reward(attempt):\n    import loose_of_test_inputs\n    return ONE\n"
    )
    (package / "words.py").write_text("import mine_of_test_inputs.deep as d\n")
    (package / "deep.py").write_text("")
    (package / "numbers_of_mine.py").write_text("ONE = 1.0\n")
    (package / "unused.py").write_text("")
    (tmp_path / "loose_of_test_inputs.py").write_text("from broken_of_test_inputs import x")
    (tmp_path / "broken_of_test_inputs.py").write_text("def")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_own_code_is_all_that_it_imports_of_the_users_own(mine):
    path = "mine_of_test_inputs.reward:reward"
    before = source_digests(path)
    names = ("", ".reward", ".words", ".deep", ".numbers_of_mine")
    loose = {"loose_of_test_inputs", "broken_of_test_inputs"}
    assert set(before) == {f"mine_of_test_inputs{name}" for name in names} | loose
    (mine / "numbers_of_mine.py").write_text("ONE = 2.0\n")
    now = source_digests(path)
    assert [name for name in before if before[name] != now[name]] == ["mine_of_test_inputs.numbers_of_mine"]


def test_own_code_is_found_wherever_a_configuration_names_it(checkpoint, monkeypatch):
    config = questions(checkpoint)
    reward = dataclasses.replace(config.task.reward, terms={"numeric": 1.0, "a.b:reward": 1.0})
    train = dataclasses.replace(config.task.train, kind="f.g:rows")
    config = dataclasses.replace(config, task=dataclasses.replace(config.task, reward=reward, train=train))
    config = dataclasses.replace(config, objective=dataclasses.replace(config.objective, name="c:RECIPE"))
    assert own_code(config) == {
        "a.b:reward": "task.reward.terms",
        "c:RECIPE": "objective.name",
        "f.g:rows": "task.train.kind",
    }
    test = dataclasses.replace(config.task, test=train, train=dataclasses.replace(train, kind="jsonl"))
    assert own_code(dataclasses.replace(config, task=test))["f.g:rows"] == "task.test.kind"
    named = own.OwnTaskConfig("own", "d.e:make", {})
    assert own_code(dataclasses.replace(make_config(), task=named)) == {"d.e:make": "task.factory"}
