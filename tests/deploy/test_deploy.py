"""The scripts of deploy/, with recorders in place of the commands that they call."""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from grpo_jax.commands import train
from grpo_jax.config import load
from tests.helpers import ROOT

DEPLOY = ROOT / "deploy"
RECORDED = (
    "chmod", "docker", "gcloud", "grpo", "journalctl", "kubectl", "mount", "mountpoint", "pip", "sbatch", "scontrol",
    "sky", "squeue", "srun", "ssh", "sudo", "systemctl", "tee", "xpk",
)  # fmt: skip
GOOGLE = {"PROJECT": "p", "ZONE": "z", "TPU_TYPE": "v6e-16", "IMAGE": "europe-docker.pkg.dev/p/r/grpo:1"}
FLAGS = ("--config=two_grpo", "--config.objective.name=mine:A B")


class Machine:
    """Runs scripts where RECORDED are the recorders."""

    def __init__(self, place):
        self.place = place
        self.record, self.answers, commands = place / "record", place / "answers", place / "bin"
        self.answers.mkdir()
        commands.mkdir()
        for name in RECORDED:
            script = f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__).with_name("recorder.py")} {name} "$@"\n'
            (commands / name).write_text(script)
            (commands / name).chmod(0o755)
        self.path = f"{commands}{os.pathsep}{os.environ['PATH']}"

    def answer(self, name, *answers):
        """Let a command answer its next calls with each (part of its arguments, output, exit code)."""
        (self.answers / name).write_text(json.dumps(answers))

    def run(self, *command, at=None, **variables):
        environment = {"PATH": self.path, "RECORD": str(self.record), "ANSWERS": str(self.answers), **variables}
        return subprocess.run(
            command, cwd=at or self.place, env=environment, capture_output=True, text=True, timeout=60
        )

    def calls(self, *names):
        """Return the calls of some commands, in their order."""
        written = self.record.read_text() if self.record.exists() else ""
        calls = [json.loads(line) for line in written.splitlines()]
        return [call for call in calls if call[0] in names]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def assert_trains(words, capsys):
    """Check that words are a command of `grpo train` with known flags, which may contradict the configuration."""
    flags = [word for word in words if not word.startswith("--config=")]
    assert train.main([*flags, "--config=nowhere"]) == 2  # and not ended by the parser
    assert capsys.readouterr().err.startswith("error: --config=nowhere: no such file")


@pytest.mark.parametrize("script", [*sorted(DEPLOY.glob("*.sh")), DEPLOY / "slurm.sbatch"], ids=lambda path: path.name)
def test_scripts_are_bash_and_executable(script):
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize(
    ("code", "restarts", "again"),
    [(0, 0, False), (42, 99, True), (1, 0, False), (143, 0, False), (124, 49, True), (137, 50, False)],
)
def test_slurm_queues_a_stopped_run_again(code, restarts, again, machine, capsys):
    machine.answer("srun", ("", "", code))
    done = machine.run(
        "bash",
        DEPLOY / "slurm.sbatch",
        *FLAGS,
        "--workdir=/shared/a",
        SLURM_JOB_ID="7",
        SLURM_RESTART_COUNT=str(restarts),
    )
    assert done.returncode == code
    ((_, *words),) = machine.calls("srun")
    start = words.index("grpo")
    assert all(word.startswith("--") for word in words[:start])
    assert words[start + 1] == "train"
    assert words[start + 2 :][: len(FLAGS)] == list(FLAGS)
    assert_trains(words[start + 2 :], capsys)
    assert machine.calls("scontrol") == [["scontrol", "requeue", "7"]] * again


def test_slurm_gives_time_to_save():
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", (DEPLOY / "slurm.sbatch").read_text(), re.MULTILINE))
    assert options["signal"] == "TERM@120"  # to the processes; B: would be to the script
    assert "requeue" in options
    assert options["ntasks-per-node"] == "1"  # with all GPUs of the node


def test_xpk_restarts_a_stopped_run(machine, capsys):
    flags = (*FLAGS, "--workdir=/data/a")
    done = machine.run("bash", DEPLOY / "xpk.sh", "a", *flags, **GOOGLE, CLUSTER="c", STORAGE="s", GRACE="60")
    assert done.returncode == 0, done.stderr
    ((_, *words),) = machine.calls("xpk")
    options = dict(word.removeprefix("--").split("=", 1) for word in words[2:])
    assert words[:2] == ["workload", "create"]
    assert options.pop("command").startswith("exec grpo train ")
    assert options == {
        "workload": "a",
        "project": "p",
        "zone": "z",
        "cluster": "c",
        "tpu-type": "v6e-16",
        "num-slices": "1",
        "docker-image": GOOGLE["IMAGE"],
        "storage": "s",
        "max-restarts": "50",
        "restart-on-exit-codes": "124",
        "termination-grace-period-seconds": "60",
    }
    (command,) = (word.partition("=")[2] for word in words if word.startswith("--command="))
    assert machine.run("bash", "-c", f"({command})").returncode == 0  # as xpk does
    ((_, subcommand, *given),) = machine.calls("grpo")
    assert subcommand == "train"
    assert given == [*flags, "--distributed", "--stopped-code=42"]
    assert_trains(given, capsys)


