"""The record of a start: command, code, machine and versions, without anything that looks like a secret.

Beside it: the age and the memory of the process that was started.
"""

import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

import grpo_jax
from grpo_jax.runs.provenance import Code, Devices, Host, Start, now
from grpo_jax.runs.versions import code_digest, cores, versions

LOADED = time.perf_counter()

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


def this_start(devices: Sequence[jax.Device] = ()) -> Start:
    """Return the record of this start.

    Args:
      devices: the devices that it computes on.
    """
    return Start(
        began=now(),
        ended=None,
        outcome=None,
        command=_command(sys.orig_argv),
        code=_code(ROOT),
        host=Host(processor=_processor(), cores=cores(), platform=platform.platform(), processes=jax.process_count()),
        devices=Devices(kinds=sorted({device.device_kind for device in devices}), count=len(devices)),
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        versions=versions(),
    )


def process_age() -> float:
    """Return the seconds since this process was started (or loaded this module, if the system does not tell)."""
    try:
        started = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.perf_counter() - LOADED


def peak_bytes(devices: Sequence[jax.Device]) -> dict[str, int]:
    """Return the most memory that was in use so far: by this process on its host, and on one of its devices.

    Devices that do not count their memory, such as CPUs, have no entry.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if of_devices := device_peaks(devices):
        peaks["device"] = max(of_devices.values())
    return peaks


def device_peaks(devices: Sequence[jax.Device]) -> dict[int, int]:
    """Return the most bytes that were in use so far on each device of this process that counts them, by its id."""
    own = [device for device in devices if device.process_index == jax.process_index()]
    counted = {device.id: device.memory_stats() or {} for device in own}
    return {device: stats["peak_bytes_in_use"] for device, stats in counted.items() if "peak_bytes_in_use" in stats}


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


def _code(root: Path) -> Code:
    commit, dirty = _commit(root)
    return Code(version=grpo_jax.__version__, commit=commit, dirty=dirty, digest=code_digest())


def _commit(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit of a checkout and whether files differ. Both are None without a checkout or without git."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.strip()).resolve() != root:  # such as a package that is installed inside another project
        return None, None
    commit, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    if commit is None or status is None:
        return None, None
    changed = [line for line in status.splitlines() if not line.startswith("??") or line[3:].startswith(CODE)]
    return commit.strip(), bool(changed)


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
