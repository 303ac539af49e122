"""Whenever an upload is cut off, the address holds a run that can be continued without a gap."""

import json
import shutil

import pytest

from grpo_jax.mirror.download import download, objects
from grpo_jax.mirror.upload import Emptied, Upload
from grpo_jax.runs.directory import kept_steps
from grpo_jax.runs.seals import damage, extend_seal, seal


class Cut(Exception):
    """The process is killed."""


def write_run(directory, *, steps, checkpoints, records, kept=()):
    """Make a directory look like that of a run, which keeps some checkpoints. Records name files that they need."""
    directory.mkdir(exist_ok=True)
    for path in [*directory.glob("*"), *directory.glob("checkpoints/*")]:
        if path.is_dir() and path.name != "checkpoints" and path.name not in map(str, kept):
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    (directory / "rollouts").mkdir(parents=True)
    for step in range(1, steps + 1):
        with (
            open(directory / "metrics.jsonl", "a") as metrics,
            open(directory / f"rollouts/{step // 4}.jsonl", "a") as of,
        ):
            metrics.write(f'{{"step": {step}}}\n')
            of.write(f'{{"step": {step}}}\n')
    for step in set(checkpoints) - set(kept):
        place = directory / "checkpoints" / str(step)
        for part in range(3):
            (place / "state").mkdir(parents=True, exist_ok=True)
            (place / "state" / f"part_{part}_{steps}").write_text(f"{step}: {part}")
        seal(place)
    (directory / "checkpoints" / "99.orbax-checkpoint-tmp").mkdir(parents=True)
    (directory / "checkpoints" / "99.orbax-checkpoint-tmp" / "unfinished").write_text("")
    for name, needs in records.items():
        for file in needs:
            (directory / file).write_text(f"for {name}")
        (directory / name).write_text(json.dumps(needs))


def assert_continuable(directory):
    """Check that a run continues from its newest checkpoint, or from nothing, and has all lines before it."""
    steps = kept_steps(directory / "checkpoints")
    assert [damage(directory / "checkpoints" / str(step)) for step in steps] == [""] * len(steps)
    lines = [json.loads(line)["step"] for line in (directory / "metrics.jsonl").read_text().splitlines()]
    written = [
        json.loads(line)["step"] for file in directory.glob("rollouts/*") for line in file.read_text().splitlines()
    ]
    newest = max(steps, default=0)
    assert lines[:newest] == sorted(written)[:newest] == list(range(1, newest + 1))
    for record in directory.glob("*.json"):
        assert all((directory / file).exists() for file in json.loads(record.read_text()))
    return newest


BEGUN = {"steps": 5, "checkpoints": [4], "records": {"config.json": []}}
GONE_ON = {"steps": 9, "checkpoints": [8], "records": {"config.json": [], "provenance.json": ["base"]}}
FINISHED = {"steps": 12, "checkpoints": [8, 12], "kept": [8]}
FINISHED["records"] = {"config.json": [], "summary.json": ["report.html"]}
TAKEN_BACK = {"steps": 3, "checkpoints": [2], "records": {"config.json": []}}  # the checkpoints after it were damaged
AGAIN = {"steps": 12, "checkpoints": [4], "records": {"config.json": []}}  # the same step, with other files


@pytest.mark.parametrize(
    ("before", "after", "continues_from"),
    [
        (BEGUN, GONE_ON, {4, 8}),
        (GONE_ON, FINISHED, {8, 12}),
        (FINISHED, TAKEN_BACK, {12, 8, 0, 2}),
        (BEGUN, AGAIN, {4, 0}),
    ],
)
def test_an_upload_may_be_cut_off_anywhere(before, after, continues_from, remote, tmp_path):
    directory = tmp_path / "run"

    def bring(known, changes):
        left = iter(range(changes))

        def before_each():
            if next(left, None) is None:
                raise Cut

        Upload(directory, remote, known, before_each).bring()

    newest = []
    for changes in range(100):
        write_run(directory, **before)
        known = dict.fromkeys(objects(remote))
        bring(known, 100)
        write_run(directory, **after)
        copy = tmp_path / f"copy_{changes}"
        try:
            bring(known, changes)
            cut = False
        except Cut:
            cut = True
        download(remote, objects(remote), copy, lambda text: None)
        newest.append(assert_continuable(copy))
        if not cut:
            break
    assert changes > 10
    assert newest[-1] == max(after["checkpoints"])
    assert set(newest) <= continues_from
    assert contents(copy) == contents(directory)


