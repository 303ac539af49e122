"""The record of a run, provenance.json: the digests of its inputs, and the provenance of its results.

Nothing here imports JAX.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpo_jax.json_record import plain
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.inputs import Inputs
from grpo_jax.runs.provenance import PROVENANCE_FILE, ForkedFrom, Provenance


@dataclass(frozen=True)
class RunRecord:
    """The content of provenance.json, of a run or an evaluation."""

    inputs: Inputs | None  # None: an earlier version began the run, which did not record them
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {"inputs": plain(self.inputs), **self.provenance.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunRecord":
        """Return the record that these values hold.

        Raises:
          KeyError, TypeError, ValueError: if they are not a record.
        """
        provenance = dict(values)
        inputs = provenance.pop("inputs")
        return cls(None if inputs is None else Inputs.from_json(inputs), Provenance.from_json(provenance))


def read_record(directory: RunDirectory) -> RunRecord | None:
    """Return the record of a run, or None if there is none. Raise ConfigError if it is damaged."""
    return directory.read_record(PROVENANCE_FILE, RunRecord.from_json)


def write_record(directory: RunDirectory, record: RunRecord) -> None:
    """Write the record of a run."""
    directory.write_json(PROVENANCE_FILE, record.to_json())


def provenance_of(directory: RunDirectory) -> Provenance | None:
    """Return the provenance of a run, or None if an earlier version did not record it."""
    record = read_record(directory)
    return None if record is None else record.provenance


def forked_from(directory: RunDirectory) -> ForkedFrom | None:
    """Return the run and the step that a fork starts from; None if it is not a fork.

    The directory's rollouts up to that step were sampled and learned from under the configuration of that run.
    """
    provenance = provenance_of(directory)
    return provenance.forked_from if provenance else None


def recorded_date(directory: RunDirectory) -> str | None:
    """Return the date of a run, which is the time of its first start; None if there is no record of it."""
    record = None if directory.untouched else read_record(directory)
    return record.inputs.date if record and record.inputs else None
