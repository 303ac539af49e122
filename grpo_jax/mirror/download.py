"""Make a working copy of what is under an address."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grpo_jax.config import ConfigError, counted
from grpo_jax.mirror.contents import Stamp, is_record, whole
from grpo_jax.mirror.ownership import FOLDER
from grpo_jax.mirror.remote import Remote
from grpo_jax.mirror.upload import AT_ONCE

TRIES = 3  # of each object


def objects(remote: Remote) -> dict[str, int]:
    """Return the names of all objects under an address that belong to the directory, with their sizes.

    Raises:
      ConfigError: if there are others. Uploads remove objects that the directory does not hold, so nothing else may be
        there.
    """
    sizes = remote.sizes()
    there = {name: size for name, size in sizes.items() if not name.startswith(f"{FOLDER}/")}
    nested = next((name.partition(f"/{FOLDER}/")[0] for name in there if f"/{FOLDER}/" in name), None)
    if nested:
        raise ConfigError(
            f"--workdir={remote.address}: holds the run {nested}; name that, or an address that holds nothing yet."
        )
    if there and len(there) == len(sizes) and not holds_a_directory(there):
        raise ConfigError(
            f"--workdir={remote.address}: holds other files, such as {min(there)}; name an address that holds nothing "
            "yet."
        )
    return there


def holds_a_directory(there: dict[str, int]) -> bool:
    """Return whether objects are a directory. Without a record, the first upload was cut off."""
    return any(map(is_record, there))


def download(remote: Remote, there: dict[str, int], directory: Path, note: Callable[[str], None]) -> dict[str, Stamp]:
    """Copy objects into a new directory, which appears by a rename, and return the stamps of its files.

    Checkpoints without a seal are left out.

    Raises:
      OSError: if an object has fewer bytes than it should, again and again. The store may raise other errors.
    """
    names = whole(there)
    size = sum(there[name] for name in names)
    note(f"{remote.address}: fetching {counted(len(names), 'file')}, {size / 1e9:.2f} GB, to {directory}")
    temporary = directory.with_name(f"{directory.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)

    def fetch(name: str) -> None:
        path = temporary / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(TRIES):
            try:
                remote.download(name, path)
                if path.stat().st_size != there[name]:
                    raise OSError(f"{name} has {counted(path.stat().st_size, 'byte')} instead of {there[name]}")
                return
            except Exception:  # each store has errors of its own
                if attempt == TRIES - 1:
                    raise

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(fetch, names):
            pass
    temporary.rename(directory)
    stamps = {name: Stamp.of(directory / name) for name in names}
    return {name: stamp for name, stamp in stamps.items() if stamp}
