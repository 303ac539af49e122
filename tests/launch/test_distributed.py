"""Two processes with a device each, as on two hosts: one run, the one that two devices of a single process make."""

import json
import signal
import socket

import pytest

from tests.helpers import start, tiny_flags
from tests.launch.test_main import COMMAND, wait_for

TIMES = ("seconds", "tokens_per_second")


def start_both(workdir, cache, **changes):
    """The launcher on two processes that find each other as SLURM's do."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    cluster = {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_LOCALID": "0",
    }
    flags = (*COMMAND, "--distributed", f"--workdir={workdir}", *tiny_flags(**changes))
    return [start(*flags, **cluster, SLURM_PROCID=str(i), XDG_CACHE_HOME=str(cache / str(i))) for i in range(2)]


def finish(processes):
    """The lines that each printed."""
    printed = [process.communicate() for process in processes]
    assert not any(process.returncode for process in processes), printed
    return [[line for line in out.splitlines() if "[Gloo]" not in line] for out, _ in printed]


def metrics(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


@pytest.mark.slow
def test_two_processes_are_one_run(tmp_path):
    first, second = finish(start_both(tmp_path / "apart", tmp_path))
    assert any("after RL" in line for line in first)
    assert second == []  # one of them speaks for both

    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    finish([start(*COMMAND, f"--workdir={tmp_path / 'together'}", *tiny_flags(), **environment)])
    for ours, theirs in zip(metrics(tmp_path / "apart"), metrics(tmp_path / "together"), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            if isinstance(value, float):
                assert value == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), name
            else:
                assert value == theirs[name]

    # With a base policy in the second's cache and none in the first's, they must not go different ways.
    (tmp_path / "0" / "grpo_jax").rename(tmp_path / "1" / "grpo_jax")
    finish(start_both(tmp_path / "again", tmp_path))
    assert metrics(tmp_path / "again") == metrics(tmp_path / "apart")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_the_same_step(tmp_path):
    changes = {"train__steps": 200, "evaluation__every": 0, "checkpoint__keep_best": 0}
    processes = start_both(tmp_path / "run", tmp_path, **changes)
    wait_for(processes[0], tmp_path / "run", "train")
    processes[1].send_signal(signal.SIGTERM)
    first, second = finish(processes)
    (_, at), (_, at_too) = (lines[-1].split(": ") for lines in (first, second))
    assert at == at_too
    assert "the same command continues" in at

    finish(start_both(tmp_path / "run", tmp_path, **changes))
    steps = [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "train"]
    assert steps == list(range(1, 201))
