"""Provenance: the code, command, machine, devices and versions of each start of a run.

provenance.json of a run directory holds:

inputs         the digests of everything that the run has read; see `grpo_jax.runs.inputs`
forked_from    the run and the step that a fork starts from; null of other runs
starts         a record for each start, the oldest first; see `this_start`
"""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

import grpo_jax
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.ending import Interrupted
from grpo_jax.runs.versions import code_digest, cores, versions

FILE = "provenance.json"
ROOT = Path(grpo_jax.__file__).resolve().parents[1]
CODE = f"{grpo_jax.__name__}/"  # untracked files below it count as changes, too

# Environment variables that decide which programs are compiled, or the bits of their results.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_ENABLE_X64",
    "JAX_PLATFORMS",
    "LIBTPU_INIT_ARGS",
    "NVIDIA_TF32_OVERRIDE",
    "PYTHONHASHSEED",
    "XLA_FLAGS",
)

HIDDEN = "***"
SECRET_NAME = re.compile(r"(?i)(^|[-_.])(password|passwd|secret|credentials?|token|api[-_]?key|access[-_]?key)$")
SECRET_TEXT = re.compile(
    r"(?<=://)[^/@\s]+(?=@)"  # user and password in a URL
    r"|(?i:(?<=[?&]token=)|(?<=[?&]key=)|(?<=[?&]sig=)|(?<=[?&]signature=)|(?<=[?&]password=))[^&\s]+"
    r"|\b(?:hf_|sk-|gh[pousr]_|github_pat_|xox[abp]-|glpat-|AKIA)[\w-]{8,}"
)


def now() -> str:
    """Return the current time in UTC, to the second, as in 2026-01-31T12:00:00+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def recorded_date(directory: RunDirectory) -> str | None:
    """Return the date of a run, which is the time of its first start; None if there is no record of it."""
    record = None if directory.untouched else directory.read_json(FILE)
    return str(record["inputs"]["date"]) if record and record["inputs"] else None


def this_start(devices: Sequence[jax.Device] = ()) -> dict[str, Any]:
    """Return the record of this start, as plain JSON values.

    `code` has the package's version, a hash of its source, the commit of its git checkout, and whether files differ
    from that commit. The last two are None if the package is not in a checkout of its own. The record names no host and
    no account, and anything in the command that looks like a secret is hidden.

    Args:
      devices: the devices that this start computes on.
    """
    return {
        "began": now(),
        "ended": None,  # stays None if the process is killed
        "outcome": None,
        "command": _command(sys.orig_argv),
        "code": {"version": grpo_jax.__version__, **_commit(ROOT), "digest": code_digest()},
        "host": {
            "processor": _processor(),
            "cores": cores(),
            "platform": platform.platform(),
            "processes": jax.process_count(),
        },
        "devices": {
            "kinds": sorted({device.device_kind for device in devices}),
            "count": len(devices),
        },
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "versions": versions(),
    }


@contextmanager
def recorded(directory: RunDirectory) -> Iterator[None]:
    """Record when and how the newest start of a directory ended, however this context is left."""
    outcome = "finished"
    try:
        yield
    except Interrupted:
        outcome = "stopped"
        raise
    except BaseException as error:
        outcome = f"failed: {type(error).__name__}"
        raise
    finally:
        record = directory.read_json(FILE)
        if record and record["starts"]:
            record["starts"][-1] |= {"ended": now(), "outcome": outcome}
            directory.write_json(FILE, record)


def without_inputs(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the part of provenance.json that a summary repeats: everything but the digests of inputs."""
    return {name: value for name, value in (record or {}).items() if name != "inputs"}


def origin(record: Mapping[str, Any] | None) -> str:
    """Return a line about the code, machine, devices and dates that numbers come from.

    Args:
      record: the content of provenance.json; None for runs that were begun before that file existed.
    """
    starts = record["starts"] if record else []
    if not starts:
        return "Code, machine and dates were not recorded."
    first, last = starts[0], starts[-1]
    parts = [
        " then ".join(_runs_of(_code(start["code"]) for start in starts)),
        " then ".join(_runs_of(_machine(start) for start in starts)),
        (
            "begun before starts were recorded"
            if record and record.get("begun_unrecorded")
            else f"begun {first['began']}"
        )
        + (f", ended {last['ended']}" if last["ended"] else ", no end recorded"),
    ]
    if len(starts) > 1:
        parts.append(f"{len(starts)} starts")
    forked = record.get("forked_from") if record else None
    if forked:
        parts.append(f"forked from {forked['run']} at step {forked['step']}")
    return "; ".join(parts) + "."


def made_by(start: Mapping[str, Any]) -> str:
    """Return a line about a single start: code, machine, devices and date."""
    return f"{_code(start['code'])}; {_machine(start)}; {start['began']}."


def same_code(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two starts ran the same source of this package."""
    return bool(first["code"]["digest"] == second["code"]["digest"])


def code_of(start: Mapping[str, Any]) -> str:
    """Return a phrase that says which code a start ran."""
    return _code(start["code"])


def devices_of(start: Mapping[str, Any]) -> str:
    """Return a phrase that says which devices a start computed on."""
    devices = start["devices"]
    return f"{devices['count']} x {'/'.join(devices['kinds'])}"


def _code(code: Mapping[str, Any]) -> str:
    said = f"grpo_jax {code['version']}"
    if code["commit"]:
        said += f", commit {code['commit'][:12]}"
    return said + (f" with changes (source {code['digest'][:8]})" if code["dirty"] else "")


def _machine(start: Mapping[str, Any]) -> str:
    host = start["host"]
    said = f"{host['processor']}, {host['cores']} core{'s' * (host['cores'] != 1)}"
    if host["processes"] > 1:
        said = f"{host['processes']} hosts of {said}"
    return f"{devices_of(start)} on {said}" if start["devices"]["count"] else said


def _runs_of(texts: Iterator[str]) -> list[str]:
    """Return the texts without those that repeat the one before."""
    kept: list[str] = []
    for text in texts:
        if kept[-1:] != [text]:
            kept.append(text)
    return kept


def _command(arguments: Sequence[str]) -> str:
    shown: list[str] = []
    hide = False
    for argument in [Path(arguments[0]).name, *arguments[1:]]:
        name, equals, _ = argument.partition("=")
        secret = bool(SECRET_NAME.search(name)) and (bool(equals) or name.startswith("-"))
        if hide:
            shown.append(HIDDEN)
        else:
            shown.append(f"{name}={HIDDEN}" if secret and equals else SECRET_TEXT.sub(HIDDEN, argument))
        hide = secret and not equals and not hide
    return shlex.join(shown)


def _commit(root: Path) -> dict[str, Any]:
    """Return the commit of a checkout and whether files differ. Both are None without a checkout or without git."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.strip()).resolve() != root:  # such as a package that is installed inside another project
        return {"commit": None, "dirty": None}
    commit, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    if commit is None or status is None:
        return {"commit": None, "dirty": None}
    changed = [line for line in status.splitlines() if not line.startswith("??") or line[3:].startswith(CODE)]
    return {"commit": commit.strip(), "dirty": bool(changed)}


def _git(root: Path, *arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # so that git writes nothing
    environment = {name: value for name, value in environment.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
