"""Write a small project of your own: questions, a reward, a configuration, a test and a README.

    grpo init my_project

DIR is made, or must be empty. Its README.md says how to train.

Exit codes: 0 written; 2 not written, with the reason.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from grpo_jax.config import command_line

PROJECT = Path(__file__).parent / "project"
FILES = ("README.md", "config.py", "questions.jsonl", "rewards.py", "test_project.py")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=command_line.place, metavar="DIR", help="a new or empty directory")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    directory: Path = command_line.read(make_parser(), argv).directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            return command_line.fail(f"{directory}: is not empty; name a directory that is new or empty.", 2)
        for name in FILES:
            shutil.copyfile(PROJECT / name, directory / name)
    except OSError as error:
        return command_line.fail(f"{directory}: cannot be written to ({error.strerror}); name another directory.", 2)
    command_line.tell(f"{directory}: {', '.join(FILES)}\n{directory / 'README.md'} says how to train")
    return 0
