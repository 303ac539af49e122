"""The objects under an address, such as gs://BUCKET/runs/a, by fsspec. Only this module knows fsspec."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_jax.config import ConfigError

EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3"}  # what to install for a scheme, where setup.py knows it
LOCAL = ("file", "local")


@dataclass(frozen=True)
class Remote:
    """The objects under an address. An object appears, or is replaced, as a whole."""

    address: str
    root: str
    files: Any  # an fsspec file system

    @classmethod
    def at(cls, address: str) -> "Remote":
        """Return the objects under an address, which may hold none yet. No request is made.

        Raises:
          ConfigError: if it names no bucket, or this machine has no software for such an address.
        """
        import fsspec  # takes a fifth of a second, for which only runs in a bucket should wait

        scheme, _, rest = address.partition("://")
        if not rest.strip("/ "):  # fsspec would take gs:// for a directory of this machine
            raise ConfigError(f"--workdir={address}: names no bucket; write it as in {scheme}://BUCKET/runs/a.")
        address = address.rstrip("/")
        if scheme in LOCAL:
            raise ConfigError(f"--workdir={address}: is on this machine; name it by its path, without {scheme}://.")
        try:
            # Listings must be new, because other machines write here, too.
            files, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except ImportError as error:
            extra = f"run `pip install '.[{EXTRAS[scheme]}]'`" if scheme in EXTRAS else str(error)
            raise ConfigError(
                f"--workdir={address}: the package for {scheme}:// is not installed; {extra}, or name a directory."
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"--workdir={address}: {error}; name a bucket as in gs://BUCKET/runs/a or s3://BUCKET/runs/a, or a "
                "directory."
            ) from error
        return cls(address, root.rstrip("/"), files)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the names of all objects, or of those in a folder, and how many bytes each has.

        Objects that stand for folders, which some tools make, are left out.
        """
        try:
            found = self.files.find(self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        names = {path: path.removeprefix(f"{self.root}/") for path in found if path.startswith(f"{self.root}/")}
        return {name: found[path]["size"] for path, name in names.items() if name and not name.endswith("/")}

    def read(self, name: str) -> bytes | None:
        """Return the content of an object, or None if there is none."""
        try:
            return self.files.cat_file(self._path(name))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object."""
        self.files.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> None:
        """Write an object that does not exist yet.

        Google's, Amazon's and Azure's stores refuse, with some error, if another machine was faster. Others may replace
        what that one wrote. So read it afterwards.
        """
        self.files.pipe_file(self._path(name), content, mode="create")

    def upload(self, path: Path, name: str, progress: Callable[[], None]) -> None:
        """Write an object with the content of a file, which must not change meanwhile.

        Args:
          progress: called after each part of a large object, from any thread.
        """
        import fsspec

        callback = fsspec.callbacks.Callback(hooks={"progress": lambda size, value, **_: progress()})
        self.files.put_file(str(path), self._path(name), callback=callback)

    def download(self, name: str, path: Path) -> None:
        """Copy an object to a file."""
        self.files.get_file(self._path(name), str(path))

    def remove(self, name: str) -> None:
        """Remove an object. It is no error if there is none."""
        with contextlib.suppress(FileNotFoundError):
            self.files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root
