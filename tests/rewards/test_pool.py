"""Worker processes: limits, kills, threads, and what is left of them."""

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from grpo_jax.rewards.mathematics import pool as pool_module
from grpo_jax.rewards.mathematics.pool import Pool, WorkerError
from tests.helpers import ROOT

SECONDS = 0.3


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(pool_module, "MODULE", "tests.rewards.misbehaving_worker")
    made = Pool(workers=2, seconds=SECONDS, memory_mb=512)
    yield made
    made.close()


def outcomes(pool, *answers):
    return pool.outcomes([("gold", answer) for answer in answers])


@pytest.mark.trap(37)
def test_workers_are_processes_of_their_own_that_never_import_jax(pool):
    assert outcomes(pool, "jax", "own process") == ["right", "right"]


@pytest.mark.trap(37)
@pytest.mark.trap(39)
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("loop", "timed_out"),
        ("hang", "timed_out"),
        ("exit", "killed"),
        ("memory", "memory"),
        ("raise", "error"),
        ("segfault", "crashed"),
    ],
)
def test_what_one_pair_does_is_no_other_pairs_trouble(pool, answer, outcome):
    assert outcomes(pool, "right", answer, "wrong", answer, "right", "wrong") == [
        "right",
        outcome,
        "wrong",
        outcome,
        "right",
        "wrong",
    ]


def test_an_ordinary_time_out_does_not_cost_a_process(pool):
    outcomes(pool, "right", "right")
    before = {worker._process.pid for worker in pool._all}
    assert outcomes(pool, "loop") == ["timed_out"]
    assert {worker._process.pid for worker in pool._all} == before
    assert outcomes(pool, "hang") == ["timed_out"]
    assert {worker._process.pid for worker in pool._all} != before


def test_limits_from_outside_are_kept_to(pool):
    outcomes(pool, "right", "right")
    for worker in pool._all:
        resource.prlimit(worker._process.pid, resource.RLIMIT_CPU, (1, 1))
    assert outcomes(pool, "right", "wrong", "loop") == ["right", "wrong", "timed_out"]


@pytest.mark.parametrize(("answer", "most"), [("loop", SECONDS), ("hang", SECONDS + 2)])
def test_a_pair_is_given_its_seconds_of_computing(pool, answer, most):
    outcomes(pool, "right", "right")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcomes(pool, answer)
    pool.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    assert SECONDS <= spent < most + 2  # with what two workers took to start


@pytest.mark.trap(37)
def test_verdicts_do_not_depend_on_what_else_the_machine_does(pool):
    answers = ("work", "loop", "work", "wrong", "work", "work")
    alone = outcomes(pool, *answers)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    core = min(os.sched_getaffinity(0))  # all on one, which leaves the others to other tests
    for process in (*busy, *(worker._process for worker in pool._all)):
        os.sched_setaffinity(process.pid, {core})
    start = time.monotonic()
    try:
        beside = outcomes(pool, *answers)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert time.monotonic() - start > SECONDS * len(answers) / 2  # or they were not busy
    assert alone == beside == ["right", "timed_out", "right", "wrong", "right", "right"]


def test_a_worker_that_is_stopped_for_a_while_goes_on_where_it_was(pool):
    outcomes(pool, "right", "right")
    processes = [worker._process for worker in pool._all]
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(outcomes, pool, "work", "work")
        time.sleep(SECONDS / 6)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        time.sleep(SECONDS)
        for process in processes:
            process.send_signal(signal.SIGCONT)
        assert found.result() == ["right", "right"]
    assert {worker._process for worker in pool._all} == set(processes)


@pytest.mark.trap(37)
@pytest.mark.parametrize("answer", ["sleep", "stop"])
def test_a_worker_that_is_not_heard_of_is_replaced_and_says_nothing_of_its_pair(pool, monkeypatch, answer):
    outcomes(pool, "right")
    with monkeypatch.context() as patched:
        patched.setattr(pool_module, "SILENT_SECONDS", 0.1)
        patched.setattr(pool_module, "SILENT_PER_SECOND", 0.0)
        assert outcomes(pool, answer) == ["stuck"]
    assert outcomes(pool, "right", "right") == ["right", "right"]


@pytest.mark.trap(37)
@pytest.mark.parametrize("answer", ["killed once", "stopped once"])
def test_a_pair_whose_worker_was_ended_from_outside_is_tried_again(pool, monkeypatch, tmp_path, caplog, answer):
    monkeypatch.setenv("MISBEHAVED", str(tmp_path / "misbehaved"))
    monkeypatch.setattr(pool_module, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(pool_module, "SILENT_PER_SECOND", 0.0)
    assert outcomes(pool, answer) == ["right"]
    assert len(caplog.records) == 1
    assert "is replaced" in caplog.text


@pytest.mark.trap(37)
@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_a_worker_that_is_killed_while_it_starts_is_started_again(monkeypatch, tmp_path, times):
    left = tmp_path / "left"
    left.write_text("x" * times)
    monkeypatch.setenv("KILLED_AT_START", str(left))
    monkeypatch.setattr(pool_module, "MODULE", "tests.rewards.misbehaving_worker")
    made = Pool(workers=1, seconds=SECONDS, memory_mb=512)
    if times < 4:  # the first one, and three more
        assert outcomes(made, "right", "wrong") == ["right", "wrong"]
    else:
        with pytest.raises(WorkerError, match="does not start, in 4 tries"):
            outcomes(made, "right")
    made.close()


@pytest.mark.trap(37)
def test_it_works_from_several_threads_at_once(pool):
    """A time-out by signals raises, or scores 0, in all threads but the first."""
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: outcomes(pool, "right", "loop", "wrong"), range(4)))
    assert found == [["right", "timed_out", "wrong"]] * 4


def test_what_libraries_print_is_no_reply(pool):
    assert outcomes(pool, "noise", "wrong", "noise", "right") == ["right", "wrong", "right", "right"]


def test_nothing_is_started_before_the_first_need():
    made = Pool(workers=2, seconds=1, memory_mb=512)
    assert not made._all
    made.close()


def test_closing_ends_the_processes_and_may_be_repeated(pool):
    outcomes(pool, "right")
    processes = [worker._process for worker in pool._all]
    pool.close()
    pool.close()
    assert all(process.poll() is not None for process in processes)
    with pytest.raises(WorkerError, match="was closed"):
        outcomes(pool, "right")


def test_a_worker_that_cannot_start_is_reported(monkeypatch):
    monkeypatch.setattr(pool_module, "MODULE", "tests.rewards.no_such_module")
    made = Pool(workers=1, seconds=1, memory_mb=512)
    with pytest.raises(WorkerError, match="does not start"):
        outcomes(made, "right")
    made.close()


PARENT = """
import os, signal, threading
from grpo_jax.rewards.mathematics import pool as pool_module
pool_module.MODULE = "tests.rewards.misbehaving_worker"
pool = pool_module.Pool(workers=2, seconds=60, memory_mb=512)
pool.outcomes([("gold", "right")] * 4)
threading.Thread(target=pool.outcomes, args=([("gold", "sleep")],), daemon=True).start()
print(*[worker._process.pid for worker in pool._all], flush=True)
threading.Event().wait(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.trap(37)
def test_workers_do_not_outlive_their_parent():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.run([sys.executable, "-c", PARENT], env=environment, capture_output=True, text=True)
    workers = [int(pid) for pid in parent.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, workers))


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
