"""Provenance: the code, command, machine, devices and versions of each start of a run, and the run that it forks.

Records of runs, summaries, suites and analyses hold it. `grpo_jax.runs.starts` makes it. Nothing here imports JAX.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from grpo_jax.config import counted
from grpo_jax.json_record import JsonRecord

PROVENANCE_FILE = "provenance.json"  # see `grpo_jax.runs.record`
FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"  # how a start ended; the error follows FAILED


@dataclass(frozen=True)
class Code(JsonRecord):
    """The code of this package. Without a checkout of its own, its commit and whether it is dirty are None."""

    version: str
    commit: str | None  # of the git checkout
    dirty: bool | None  # whether files differ from that commit
    digest: str  # of the source

    def __str__(self) -> str:
        """Return the version and the commit as a phrase."""
        commit = f", commit {self.commit[:12]}" if self.commit else ""
        return f"grpo_jax {self.version}{commit}" + (f" with changes (source {self.digest[:8]})" if self.dirty else "")


@dataclass(frozen=True)
class Host(JsonRecord):
    """The machine of a process, and how many processes compute together."""

    processor: str
    cores: int
    platform: str
    processes: int


@dataclass(frozen=True)
class Devices(JsonRecord):
    """The devices of all processes together."""

    kinds: Sequence[str]
    count: int

    def __str__(self) -> str:
        return f"{self.count} x {'/'.join(self.kinds)}"


@dataclass(frozen=True)
class Start(JsonRecord):
    """A start of a run, an evaluation or an analysis.

    Nothing in it names a host or an account, and anything in the command that looks like a secret is hidden.
    """

    began: str  # UTC, to the second
    ended: str | None  # None as long as it goes on, and if the process was killed
    outcome: str | None  # FINISHED, STOPPED, or FAILED with an error
    command: str
    code: Code
    host: Host
    devices: Devices
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    changed: Mapping[str, Any] | None = None  # fields of the configuration that changed with this start: before, now

    @property
    def machine_name(self) -> str:
        """The devices and the hosts, as a phrase."""
        host = self.host
        name = f"{host.processor}, {counted(host.cores, 'core')}"
        if host.processes > 1:
            name = f"{counted(host.processes, 'host')} of {name}"
        return f"{self.devices} on {name}" if self.devices.count else name

    def __str__(self) -> str:
        return f"{self.code}; {self.machine_name}; {self.began}."


@dataclass(frozen=True)
class ForkedFrom(JsonRecord):
    """The run and the step that a fork starts from."""

    run: str
    step: int
    config_hash: str
    starts: Sequence[Start]  # of that run


@dataclass(frozen=True)
class Provenance(JsonRecord):
    """The starts of a run, the oldest first, and what it is a fork of."""

    starts: Sequence[Start]
    forked_from: ForkedFrom | None
    begun_unrecorded: bool = False  # whether an earlier version began the run, which did not record starts


def origin(provenance: Provenance | None) -> str:
    """Return a line about the code, machine, devices and dates that numbers come from.

    Args:
      provenance: None for runs of versions that did not record it.
    """
    if provenance is None or not provenance.starts:
        return "Code, machine and dates were not recorded."
    starts, forked = provenance.starts, provenance.forked_from
    first, last = starts[0], starts[-1]
    parts = [
        " then ".join(_without_repetitions(str(start.code) for start in starts)),
        " then ".join(_without_repetitions(start.machine_name for start in starts)),
        ("begun before starts were recorded" if provenance.begun_unrecorded else f"begun {first.began}")
        + (f", ended {last.ended}" if last.ended else ", no end recorded"),
    ]
    if len(starts) > 1:
        parts.append(counted(len(starts), "start"))
    if forked:
        parts.append(f"forked from {forked.run} at step {forked.step}")
    return "; ".join(parts) + "."


def now() -> str:
    """Return the current time in UTC, to the second, as in 2026-01-31T12:00:00+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _without_repetitions(texts: Iterable[str]) -> list[str]:
    """Return the texts without those that repeat the one before."""
    kept: list[str] = []
    for text in texts:
        if kept[-1:] != [text]:
            kept.append(text)
    return kept
