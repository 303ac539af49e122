"""Two processes with a device each, as on two hosts, make the same run as one process with two devices."""

import signal

import jax
import pytest

from grpo_jax.runs.directory import RunDirectory
from grpo_jax.training import train_config
from tests.commands.test_train import COMMAND, wait_for
from tests.helpers import make_config, metrics, start, tiny_flags
from tools.compare_commits import loopback_cluster


def start_both(workdir, cache, *, by_hand=False, **changes):
    """Start the launcher in two processes that find each other as under SLURM, or by flags alone."""
    flags = (*COMMAND, "--stopped-code=42", f"--workdir={workdir}", *tiny_flags(**changes))
    processes = []
    for place, variables in enumerate(loopback_cluster(2)):
        joining, cluster = ["--distributed"], variables
        if by_hand:
            joining = [f"--coordinator={variables['JAX_COORDINATOR_ADDRESS']}", "--processes=2", f"--process={place}"]
            cluster = {}
        processes.append(start(*flags, *joining, **cluster, XDG_CACHE_HOME=str(cache / str(place))))
    return processes


def finish(processes, code=0):
    """Return the lines that each process printed."""
    printed = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [code, code], printed
    return [[line for line in out.splitlines() if "[Gloo]" not in line] for out, _ in printed]


@pytest.mark.slow
def test_two_processes_are_one_run_also_when_one_of_them_is_stopped(tmp_path, monkeypatch):
    changes = {"train__steps": 24, "evaluation__every": 12, "checkpoint__every": 12}
    # Each process judges one of the two groups of a batch; which groups are replaced depends on the verdicts of both.
    changes |= {"rollout__prompts_per_batch": 2, "rollout__max_rollouts": 24, "train__minibatches": 2}
    together, apart = tmp_path / "together", tmp_path / "apart"

    # The second process will find this base policy in its cache and the first will not: they must go the same way.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "1"))
    longer = make_config(**changes | {"train__steps": 26})
    train_config(longer, together, devices=jax.devices()[:2])

    processes = start_both(apart, tmp_path, **changes)
    wait_for(processes[0], apart, "train")
    processes[1].send_signal(signal.SIGTERM)
    first, second = finish(processes, code=42)
    (_, at), (_, at_too) = (lines[-1].split(": ") for lines in (first, second))
    assert at == at_too
    assert "the same command continues" in at

    first, second = finish(start_both(apart, tmp_path, by_hand=True, **changes))
    assert any("after RL" in line for line in first)
    assert second == []  # one of them speaks for both
    summary = RunDirectory(apart).summary()
    assert [use.seconds["total"] > use.waited > 0 for use in summary.processes] == [True, True]
    assert summary.processes[0].seconds == summary.seconds
    assert sum(use.slowest_steps for use in summary.processes) == 24

    # A single process extends the run. It reads what both have written.
    assert {path.name[-1] for path in apart.glob("checkpoints/24/state/ocdbt.process_*")} == {"0", "1"}
    train_config(longer, apart, devices=jax.devices()[:2])
    assert not (apart / "checkpoints_damaged").exists()
    lines = [line for line in metrics(apart) if (line["step"], line.get("split")) != (24, "TEST")]
    for ours, theirs in zip(lines, metrics(together), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            if isinstance(value, float):
                assert value == pytest.approx(theirs[name], rel=1e-3, abs=1e-4), name
            else:
                assert value == theirs[name], name
