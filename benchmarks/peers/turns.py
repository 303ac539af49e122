"""The conversation of a worker, which runs steps of one system, with the driver, which tells it when.

A worker takes its case as JSON on the command line. It runs its first step at once and reports it, as a line of JSON on
standard output. Every further step waits for a line on standard input, and the end of the input ends the worker.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version

GO = "go\n"


@dataclass(frozen=True)
class Finished:
    """A step, as a worker reports it."""

    seconds: float
    rollout_seconds: float  # the part until all completions are known
    tokens: int  # of all completions, without what stands after their ends
    versions: Mapping[str, str]  # of the libraries that count


class Turns:
    """A worker's side of the conversation."""

    def __init__(self, *distributions: str):
        """Begin with the first step. Whatever libraries print from now on goes to standard error."""
        self._reports = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._versions = {name: version(name) for name in distributions}
        self._began = time.perf_counter()

    def finished(self, *, rollout_seconds: float, tokens: int) -> bool:
        """Report the step that has ended, and wait for the next turn. Return False if there is none."""
        seconds = time.perf_counter() - self._began
        self._reports.write(json.dumps(asdict(Finished(seconds, rollout_seconds, tokens, self._versions))) + "\n")
        self._reports.flush()
        goes_on = sys.stdin.readline() == GO
        self._began = time.perf_counter()
        return goes_on
