"""How the processes of a run end together; here they are threads."""

import functools
import logging
import threading
from types import SimpleNamespace

import jax
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.runs import together
from grpo_jax.runs.ending import Interrupted, TrainingError
from grpo_jax.runs.together import FailureWatch
from grpo_jax.training import Noticed, Silent, start, train
from tests.helpers import make_config
from tests.several_processes import several

CLOSED = "UNKNOWN: Gloo AllGather failed: Connection closed by peer"
BROKEN = jax.errors.JaxRuntimeError(CLOSED)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(together, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(together, "LINGER_SECONDS", 2.0)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # to have it back
    yield
    logging.disable(logging.NOTSET)


def waits(watched, ended):
    """As in a computation that needs the other processes."""
    assert ended.wait(10)


def is_killed(watched, ended):
    """Its threads end, and it says nothing more."""
    watched._over.set()
    watched._peers.publish = lambda *_: None


def is_cut_off(watched, ended):
    """The first process never answers."""

    def never(*_, **__):
        ended.wait(10)
        raise jax.errors.JaxRuntimeError("UNAVAILABLE")

    watched._peers._store = SimpleNamespace(key_value_set=never, key_value_dir_get=never)
    waits(watched, ended)


def fails(error):
    def act(watched, ended):
        raise error

    return act


def returns(watched, ended):
    pass


def exit_codes(folder, *acts):
    """Return the exit codes of processes that do this; None where a process ends by itself."""
    codes = [None] * len(acts)

    def process(index):
        ended = threading.Event()

        def end(code):
            codes[index] = code
            ended.set()

        with FailureWatch(folder, 0, (TrainingError,), end) as watched:
            acts[index](watched, ended)

    with several(len(acts)) as everywhere:
        everywhere(process)
    return codes


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (ValueError("boom"), "process 1 failed: ValueError: boom", 1),
        (TrainingError("no signal."), "process 1 failed: no signal.", 1),
        (ConfigError("no such field."), "process 1 failed: no such field.", 2),
        (KeyboardInterrupt(), "process 1 was stopped at once by Ctrl-C", 130),
    ],
)
def test_an_error_on_one_process_ends_all_with_its_words(error, words, code, tmp_path, capsys):
    assert exit_codes(tmp_path, waits, fails(error), waits) == [code] * 3
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {words}"


@pytest.mark.parametrize("first", [0, 1])
def test_a_broken_connection_is_explained_by_the_process_at_its_other_end(first, tmp_path, capsys):
    acts = [fails(BROKEN), fails(TrainingError("the cause."))]
    assert exit_codes(tmp_path, *(acts if first else acts[::-1]), waits) == [1, 1, 1]
    printed = capsys.readouterr().err.splitlines()
    assert printed.count(f"error: process {first} failed: the cause.") == 2  # and once by itself, without its number


@pytest.mark.parametrize("other", [fails(BROKEN), fails(ValueError(CLOSED)), waits])
def test_a_process_that_was_killed_is_named(other, tmp_path, capsys):
    assert exit_codes(tmp_path, other, is_killed, waits) == [137, None, 137]
    assert "error: nothing was heard from process 1 for" in capsys.readouterr().err.splitlines()[-1]


def test_threads_that_fail_of_the_same_cause_say_nothing_after_the_last_words(tmp_path, capsys):
    assert exit_codes(tmp_path, fails(TrainingError("the cause.")), waits) == [1, 1]
    late = threading.Thread(target=fails(ValueError("of a checkpoint")), args=(None, None))
    late.start()
    late.join()
    logging.getLogger("absl").critical("of a checkpoint")
    assert capsys.readouterr().err.splitlines()[-1] == "error: process 0 failed: the cause."


def test_a_first_process_that_does_not_answer_is_named(tmp_path, capsys):
    assert exit_codes(tmp_path, is_killed, is_cut_off, is_cut_off) == [None, 137, 137]
    assert "error: nothing was heard from process 0 for" in capsys.readouterr().err.splitlines()[-1]


def test_a_broken_connection_without_a_cause_is_reported_as_it_is(tmp_path, capsys):
    assert exit_codes(tmp_path, waits, fails(BROKEN)) == [1, 1]
    assert "error: process 1 failed: JaxRuntimeError: UNKNOWN" in capsys.readouterr().err


def test_what_is_not_an_error_ends_nothing(tmp_path, capsys):
    """A process that is done before the others is not missed."""

    def takes_longer(watched, ended):
        assert not ended.wait(2 * together.SILENT_LOOKS * together.LOOK_SECONDS)

    assert exit_codes(tmp_path, takes_longer, returns, fails(Interrupted("saved"))) == [None] * 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("progresses", [False, True])
def test_a_process_that_is_stuck_shows_where_and_ends(progresses, tmp_path, capfd):
    ended = threading.Event()
    codes = []

    def end(code):
        codes.append(code)
        ended.set()

    with FailureWatch(tmp_path, 0.5, end=end) as watched:
        for _ in range(25):
            if progresses:
                Noticed(Silent(), watched.progressed).progress("training", 1, 2, {})
            ended.wait(0.04)
    if progresses:
        assert codes == []
        assert capfd.readouterr().err == ""
    else:
        assert codes == [124]
        told = capfd.readouterr().err
        assert "error: no progress for 0 s (train.stuck_after); the stacks of all threads are above and in" in told
        for text in (told, (tmp_path / "stacks_0.txt").read_text()):
            assert "test_a_process_that_is_stuck" in text


def test_training_from_python_is_watched(tmp_path, monkeypatch, capsys):
    ended, codes = threading.Event(), []

    def end(code):
        codes.append(code)
        ended.set()

    monkeypatch.setattr(start, "FailureWatch", functools.partial(FailureWatch, end=end))
    monkeypatch.setattr(start, "_train", lambda *_: ended.wait(10))
    train(SimpleNamespace(config=make_config(train__stuck_after=0.1)), tmp_path)
    assert codes == [124]
    assert "no progress for" in capsys.readouterr().err
