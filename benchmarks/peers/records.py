"""The measurements of a comparison, as lines of JSON and as tables."""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

OURS = "ours"


@dataclass(frozen=True)
class Setting:
    """Where and with which code the lines that follow were measured."""

    kind: ClassVar[str] = "setting"
    began: str
    command: str
    commit: str  # with a mark if files differ from it
    machine: str
    cores: int
    python: str


@dataclass(frozen=True)
class Turn:
    """A step of one system. The turns of a system and its opponent with one number are a pair."""

    kind: ClassVar[str] = "turn"
    case: str
    system: str
    opponent: str
    number: int
    seconds: float
    rollout_seconds: float
    tokens: int  # of all completions
    own_cores: float  # the mean number of cores that the worker used
    other_cores: float  # and that everything else on the machine used


@dataclass(frozen=True)
class Life:
    """A worker from its start to its end."""

    kind: ClassVar[str] = "life"
    case: str
    system: str
    first_step_seconds: float  # from the process's start to the end of its first step
    other_cores: float  # during that time
    peak_gb: float  # of resident memory
    versions: Mapping[str, str]


Record: TypeAlias = Setting | Turn | Life
KINDS: Mapping[str, type[Record]] = {one.kind: one for one in (Setting, Turn, Life)}


def to_line(record: Record) -> str:
    """Return a record as a line of JSON."""
    return json.dumps({"kind": record.kind, **asdict(record)})


def read(path: Path) -> list[Record]:
    """Return the records of a file."""
    found = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [KINDS[values.pop("kind")](**values) for values in found]


def pairs(turns: Iterable[Turn], opponent: str) -> list[tuple[Turn, Turn]]:
    """Return our turns against an opponent, each with the opponent's turn of the same number."""
    by_system: dict[str, dict[int, Turn]] = {OURS: {}, opponent: {}}
    for turn in turns:
        if {turn.system, turn.opponent} == {OURS, opponent}:
            by_system[turn.system][turn.number] = turn
    ours, theirs = by_system.values()
    return [(ours[number], theirs[number]) for number in sorted(ours.keys() & theirs.keys())]


PARTS: Sequence[Callable[[Turn], float]] = (
    lambda turn: turn.rollout_seconds,
    lambda turn: turn.seconds - turn.rollout_seconds,
    lambda turn: turn.seconds,
    lambda turn: turn.own_cores * turn.seconds,
)


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Yield the lines of Markdown tables: for every case the systems, and how much longer than we the others take."""
    turns = [record for record in records if isinstance(record, Turn)]
    lives = [record for record in records if isinstance(record, Life)]
    for case in dict.fromkeys(turn.case for turn in turns):
        of_case = [turn for turn in turns if turn.case == case]
        systems = dict.fromkeys(turn.system for turn in of_case)
        yield from ("", f"### {case}", "")
        yield "| | rollout, s | update, s | step, s | CPU, s | tokens | peak, GB | first step, s | cores of others |"
        yield "|---|---|---|---|---|---|---|---|---|"
        memory = {}
        for system in systems:
            mine = [turn for turn in of_case if turn.system == system]
            life = [one for one in lives if (one.case, one.system) == (case, system)]
            memory[system] = median([one.peak_gb for one in life])
            cells = (
                *(f"{statistics.median(of_part(turn) for turn in mine):.2f}" for of_part in PARTS),
                f"{statistics.mean(turn.tokens for turn in mine):.0f}",
                f"{memory[system]:.2f}",
                f"{median([one.first_step_seconds for one in life]):.0f}",
                f"{statistics.median(turn.other_cores for turn in mine):.2f}",
            )
            yield f"| {system} | {' | '.join(cells)} |"
        yield from ("", "| of ours | rollout | update | step | CPU | peak memory | pairs |")
        yield "|---|---|---|---|---|---|---|"
        for opponent in [system for system in systems if system != OURS]:
            if both := pairs(of_case, opponent):
                cells = (
                    *(spread([of_part(theirs) / of_part(ours) for ours, theirs in both]) for of_part in PARTS),
                    f"{memory[OURS] / memory[opponent]:.2f}",
                    str(len(both)),
                )
                yield f"| {opponent} | {' | '.join(cells)} |"


def median(values: Sequence[float]) -> float:
    """Return the median; NaN if there are no values, because a comparison that was stopped does not know all ends."""
    return statistics.median(values) if values else math.nan


def spread(ratios: Sequence[float]) -> str:
    """Return the median of ratios, and their quartiles if there are several."""
    middle = f"{statistics.median(ratios):.2f}"
    if len(ratios) < 2:
        return middle
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle} ({low:.2f} to {high:.2f})"
