"""Files that may be compressed. Their first bytes decide, since names are unreliable and downloads lose endings."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from grpo_jax.config import ConfigError, one_line


def _zstandard(contents: bytes) -> bytes:
    import pyarrow  # the standard library has no Zstandard before Python 3.14

    with pyarrow.input_stream(pyarrow.BufferReader(contents), compression="zstd") as opened:
        return opened.read()


DECOMPRESS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
    b"\x28\xb5\x2f\xfd": _zstandard,
}
REFUSED: Mapping[bytes, str] = {
    b"PAR1": "is a Parquet file; set kind to 'parquet'",
    b"PK\x03\x04": "is a ZIP archive; unpack it",
}


def opener(file: Path, path: str) -> Callable[[], BinaryIO]:
    """Return a function that opens the file for reading. A compressed file is decompressed and held in memory.

    Args:
      path: that of the source, for messages.

    Raises:
      ConfigError: if it cannot be decompressed, or is not a text file.
    """
    with file.open("rb") as opened:
        beginning = opened.read(8)
    for magic, reason in REFUSED.items():
        if beginning.startswith(magic):
            raise ConfigError(f"path={path!r}: {file} {reason}.")
    for magic, decompress in DECOMPRESS.items():
        if beginning.startswith(magic):
            try:
                contents = decompress(file.read_bytes())
            except (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
                raise ConfigError(
                    f"path={path!r}: {file} cannot be decompressed ({one_line(error)}); fetch it again."
                ) from error
            return lambda: io.BytesIO(contents)
    return lambda: file.open("rb")
