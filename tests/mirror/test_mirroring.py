"""A working copy, its address, and other machines with working copies of their own."""

import contextlib
import errno
import os
import re
import shutil
import signal
import sys
import time

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.mirror import NotUploaded, mirroring, ownership, stored, working_copy
from grpo_jax.mirror.ownership import Ownership, newest_owner
from grpo_jax.mirror.remote import Remote


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that goes to a machine, by its name."""
    return lambda name: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


@pytest.fixture
def quickly(monkeypatch):
    """Nothing is waited for."""
    for name in ("UPLOAD_SECONDS", "RETRY_SECONDS", "SIGN_SECONDS"):
        monkeypatch.setattr(mirroring, name, 0.01)
    monkeypatch.setattr(ownership, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(ownership, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(ownership, "ASK_SECONDS", 0.0)


def silent(text):
    pass


def write(directory, text):
    (directory / "config.json").write_text("{}")
    (directory / "metrics.jsonl").write_text(text)


def test_another_machine_goes_on(address, machine):
    machine("first")
    with working_copy(address, silent) as directory:
        write(directory, "1\n")
        assert Remote.at(address).sizes().keys() == {"owner/000001"}
    machine("second")
    with working_copy(address, silent) as elsewhere:
        assert elsewhere != directory
        assert (elsewhere / "metrics.jsonl").read_text() == "1\n"


def test_a_killed_process_is_continued_on_its_machine_without_waiting(address, machine):
    """The lock of the working copy says that nobody works there any more."""
    machine("first")
    with contextlib.suppress(KeyboardInterrupt), working_copy(address, silent) as directory:
        write(directory, "1\n")
    write(directory, "1\n2\n")
    remote = Remote.at(address)
    remote.write("owner/000001", remote.read("owner/000001").replace(b"true", b"false"))
    with working_copy(address, silent) as directory:
        assert (directory / "metrics.jsonl").read_text() == "1\n2\n"
    assert remote.read("metrics.jsonl") == b"1\n2\n"


def test_what_is_stored_is_read_where_a_working_copy_would_begin(address, machine):
    """Nothing else is fetched, and nothing is written."""

    def seen():
        return stored(address, ["config.json", "summary.json"])

    machine("first")
    assert seen() == {}
    with working_copy(address, silent) as directory:
        (directory / "config.json").write_text('{"seed": 1}')
    (directory / "config.json").write_text('{"seed": 2}')  # as by a process that was killed
    assert seen() == {"config.json": {"seed": 2}}
    before = Remote.at(address).sizes()
    machine("second")
    assert seen() == {"config.json": {"seed": 1}}
    assert not mirroring.user_cache().exists()
    assert Remote.at(address).sizes() == before
    Remote.at(address).write("config.json", b"{")
    with pytest.raises(ConfigError, match=r"memory://b/run/config\.json: is damaged"):
        seen()


def test_an_older_working_copy_is_kept_aside(address, machine):
    machine("first")
    with working_copy(address, silent) as first:
        write(first, "1\n")
    write(first, "1\nnever uploaded\n")
    machine("second")
    with working_copy(address, silent) as second:
        write(second, "1\n2\n3\n")
    machine("first")
    notes = []
    with working_copy(address, notes.append) as first:
        assert (first / "metrics.jsonl").read_text() == "1\n2\n3\n"
    (aside,) = first.parent.glob("superseded_*")
    assert (aside / "metrics.jsonl").read_text() == "1\nnever uploaded\n"
    assert any(str(aside) in note for note in notes)


def test_an_empty_working_copy_does_not_empty_the_address(address, machine):
    machine("first")
    with working_copy(address, silent) as directory:
        write(directory, "1\n")
    for path in directory.iterdir():
        path.unlink()
    with working_copy(address, silent) as directory:
        assert (directory / "metrics.jsonl").read_text() == "1\n"


def test_what_grows_is_brought_meanwhile(address, machine, quickly):
    machine("first")
    remote = Remote.at(address)
    with working_copy(address, silent) as directory:
        for text in ("1\n", "1\n2\n"):
            write(directory, text)
            while remote.read("metrics.jsonl") != text.encode():
                time.sleep(0.01)


def test_a_store_that_fails_stops_no_run(address, machine, quickly, monkeypatch):
    """Uploads are repeated until they succeed, at the end for as long as is set. Then a sentence says what lacks."""
    machine("first")
    remote, notes, works = Remote.at(address), [], False
    put = remote.files.put_file

    def put_file(*arguments, **settings):
        if not works:
            raise OSError("the network is gone")
        put(*arguments, **settings)

    def run():
        nonlocal works
        with working_copy(address, notes.append) as directory:
            write(directory, "1\n")
            while not any("cannot be written to (OSError: the network is gone); the run goes on" in it for it in notes):
                time.sleep(0.01)
            works = True
            while not notes[-1].endswith("can be written to again, and is up to date"):
                time.sleep(0.01)
            works = False
            write(directory, "1\n2\n")

    monkeypatch.setattr(type(remote.files), "put_file", staticmethod(put_file))
    monkeypatch.setattr(mirroring, "STALL_SECONDS", 0.1)
    lacks = re.escape(
        "it does not have the newest config.json, metrics.jsonl (OSError: the network is gone). They are in /"
    )
    with pytest.raises(NotUploaded, match=lacks):
        run()
    assert remote.read("metrics.jsonl") == b"1\n"


def test_a_process_that_was_followed_is_asked_to_stop_and_writes_nothing_more(address, machine, quickly, monkeypatch):
    asked = []

    def run():
        with working_copy(address, silent) as directory:
            write(directory, "1\n")
            with monkeypatch.context() as halted:
                halted.setattr(ownership.Ownership, "sign", lambda self, ended=False: None)
                halted.setattr(mirroring.Upload, "bring", lambda self: None)
                machine("second")
                with working_copy(address, silent):
                    pass
            write(directory, "1\n2\n")
            while not asked:
                time.sleep(0.01)

    monkeypatch.setattr(os, "kill", lambda process, number: asked.append((process, number)))
    machine("first")
    with pytest.raises(NotUploaded, match="has taken over, because nothing was heard from this one"):
        run()
    assert asked == [(os.getpid(), signal.SIGTERM)]
    assert Remote.at(address).read("metrics.jsonl") != b"1\n2\n"


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("data/questions.jsonl", "holds other files, such as data/questions.jsonl"),
        ("a/owner/000001", "holds the run a"),
    ],
)
def test_nothing_that_is_not_of_the_run_is_removed(name, refusal, address, machine):
    """As where somebody names the folder of all runs."""
    machine("first")
    remote = Remote.at(address)
    remote.write(name, b"precious")
    with pytest.raises(ConfigError, match=f"{refusal}; name"), working_copy(address, silent):
        pass
    assert list(remote.sizes()) == [name]


def test_what_was_copied_to_an_address_by_other_means_stays(address, machine):
    machine("first")
    remote = Remote.at(address)
    for name in ("config.json", "checkpoints/500/of_another_trainer"):
        remote.write(name, b"{}")
    with working_copy(address, silent) as directory:
        assert [path.name for path in directory.iterdir()] == ["config.json"]
    assert remote.read("checkpoints/500/of_another_trainer") == b"{}"


def test_a_working_copy_that_is_removed_ends_the_uploads_and_takes_nothing_from_the_address(address, machine, quickly):
    machine("first")
    remote, notes = Remote.at(address), []

    def run():
        with working_copy(address, notes.append) as directory:
            write(directory, "1\n")
            while remote.read("config.json") is None:
                time.sleep(0.01)
            shutil.rmtree(directory)

    with pytest.raises(NotUploaded, match="run was removed or emptied; what was uploaded before is there"):
        run()
    assert remote.read("metrics.jsonl") == b"1\n"


def test_a_disk_that_is_full_for_a_while_ends_no_uploads(address, machine, quickly, monkeypatch):
    machine("first")
    remote = Remote.at(address)

    def full(self, place):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with working_copy(address, silent) as directory:
        with monkeypatch.context() as for_a_while:
            for_a_while.setattr(mirroring._State, "write", full)
            write(directory, "1\n")
            while remote.read("config.json") is None:
                time.sleep(0.01)
        write(directory, "1\n2\n")
    assert remote.read("metrics.jsonl") == b"1\n2\n"


def test_a_long_download_gives_signs_and_one_that_fails_is_followed_at_once(address, machine, quickly, monkeypatch):
    monkeypatch.setattr(ownership, "SIGN_SECONDS", 0.01)
    machine("first")
    with working_copy(address, silent) as directory:
        write(directory, "1\n")

    def download(remote, *arguments):
        while newest_owner(remote).owner.signs < 3:
            time.sleep(0.01)
        raise OSError("No space left on device")

    machine("second")
    monkeypatch.setattr(mirroring, "download", download)
    with pytest.raises(ConfigError, match="No space left"), working_copy(address, silent):
        pass
    assert newest_owner(Remote.at(address)).owner.ended


def test_a_process_that_was_followed_while_it_ends_gets_no_signal(address, machine, quickly, monkeypatch):
    """The run has ended and catches no signals any more, so the signal would hide the sentence."""
    machine("first")
    killed = []
    monkeypatch.setattr(os, "kill", lambda *signal: killed.append(signal))
    monkeypatch.setattr(mirroring, "UPLOAD_SECONDS", 60.0)
    monkeypatch.setattr(mirroring, "SIGN_SECONDS", 60.0)

    def run():
        with working_copy(address, silent) as directory:
            write(directory, "1\n")
            Ownership.take(Remote.at(address), "another", None, silent)

    with pytest.raises(NotUploaded, match="has taken over"):
        run()
    assert killed == []


MISTAKES = {
    "gs://": "--workdir=gs://: names no bucket; write it as in gs://BUCKET/runs/a.",
    "gs://b/run": "--workdir=gs://b/run: the package for gs:// is not installed; run `pip install '.[gcs]'`, or name",
    "file:///tmp/run": "is on this machine; name it by its path",
    "gz://b/run": "Protocol not known: gz; name a bucket as in gs://BUCKET/runs/a",
}


@pytest.mark.parametrize(("wrong", "sentence"), MISTAKES.items())
def test_what_is_not_a_usable_address(wrong, sentence, machine, monkeypatch):
    machine("first")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError) as mistake, working_copy(wrong, silent):
        pass
    assert sentence in str(mistake.value)


def test_a_place_where_no_working_copy_can_be(address, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="; set XDG_CACHE_HOME to a directory"), working_copy(address, silent):
        pass


def test_a_bucket_that_cannot_be_read(address, machine, monkeypatch):
    def deny(*arguments, **settings):
        raise PermissionError("Anonymous caller does not have storage.objects.list access")

    machine("first")
    monkeypatch.setattr(type(Remote.at(address).files), "find", deny)
    with pytest.raises(ConfigError, match="cannot be used") as mistake, working_copy(address, silent):
        pass
    assert "(PermissionError: Anonymous caller does not have" in str(mistake.value)
