"""The form of a diagnosis: checks are functions of their evidence, and findings are sentences with a severity."""

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from grpo_jax.config import ConfigError
from grpo_jax.json_record import JsonRecord
from grpo_jax.runs.provenance import Start

Evidence = TypeVar("Evidence")

# The names of the sections, in their order. The last two need the policy's weights and its programs.
SECTIONS = CONFIGURATION, PROMPTS, PROBLEMS, REWARD, MEMORY, SAMPLES = (
    "configuration",
    "prompts",
    "problems",
    "reward",
    "memory",
    "samples",
)


class Severity(enum.StrEnum):
    """How bad a finding is."""

    NOTE = "note"  # a fact that is worth knowing
    WARNING = "warning"  # the run would work, but probably not as intended
    ERROR = "error"  # the run would be refused, fail, or learn nothing


@dataclass(frozen=True)
class Finding(JsonRecord):
    """One sentence about the run. The sentence of a warning or an error names field, value and remedy."""

    severity: Severity
    sentence: str


def note(sentence: str) -> Finding:
    """Return a fact."""
    return Finding(Severity.NOTE, sentence)


def warning(sentence: str) -> Finding:
    """Return a warning."""
    return Finding(Severity.WARNING, sentence)


def error(sentence: str) -> Finding:
    """Return an error."""
    return Finding(Severity.ERROR, sentence)


@dataclass(frozen=True)
class Check(Generic[Evidence]):
    """A check: what it looks at, and the function that finds what is wrong there."""

    looks_at: str
    find: Callable[[Evidence], Iterator[Finding]]


@dataclass(frozen=True)
class Section(JsonRecord):
    """The findings of the checks that need the same evidence."""

    name: str
    looked_at: Sequence[str]
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Tokens(JsonRecord):
    """A completion that was sampled, for a comparison with the same one on another machine or in another dtype."""

    prompt: Sequence[int]
    completion: Sequence[int]
    logprobs: Sequence[float]  # of the completion's tokens


@dataclass(frozen=True)
class Diagnosis(JsonRecord):
    """All that was found out about a configuration on a machine."""

    sections: Sequence[Section]
    not_looked_at: Sequence[str]  # the names of sections whose evidence could not be gathered, or was not wanted
    start: Start | None = None  # code, machine and versions; None: refused before they mattered
    tokens: Sequence[Tokens] = ()  # a few of the samples

    @classmethod
    def of(cls, sections: Sequence[Section], start: Start | None = None, tokens: Sequence[Tokens] = ()) -> "Diagnosis":
        """Return the diagnosis that these sections make up."""
        names = [section.name for section in sections]
        return cls(sections, [name for name in SECTIONS if name not in names], start, tokens)

    @property
    def exit_code(self) -> int:
        """0 if nothing is wrong, 1 if there are warnings, 2 if there are errors."""
        return 2 if self.number(Severity.ERROR) else min(self.number(Severity.WARNING), 1)

    def number(self, severity: Severity) -> int:
        """Return how many findings have this severity."""
        return sum(one.severity is severity for section in self.sections for one in section.findings)


def look(name: str, checks: Sequence[Check[Evidence]], evidence: Evidence) -> Section:
    """Return the section of these checks."""
    found = [finding for check in checks for finding in check.find(evidence)]
    return Section(name, [check.looks_at for check in checks], found)


def refused(mistake: Exception) -> Section:
    """Return the section of a mistake that every command refuses, with its sentences."""
    sentences = mistake.args if isinstance(mistake, ConfigError) else (str(mistake),)
    return Section("refused", ["what every command refuses"], [error(sentence) for sentence in sentences])


def examples(texts: Sequence[str], shown: int = 2) -> str:
    """Return the beginnings of a few texts, for the middle of a sentence."""
    return " and ".join(repr(text if len(text) <= 60 else f"{text[:57]}...") for text in texts[:shown])
