"""The flags of runs on several hosts, and what a cluster says without them."""

import argparse

import jax
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.joining import NotJoined, Place, add_flags, flags, join, several_hosts

BY_HAND = ["--coordinator=localhost:1", "--processes=4", "--process=3"]
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "gpu[01-02]",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


def parsed(*argv):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return parser.parse_args(argv)


@pytest.fixture
def started(monkeypatch):
    """The places at which JAX was started, each with the keyword arguments."""
    calls = []
    monkeypatch.setattr(flags, "meet", lambda place, seconds: None)
    monkeypatch.setattr(flags, "start_relay", lambda first: "relay to {}:{}".format(*first))
    monkeypatch.setattr(jax.config, "update", lambda name, value: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *place, **others: calls.append((Place(*place), others)))
    return calls


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (BY_HAND[:1], "--coordinator: no effect without --processes and --process; give all three."),
        (["--distributed", *BY_HAND[1:]], "--processes, --process: no effect without --coordinator; give all three."),
        ([*BY_HAND, "--process=4"], "--process=4: must be below --processes=4; they count from 0."),
        (["--local-devices=0"], "--local-devices: is for several hosts; add --distributed, or --coordinator, "),
        (["--heartbeat-seconds=9"], "--heartbeat-seconds: is for several hosts; add --distributed, or --coordinator, "),
    ],
)
def test_flags_that_contradict_each_other(argv, sentence, started):
    with pytest.raises(ConfigError) as refused:
        join(parsed(*argv))
    assert str(refused.value).startswith(sentence)
    assert started == []


@pytest.mark.parametrize(
    "argv",
    [
        ["--coordinator=localhost"],
        ["--coordinator=:1"],
        ["--processes=0"],
        ["--process=-1"],
        ["--process=x"],
        ["--local-devices=0,0"],
        ["--local-devices=0,"],
        ["--join-seconds=0"],
    ],
)
def test_values_that_cannot_be_read(argv, capsys):
    with pytest.raises(SystemExit):
        parsed(*argv)
    name, _, value = argv[0].partition("=")
    assert f"argument {name}: '{value}' is " in capsys.readouterr().err


def test_a_process_alone_joins_nobody(started):
    assert not several_hosts(parsed())
    join(parsed())
    assert started == []


def test_processes_are_joined_by_hand(started, monkeypatch):
    monkeypatch.setattr("os.environ", SLURM)  # which counts less than the flags
    assert several_hosts(parsed(*BY_HAND))
    join(parsed(*BY_HAND, "--local-devices=2,3", "--join-seconds=9", "--heartbeat-seconds=8"))
    join(parsed(*BY_HAND))
    (place, others), (default, _) = started
    assert place == Place("relay to localhost:1", 4, 3, (2, 3))
    assert (others["initialization_timeout"], others["heartbeat_timeout_seconds"]) == (9, 8)
    assert default.local_devices == ()  # all


@pytest.mark.parametrize(
    ("changes", "argv", "devices"),
    [
        ({}, [], ()),  # the node's only process has all of its GPUs
        ({"SLURM_NTASKS": "16", "SLURM_LOCALID": "3"}, [], (3,)),
        ({"SLURM_NTASKS": "16", "SLURM_LOCALID": "3"}, ["--local-devices=all"], ()),
        ({"SLURM_NTASKS": "16", "SLURM_LOCALID": "1", "JAX_LOCAL_DEVICE_IDS": "2,3"}, [], (2, 3)),
    ],
)
def test_slurm_says_where_a_process_is(changes, argv, devices, started, monkeypatch):
    environment = SLURM | changes
    monkeypatch.setattr("os.environ", environment)
    join(parsed("--distributed", *argv))
    ((place, _),) = started
    assert place == Place(f"relay to gpu01:{61440 + 7}", int(environment["SLURM_NTASKS"]), 1, devices)


def test_without_a_cluster(started, monkeypatch):
    monkeypatch.setattr("os.environ", {})
    with pytest.raises(ConfigError, match="neither a TPU pod nor a job of SLURM, Open MPI or Kubernetes"):
        join(parsed("--distributed"))
    monkeypatch.setattr("os.environ", SLURM | {"SLURM_PROCID": "unknown"})
    with pytest.raises(NotJoined, match="the cluster does not say where its processes are"):
        join(parsed("--distributed"))
    assert started == []