# Fields that SkyPilot knows, with the types of their values: docs.skypilot.co/en/latest/reference/yaml-spec.html
TASK = {
    "name": str, "workdir": str, "num_nodes": int, "resources": dict, "envs": dict, "file_mounts": dict,
    "volumes": dict, "setup": str, "run": str,
}  # fmt: skip
RESOURCES = {"infra": str, "accelerators": str, "use_spot": bool, "job_recovery": dict}
# docs.skypilot.co/en/latest/reference/volumes.html
VOLUME = {"name": str, "type": str, "infra": str, "size": str, "config": dict}


def sky_file(name):
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("name", ["sky.yaml", "sky-nodes.yaml"])
def test_sky_starts_the_run_of_all_its_nodes(name, machine, capsys):
    task = sky_file(name)
    for section, fields in ((task, TASK), (task["resources"], RESOURCES)):
        assert {field: type(value) for field, value in section.items()}.items() <= fields.items()
    (machine.place / ".venv" / "bin").mkdir(parents=True)
    (machine.place / ".venv" / "bin" / "activate").touch()
    sky = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}
    done = machine.run("bash", "-c", task["run"], **sky, RUN="a", FLAGS="--config=two_grpo --config.seed=1")
    assert done.returncode == 0, done.stderr
    ((_, subcommand, *given),) = machine.calls("grpo")
    assert subcommand == "train"
    assert given[:3] == ["--config=two_grpo", "--config.seed=1", "--workdir=/grpo/runs/a"]
    assert given[-3:] == ["--coordinator=10.0.0.1:8476", "--processes=2", "--process=1"]
    assert_trains(given, capsys)


def test_sky_mounts_what_the_nodes_can_share():
    task, nodes, volume = map(sky_file, ("sky.yaml", "sky-nodes.yaml", "sky-volume.yaml"))
    assert task["num_nodes"] == 1
    assert task["envs"] == dict.fromkeys(("RUN", "BUCKET", "FLAGS"))
    assert task["file_mounts"] == {"/grpo": {"name": "${BUCKET}", "mode": "MOUNT_CACHED"}}
    assert nodes["num_nodes"] > 1
    assert nodes["envs"] == dict.fromkeys(("RUN", "FLAGS"))
    assert nodes["volumes"] == {"/grpo": volume["name"]}
    assert nodes["resources"]["infra"] == volume["infra"]
    assert {field: type(value) for field, value in volume.items()} == VOLUME
    assert volume["config"] == {"access_mode": "ReadWriteMany"}
    for part in ("workdir", "setup", "run"):
        assert nodes[part] == task[part]


def commands_of(section):
    """Return the commands in a section of the page on clusters."""
    page = (ROOT / "docs" / "clusters.md").read_text()
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return "".join(f"{line[4:]}\n" for line in text.splitlines() if line.startswith("    "))


@pytest.mark.parametrize(
    "section", ["SLURM", "TPUs in GKE, with xpk", "Spot instances, with SkyPilot", "A queued TPU slice"]
)
def test_the_commands_of_the_page_start_a_run(section, machine):
    machine.answer("gcloud", ("describe", "10.0.0.2\n", 0), *[("list", "ACTIVE\n", 0)] * 2)
    machine.answer("systemctl", ("show", "inactive\n", 0), ("show", "finished\n", 0))
    place = {"POLL": "0", "MOUNT": str(machine.place / "mnt")}
    done = machine.run("bash", "-euc", commands_of(section), at=ROOT, **place)
    assert done.returncode == 0, done.stderr
    started = [" ".join(words) for words in machine.calls("sbatch", "xpk", "sky", "tee")]
    launched = re.findall(r"--config=two_grpo[^\n]*", "\n".join(started))
    assert launched
    for flags in launched:
        load("two_grpo", re.findall(r"--config\.([\w.]+)=(\S+)", flags))  # the fields are there


