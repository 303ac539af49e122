"""Seals: checksums of the files in a directory's subdirectories, written last.

With them damage is found before the files are read. Files directly in the directory have no checksum: Orbax keeps only
metadata of its own there.
"""

import json
import zlib
from pathlib import Path

SEAL = "seal.json"
BLOCK = 1 << 24


def seal(directory: Path) -> None:
    """Write the checksums of all files in the subdirectories of a directory."""
    files = {
        str(path.relative_to(directory)): _checksum(path)
        for folder in directory.iterdir()
        if folder.is_dir()
        for path in folder.rglob("*")
        if path.is_file()
    }
    (directory / SEAL).write_text(json.dumps(files, indent=1), encoding="utf-8")


def damage(directory: Path) -> str:
    """Return what is wrong with a sealed directory, as a clause; "" if nothing has changed."""
    try:
        files = json.loads((directory / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{SEAL} cannot be read"
    for name, checksum in files.items():
        if not (directory / name).is_file():
            return f"{name} is missing"
        if _checksum(directory / name) != checksum:
            return f"{name} has changed since it was written"
    return ""


def _checksum(path: Path) -> int:
    total = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            total = zlib.crc32(block, total)
    return total
