"""Seals: checksums of the files in a directory's subdirectories, written last.

With them damage is found before the files are read. Files directly in the directory have no checksum: Orbax keeps only
metadata of its own there. If there are several processes, each computes the checksums of what it has written.
"""

import json
import re
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from grpo_jax.files import write_whole

SEAL = "seal.json"
BLOCK = 1 << 24
AT_ONCE = 4  # files; each takes a core
OF_PROCESS = re.compile(r"ocdbt\.process_(\d+)")  # what Orbax calls the folder in which a process writes

T = TypeVar("T")


def seal_own(directory: Path, process: int) -> None:
    """Write the checksums of what a process has written in a directory; `seal` will collect them."""
    for folder in directory.iterdir():
        if (found := OF_PROCESS.fullmatch(folder.name)) and int(found[1]) == process:
            _write(folder, _checksums(folder, _names(folder)))


def seal(directory: Path) -> None:
    """Write the checksums of all files in the subdirectories of a directory."""
    collected: dict[str, int] = {}
    for part in directory.glob(f"*/*/{SEAL}"):
        folder = part.parent.relative_to(directory)
        own = json.loads(part.read_text(encoding="utf-8"))
        collected |= {f"{folder}/{name}": checksum for name, checksum in own.items()}
        part.unlink()
    others = [name for name in _names(directory) if "/" in name and name not in collected]
    _write(directory, collected | _checksums(directory, others))


def extend_seal(directory: Path, name: str) -> None:
    """Add the checksum of a new file to a sealed directory."""
    files = json.loads((directory / SEAL).read_text(encoding="utf-8"))
    _write(directory, files | _checksums(directory, [name]))


def damage(directory: Path, process: int = 0, processes: int = 1) -> str:
    """Return what is wrong with a process's share of a sealed directory, as a clause; "" if nothing has changed.

    A process examines what the process of the same index wrote, because it will read just that. If there are fewer
    processes now, indices count modulo their number. The first process also examines everything else.
    """
    try:
        files = json.loads((directory / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{SEAL} cannot be read"

    def examine(name: str) -> str:
        if not (directory / name).is_file():
            return f"{name} is missing"
        try:
            return "" if _checksum(directory / name) == files[name] else f"{name} has changed since it was written"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"

    share = [name for name in files if _writer(name) % processes == process]
    return next(filter(None, _of_each(examine, share)), "")


def _writer(name: str) -> int:
    found = OF_PROCESS.search(name)
    return int(found[1]) if found else 0


def _names(directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]


def _write(directory: Path, checksums: dict[str, int]) -> None:
    write_whole(directory / SEAL, json.dumps(checksums, indent=1))


def _checksums(directory: Path, names: Sequence[str]) -> dict[str, int]:
    return dict(zip(names, _of_each(lambda name: _checksum(directory / name), names), strict=True))


def _of_each(what: Callable[[str], T], names: Sequence[str]) -> list[T]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(what, names))


def _checksum(path: Path) -> int:
    total = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            total = zlib.crc32(block, total)
    return total