def watch(machine, **variables):
    places = {
        "SHARE": "10.0.0.2:/share",
        "RUNTIME": "v2-alpha-tpuv6e",
        "MOUNT": str(machine.place / "mnt"),
        "POLL": "0",
    }
    return machine.run("bash", DEPLOY / "queued.sh", "a", *FLAGS, **GOOGLE, **places, **variables)


def asked(machine):
    """Return what was asked of Google's TPUs, but for the list of slices."""
    calls = [call[3:] for call in machine.calls("gcloud") if call[1:3] == ["compute", "tpus"]]
    assert all({"--project=p", "--zone=z"} <= {*call} for call in calls)
    return [call[1:] for call in calls if call[1] != "list"]


def test_a_queued_slice_is_made_again_until_the_run_is_finished(machine):
    states = ("", "WAITING_FOR_RESOURCES", "ACTIVE", "ACTIVE", "SUSPENDED", "", "ACTIVE", "ACTIVE", "ACTIVE")
    machine.answer("gcloud", ("list", "", 1), *[("list", f"{state}\n" if state else "", 0) for state in states])
    seen = ("inactive", "active", "inactive", "activating", "finished")
    machine.answer("systemctl", *[("show", f"{state}\n", 0) for state in seen])
    done = watch(machine, SPOT="1")
    assert done.returncode == 0, done.stderr
    verbs = [call[0] for call in asked(machine)]
    assert [verb for verb in verbs if verb != "ssh"] == ["create", "delete", "create", "scp", "delete"]
    create, again = (call for call in asked(machine) if call[0] == "create")
    assert create == again
    assert create[1:] == [
        "a", "--node-id=a", "--accelerator-type=v6e-16", "--runtime-version=v2-alpha-tpuv6e", "--spot", "--project=p",
        "--zone=z",
    ]  # fmt: skip
    workers = [call[3] for call in asked(machine) if call[0] == "ssh"]
    assert workers.count("--worker=all") == 2  # once for each slice
    assert workers.count("--worker=0") == len(seen)


def test_a_finished_run_is_fetched_and_its_slice_deleted(machine):
    summary = machine.place / "mnt" / "runs" / "a" / "summary.json"
    summary.parent.mkdir(parents=True)
    summary.touch()
    machine.answer("gcloud", ("list", "ACTIVE\n", 0))
    assert watch(machine).returncode == 0
    look, fetch, delete = asked(machine)
    assert look[0] == "ssh"
    assert fetch[:3] == ["scp", f"a:{summary.parent}/report.html", "a.html"]
    assert delete[:2] == ["delete", "a"]
    assert {"--force", "--quiet"} <= {*delete}


def test_a_failed_run_ends_with_its_last_words(machine):
    machine.answer("gcloud", ("list", "ACTIVE\n", 0))
    machine.answer("systemctl", ("show", "failed\n", 0))
    machine.answer("journalctl", ("", "error: no update was made\n", 0))
    done = watch(machine)
    assert done.returncode == 1
    assert "error: no update was made" in done.stdout
    assert [call[0] for call in asked(machine)] == ["ssh", "ssh", "delete"]


def test_the_service_of_a_slice(machine, capsys):
    machine.answer("gcloud", ("list", "ACTIVE\n", 0), ("list", "ACTIVE\n", 0))
    machine.answer("systemctl", ("show", "inactive\n", 0), ("show", "finished\n", 0))
    assert watch(machine).returncode == 0
    written = {path: text for _, path, text in machine.calls("tee")}
    unit = configparser.ConfigParser()
    unit.optionxform = str
    unit.read_string(written["/etc/systemd/system/grpo.service"])
    assert unit["Service"]["ExecStart"] in written
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Service"]["RestartPreventExitStatus"] == "1 2"
    assert ["systemctl", "enable", "--now", "grpo"] in machine.calls("systemctl")

    machine.answer("mountpoint", ("", "", 1))
    script = machine.place / "grpo-run"
    script.write_text(written["/usr/local/bin/grpo-run"])
    assert machine.run("bash", script).returncode == 0
    mount = str(machine.place / "mnt")
    assert machine.calls("mount") == [["mount", "-t", "nfs", "10.0.0.2:/share", mount]]
    assert ["gcloud", "auth", "configure-docker", "--quiet", "europe-docker.pkg.dev"] in machine.calls("gcloud")
    ((_, *words),) = machine.calls("docker")
    image = words.index(GOOGLE["IMAGE"])
    assert f"--volume={mount}:{mount}" in words[:image]
    assert words[image + 1] == "train"
    assert words[image + 2 :] == [*FLAGS, f"--workdir={mount}/runs/a", "--distributed", "--stopped-code=42"]
    assert_trains(words[image + 2 :], capsys)
