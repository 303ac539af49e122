"""How a run ends before its last step."""

import errno
import os
import signal

import pytest

from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.ending import FULL, StopRequest, StopRequested, TrainingError, explain_full_disk
from grpo_jax.runs.lines import Stage
from tests.helpers import train_line


@pytest.mark.parametrize("number", FULL)
def test_a_full_disk_is_reported_in_a_sentence_wherever_it_is_noticed(number):
    def written():
        raise OSError(number, os.strerror(number), "metrics.jsonl")

    def in_the_background():
        raise ValueError(f"writing [OS error {number}: {os.strerror(number)}] zarr")

    def while_another_is_handled():
        try:
            written()
        finally:
            raise RuntimeError("provenance")

    sentence = rf"^nothing more can be written: (metrics.jsonl: )?{os.strerror(number)}\. .*the same command continues"
    for act in (written, in_the_background, while_another_is_handled):
        with pytest.raises(TrainingError, match=sentence), explain_full_disk():
            act()


def test_other_errors_stay_what_they_are():
    with pytest.raises(PermissionError), explain_full_disk():
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_line_that_a_full_disk_cut_off_is_written_again(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create()
    for step in (1, 2):
        directory.append_metrics(train_line(step))
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(whole[:-7])
    directory.rewind(Stage.TRAIN, 1)
    directory.append_metrics(train_line(2))
    directory.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


@pytest.fixture
def hangup():
    """The tests themselves may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", StopRequest.SIGNALS)
def test_a_signal_is_a_request(number, capfd):
    before = signal.getsignal(number)
    with StopRequest(saving="it is saved") as stop:
        stop.obey()
        signal.raise_signal(number)
        assert stop.requested()
        assert stop.name == number.name
        with pytest.raises(StopRequested):
            stop.obey()
        assert signal.getsignal(number) == before  # a second one acts as usual
    assert capfd.readouterr().err.startswith(f"{number.name}: it is saved. A second one")


@pytest.mark.usefixtures("hangup")
def test_a_closed_terminal_stays_ignored_under_nohup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop.requested()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