def contents(directory):
    """Return the content of all finished files."""
    paths = (path for path in directory.rglob("*") if path.is_file() and "tmp" not in path.parent.name)
    return {path.relative_to(directory): path.read_bytes() for path in paths}


def test_only_what_has_changed_is_brought(remote, tmp_path):
    write_run(tmp_path, **GONE_ON)
    changes = []
    upload = Upload(tmp_path, remote, {}, lambda: changes.append(1))
    upload.bring()
    assert len(changes) == len(contents(tmp_path)) > 10
    changes.clear()
    upload.bring()
    assert changes == upload.missing() == []
    with open(tmp_path / "metrics.jsonl", "a") as metrics:
        metrics.write("{}")
    assert upload.missing() == ["metrics.jsonl"]
    upload.bring()
    assert len(changes) == 1


def test_a_checkpoint_that_is_removed_meanwhile_gets_no_seal(remote, tmp_path):
    write_run(tmp_path, **BEGUN)
    changes = []

    def remove():
        changes.append(1)
        if len(changes) == 5:  # the first three are other files
            shutil.rmtree(tmp_path / "checkpoints" / "4" / "state")  # and then its seal

    upload = Upload(tmp_path, remote, {}, remove)
    upload.bring()
    assert "checkpoints/4/seal.json" not in remote.sizes()
    shutil.rmtree(tmp_path / "checkpoints" / "4")
    upload.bring()
    assert sorted(remote.sizes()) == ["config.json", "metrics.jsonl", "rollouts/0.jsonl", "rollouts/1.jsonl"]
    assert upload.missing() == []


def test_an_error_of_the_store_is_no_missing_file(remote, tmp_path, monkeypatch):
    def fail(*arguments, **settings):
        raise FileNotFoundError("no such bucket")

    write_run(tmp_path, **BEGUN)
    monkeypatch.setattr(remote.files, "put_file", fail)
    with pytest.raises(FileNotFoundError, match="no such bucket"):
        Upload(tmp_path, remote, {}).bring()


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_directory_that_is_removed_takes_nothing_from_the_address(meanwhile, remote, tmp_path):
    directory, known = tmp_path / "run", {}
    write_run(directory, **BEGUN)
    Upload(directory, remote, known).bring()
    before = set(remote.sizes())
    if meanwhile:
        (directory / "rollouts/0.jsonl").unlink()
        (directory / "metrics.jsonl").write_text("this is brought when the rest is removed")
    else:
        shutil.rmtree(directory)
    with pytest.raises(Emptied, match="was removed or emptied"):
        Upload(directory, remote, known, lambda: shutil.rmtree(directory, ignore_errors=True)).bring()
    assert set(remote.sizes()) == before


def test_a_large_object_makes_progress(remote, tmp_path):
    """Otherwise an upload of minutes counts as one that is stuck."""
    parts = []
    (tmp_path / "file").write_bytes(bytes(3 * remote.files.blocksize))
    remote.upload(tmp_path / "file", "file", lambda: parts.append(1))
    assert len(parts) >= 3


def test_a_checkpoint_that_gets_a_score_meanwhile_is_whole(remote, tmp_path):
    """Its old seal is brought, which speaks of what is there; then the score and the new seal."""
    directory, changes = tmp_path / "run", []
    write_run(directory, **BEGUN)

    def add_score():
        changes.append(1)
        if len(changes) == 5:  # the first three are other files
            (directory / "checkpoints" / "4" / "metrics").mkdir()
            (directory / "checkpoints" / "4" / "metrics" / "metrics").write_text("0.5")
            extend_seal(directory / "checkpoints" / "4", "metrics/metrics")

    upload = Upload(directory, remote, {}, add_score)
    upload.bring()
    download(remote, objects(remote), tmp_path / "first", lambda text: None)
    assert assert_continuable(tmp_path / "first") == 4
    upload.bring()
    assert upload.missing() == []
    download(remote, objects(remote), tmp_path / "second", lambda text: None)
    assert contents(tmp_path / "second") == contents(directory)
