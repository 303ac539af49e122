"""Provenance: the code, command, machine, devices and versions of each start of a run, and the run that it forks.

Records of runs, summaries, suites and analyses hold it. `grpo_jax.runs.starts` makes it. Nothing here imports JAX.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_jax.json_record import JsonRecord

PROVENANCE_FILE = "provenance.json"  # see `grpo_jax.runs.record`


@dataclass(frozen=True)
class Start(JsonRecord):
    """A start of a run, an evaluation or an analysis. Its mappings hold plain JSON values.

    Nothing in it names a host or an account, and anything in the command that looks like a secret is hidden.
    """

    began: str  # UTC, to the second
    ended: str | None  # None as long as it goes on, and if the process was killed
    outcome: str | None  # finished, stopped, or failed with an error
    command: str
    # The package's version, the digest of its source, and the commit of its git checkout and whether files differ from
    # that commit. The last two are None if the package is not in a checkout of its own.
    code: Mapping[str, Any]
    host: Mapping[str, Any]
    devices: Mapping[str, Any]
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    changed: Mapping[str, Any] | None = None  # fields of the configuration that changed with this start: before, now

    @property
    def code_digest(self) -> str:
        """The digest of this package's source."""
        return str(self.code["digest"])

    @property
    def code_name(self) -> str:
        """The version and the commit of the code, as a phrase."""
        name = f"grpo_jax {self.code['version']}"
        if self.code["commit"]:
            name += f", commit {self.code['commit'][:12]}"
        return name + (f" with changes (source {self.code_digest[:8]})" if self.code["dirty"] else "")

    @property
    def devices_name(self) -> str:
        """The number and the kinds of the devices, as a phrase."""
        return f"{self.devices['count']} x {'/'.join(self.devices['kinds'])}"

    @property
    def machine_name(self) -> str:
        """The devices and the hosts, as a phrase."""
        cores, processes = self.host["cores"], self.host["processes"]
        name = f"{self.host['processor']}, {cores} core{'s' * (cores != 1)}"
        if processes > 1:
            name = f"{processes} hosts of {name}"
        return f"{self.devices_name} on {name}" if self.devices["count"] else name

    def __str__(self) -> str:
        return f"{self.code_name}; {self.machine_name}; {self.began}."


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
        " then ".join(_without_repetitions(start.code_name for start in starts)),
        " then ".join(_without_repetitions(start.machine_name for start in starts)),
        ("begun before starts were recorded" if provenance.begun_unrecorded else f"begun {first.began}")
        + (f", ended {last.ended}" if last.ended else ", no end recorded"),
    ]
    if len(starts) > 1:
        parts.append(f"{len(starts)} starts")
    if forked:
        parts.append(f"forked from {forked.run} at step {forked.step}")
    return "; ".join(parts) + "."


def _without_repetitions(texts: Iterable[str]) -> list[str]:
    """Return the texts without those that repeat the one before."""
    kept: list[str] = []
    for text in texts:
        if kept[-1:] != [text]:
            kept.append(text)
    return kept
