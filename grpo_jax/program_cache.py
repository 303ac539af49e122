"""A cache of compiled programs, in which a later process finds what an earlier one has compiled.

JAX stores and reads the programs. Its keys hold the program, the compiler's version and options, and the devices with
their mesh, but neither the instructions of the CPU nor the number of its cores, for which loops are split. So each kind
of machine has a directory of its own, and a home directory that several machines share is safe.
"""

import hashlib
import os
import platform
import zlib
from collections.abc import Iterable
from pathlib import Path

from grpo_jax.files import user_cache
from grpo_jax.runs.versions import cores

ROOM = 2 * 2**30  # bytes
DIRECTORY = "JAX_COMPILATION_CACHE_DIR"
PAGE = 4096  # bytes
ZSTANDARD = b"\x28\xb5\x2f\xfd"  # the first bytes of what it has compressed


def keep_programs(room: int = ROOM) -> None:
    """Make JAX keep compiled programs in the user's cache, if it has not been imported yet.

    Nothing changes if the user names a directory in JAX_COMPILATION_CACHE_DIR, if JAX_ENABLE_COMPILATION_CACHE=false
    switches the cache off, or if the directory cannot be made.

    Args:
      room: bytes. If the programs take more, those that were not used for the longest time are removed.
    """
    if DIRECTORY in os.environ or os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "").lower() in ("false", "0"):
        return
    directory = user_cache() / "programs"
    mine = directory / machine()
    try:
        mine.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    remove_cut_off(mine.glob("*-cache"))
    prune(directory.glob("*/*"), room)
    os.environ[DIRECTORY] = str(mine)
    # By default JAX keeps only what took a second to compile. Most programs of a small run take less.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def remove_cut_off(files: Iterable[Path]) -> None:
    """Remove the programs whose writing was cut off. JAX would warn of them at each start, and never replace them.

    A kill and a full disk both end a write between pages of memory. So only files of whole pages are read, one in 4096.
    """
    for file in files:
        try:
            if file.stat().st_size % PAGE == 0 and not _is_whole(file.read_bytes()):
                file.unlink(missing_ok=True)
        except OSError:  # another process has removed it, or it is another user's
            continue


def _is_whole(program: bytes) -> bool:
    """Return whether compressed bytes are whole; True for those of zstandard, which JAX uses if it is installed."""
    if program.startswith(ZSTANDARD):
        return True
    stream = zlib.decompressobj()
    try:
        stream.decompress(program)
    except zlib.error:
        return False
    return stream.eof


def prune(files: Iterable[Path], room: int) -> None:
    """Remove the files that were not used for the longest time, until the others take at most `room` bytes."""
    known = []
    for file in files:
        try:
            known.append((file.stat(), file))
        except FileNotFoundError:  # another process has removed it
            continue
    left = room
    # Some file systems do not note when a file is read.
    for stat, file in sorted(known, key=lambda one: max(one[0].st_atime, one[0].st_mtime), reverse=True):
        left -= stat.st_size
        if left < 0:
            file.unlink(missing_ok=True)


def machine() -> str:
    """Return a hash of the kind of CPU, the instructions that it has, and the number of cores."""
    try:
        lines = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        lines = set()
    names = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU implementer", "CPU part", "Features")
    kind = sorted(line for line in lines if line.partition(":")[0].strip() in names)
    return hashlib.sha256("\n".join([platform.machine(), str(cores()), *kind]).encode()).hexdigest()[:16]
