"""Write a small project of your own: questions, a reward, a configuration, a test and a README.

    grpo init my_project

DIR is made, or must be empty. All files are written, or none. DIR/README.md says how to train.

Exit codes: 0 written; 2 not written, with the reason.
"""

import argparse
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from grpo_jax.config import command_line
from grpo_jax.files import whole_directory

PROJECT = Path(__file__).parent / "project"
FILES = ("README.md", "config.py", "questions.jsonl", "rewards.py", "test_project.py")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=command_line.path, metavar="DIR", help="a new or empty directory")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    directory: Path = command_line.read(make_parser(), argv).directory
    try:
        if directory.is_dir():
            if any(directory.iterdir()):
                return command_line.fail(f"{directory}: is not empty; name a directory that is new or empty.", 2)
            _fill(directory)
        else:
            with whole_directory(directory) as made:
                _fill(made)
    except OSError as error:
        return command_line.fail(f"{directory}: cannot be written to ({error.strerror}); name another directory.", 2)
    command_line.tell(f"{directory}: {', '.join(FILES)}\n{directory / 'README.md'} says how to train")
    return 0


def _fill(directory: Path) -> None:
    """Write all files into an empty directory, or none. It stays the same one, since it may be the current one."""
    with ExitStack() as written:
        for name in FILES:
            path = directory / name
            with (PROJECT / name).open("rb") as source, path.open("xb") as file:  # x: a file that is there is kept
                written.callback(path.unlink)
                shutil.copyfileobj(source, file)
        written.pop_all()
