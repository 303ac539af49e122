"""Put the bugs of docs/traps.md into a copy of the code, one at a time, and show which test catches each.

    make check-instrument        (or python tools/check_instrument.py --trap=23 --trap=24)

The bugs are data: tools/mutants/*.toml. Each replaces one passage of one file, and should make a test fail that is
marked with its trap's number. Quick tests are tried before slow ones, and near ones before others. Before that, all
quick tests must pass without a bug, and a test that catches a bug must also pass alone without it. A bug that breaks
the collection of the tests, such as a syntax error, does not count as caught.

Exit code 0 if every mutant is caught, 1 if one is not.
"""

import argparse
import ast
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from rich.table import Table

from grpo_jax.terminal import PlainConsole

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = ROOT / "tools" / "mutants"

# Not copied: environments, caches, downloads and results. But all copies share the programs that tests have compiled.
ANYWHERE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
RESULTS = {"models", "runs", "studies", "evaluations", "reports"}  # only in the root, since code has such names, too
COMPILED = Path(".pytest_cache") / "jax"  # tests/compilation.py
ELSEWHERE = "parity"  # the folder of tests that need torch, in an environment of its own

QUICK, SLOW = "not slow", "slow"
TEST_SECONDS = 240  # a test that takes longer hangs because of the mutant, and fails
RUN_SECONDS = 1800  # for all tests of a trap: those that ignore the limit above are killed


class CheckError(Exception):
    """The check is impossible. The text says what to do."""


@dataclass(frozen=True)
class Mutant:
    """A bug, as an edit of the code."""

    id: str  # the trap's number, with a letter if there are several
    broken: str  # a sentence on what is broken
    file: str
    old: str  # occurs once in the file
    new: str

    @property
    def trap(self) -> int:
        """Return the trap's number in docs/traps.md."""
        return int(self.id.rstrip("abcdefghijklm"))

    def apply(self, root: Path) -> str:
        """Put the bug into the tree at `root`, and return the file's text without it.

        Raises:
          CheckError: if the passage does not occur exactly once.
        """
        path = root / self.file
        sound = path.read_text() if path.is_file() else ""
        if (found := sound.count(self.old)) != 1:
            raise CheckError(
                f"mutant {self.id} is stale: its old text stands {found} times in {self.file}, and must stand there "
                "once; bring tools/mutants/ up to date."
            )
        path.write_text(sound.replace(self.old, self.new))
        return sound


class Report(NamedTuple):
    """The result of a selection of tests."""

    failed: str | None  # the first test that failed, in its setup or its call
    passed: int
    trouble: str | None  # why there is no verdict, for example because the tests could not be collected


class Finding(NamedTuple):
    """The result for one mutant."""

    mutant: Mutant
    test: str | None  # that caught it
    seconds: float
    trouble: str | None = None  # why it was not caught, if the reason is not that all tests pass

    @property
    def text(self) -> str:
        """Return the test that caught the mutant, or the reason why there is none."""
        return self.test or f"SURVIVES ({self.trouble or 'no test fails'})"


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trap", type=int, action="append", metavar="N", help="only this trap; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time, each in its own copy")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests unbroken")
    arguments = parser.parse_args(argv)
    mutants = [one for one in read_mutants() if arguments.trap is None or one.trap in arguments.trap]
    if not mutants:
        parser.error(f"--trap={arguments.trap}: has no mutants; docs/traps.md has the numbers")
    started = time.monotonic()
    console = PlainConsole(width=160, soft_wrap=True)
    findings: list[Finding] = []
    try:
        for finding in check(ROOT, mutants, jobs=arguments.jobs, baseline=not arguments.no_baseline):
            findings.append(finding)
            console.print(f"{finding.mutant.id:>4}  {finding.seconds:4.0f} s  {finding.text}")
    except CheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped, with {len(findings)} of {len(mutants)} mutants tried", file=sys.stderr)
        return 130
    console.print(as_table(sorted(findings, key=lambda finding: mutants.index(finding.mutant))))
    for trap, reason in read_reasons().items():
        if arguments.trap is None or trap in arguments.trap:
            console.print(f"trap {trap} has no mutant: {reason}")
    survivors = [finding.mutant.id for finding in findings if finding.test is None]
    caught = len(findings) - len(survivors)
    print(f"{caught} of {len(findings)} mutants are caught, in {(time.monotonic() - started) / 60:.1f} minutes")
    if survivors:
        print(f"not caught: {', '.join(survivors)}")
    return int(bool(survivors))


def read_mutants(directory: Path = MUTANTS) -> list[Mutant]:
    """Return all mutants, in the order of the traps."""
    mutants = [Mutant(**fields) for file in _read(directory) for fields in file.get("mutant", [])]
    return sorted(mutants, key=lambda mutant: (mutant.trap, mutant.id))


def read_reasons(directory: Path = MUTANTS) -> dict[int, str]:
    """Return the reasons why some traps have no mutant."""
    return {
        int(entry["trap"]): entry["reason"] for file in _read(directory) for entry in file.get("without_mutant", [])
    }


def _read(directory: Path) -> Iterator[dict[str, list[dict[str, str]]]]:
    for path in sorted(directory.glob("*.toml")):
        yield tomllib.loads(path.read_text())


def check(root: Path, mutants: Sequence[Mutant], *, jobs: int = 1, baseline: bool = True) -> Iterator[Finding]:
    """Yield the result for each mutant when it is known.

    Args:
      root: of the code. It is copied and, except for the tests' cache of compiled programs, not changed.
      jobs: the number of mutants that are tried at a time.
      baseline: whether the tests must pass without any mutant.

    Raises:
      CheckError: if a mutant is stale, or if the tests do not pass without any.
    """
    with tempfile.TemporaryDirectory(prefix="instrument") as directory:
        all_copies = [_copy(root, Path(directory).resolve() / str(number)) for number in range(jobs)]
        first = all_copies[0]
        for mutant in mutants:
            (first / mutant.file).write_text(mutant.apply(first))
        _check_import(first)
        tests = marked_tests(first, leave_out=ELSEWHERE)
        if baseline:
            wanted = sorted({test for mutant in mutants for test in tests.get(mutant.trap, ())})
            _check_baseline(run_tests(first, wanted, QUICK, processes=jobs))
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for copy in all_copies:
            copies.put(copy)

        def find(mutant: Mutant) -> Finding:
            copy = copies.get()
            try:
                return _find(copy, mutant, tests.get(mutant.trap, ()), baseline)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(jobs) as threads:
            try:
                for future in as_completed([threads.submit(find, mutant) for mutant in mutants]):
                    yield future.result()
            finally:
                threads.shutdown(cancel_futures=True)  # after Ctrl-C, wait for those that are running


def _copy(root: Path, to: Path) -> Path:
    def left_behind(folder: str, names: list[str]) -> set[str]:
        return ANYWHERE(folder, names) | (RESULTS & set(names) if Path(folder) == root else set())

    shutil.copytree(root, to, ignore=left_behind)
    (root / COMPILED).mkdir(parents=True, exist_ok=True)
    (to / COMPILED).parent.mkdir()
    (to / COMPILED).symlink_to(root / COMPILED)
    return to


def _find(copy: Path, mutant: Mutant, tests: Sequence[str], baseline: bool) -> Finding:
    started = time.monotonic()
    tests = nearest_first(mutant, tests)
    sound = mutant.apply(copy)
    try:
        which, report = QUICK, run_tests(copy, tests, QUICK)
        if report.failed is None and report.trouble is None:
            which, report = SLOW, run_tests(copy, tests, SLOW)
    finally:
        (copy / mutant.file).write_text(sound)
    trouble = report.trouble
    if report.failed and baseline and not run_tests(copy, [report.failed], which).passed:
        trouble = f"{report.failed} also fails without it"
    return Finding(mutant, None if trouble else report.failed, time.monotonic() - started, trouble)


def marked_tests(root: Path, leave_out: str | None = None) -> dict[int, list[str]]:
    """Return the tests that are marked with each trap's number, as arguments of pytest, except those of one folder."""
    marked: dict[int, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        if path.parent.name == leave_out:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                for number in _traps(node):
                    marked.setdefault(number, []).append(f"{path.relative_to(root)}::{node.name}")
    return marked


def nearest_first(mutant: Mutant, tests: Sequence[str]) -> list[str]:
    """Sort tests by how likely they catch the mutant: those of its file, then those of its folder, then the others."""
    _, room, *_ = Path(mutant.file).parts
    own = f"test_{Path(mutant.file).name}::"
    return sorted(tests, key=lambda test: (own not in test, Path(test).parts[1] != room))


def _traps(function: ast.FunctionDef) -> Iterator[int]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.trap":
            yield int(ast.literal_eval(decorator.args[0]))


def run_tests(root: Path, tests: Sequence[str], which: str, processes: int = 1) -> Report:
    """Run tests of the tree at `root` until the first one fails.

    Args:
      tests: arguments of pytest.
      which: QUICK or SLOW.
      processes: the number of processes that share them.
    """
    if not tests:
        return Report(None, 0, None)
    results = root / "results.xml"
    results.unlink(missing_ok=True)
    options = ["-x", "-q", "-m", which, "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}"]
    options += [f"--junitxml={results}", "-o", "junit_family=xunit1"]
    spread = ["--numprocesses", str(processes)] if processes > 1 else []
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *spread, *tests],
            cwd=root,
            env=_environment(root),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Report(None, 0, f"the tests were killed after {RUN_SECONDS} seconds")
    if not results.is_file():
        return Report(None, 0, f"pytest ended with exit code {done.returncode}: {done.stdout.strip()[-200:]}")
    report = _report(results)
    # 1: a test has failed; 5: none was selected. Any other code (2 is Ctrl-C) means that not all tests were run.
    if report.failed is None and report.trouble is None and done.returncode not in (0, 5):
        return Report(None, report.passed, f"pytest ended with exit code {done.returncode}")
    return report


def _report(results: Path) -> Report:
    """Read pytest's results. Failures in a teardown do not count, and of a failed collection there is no file."""
    failed, passed, trouble = None, 0, None
    for case in ElementTree.parse(results).iter("testcase"):
        failure, error = case.find("failure"), case.find("error")
        if failure is not None or (error is not None and "failed on setup" in error.get("message", "")):
            failed = failed or f"{case.get('file')}::{case.get('name')}"
        elif error is not None:
            trouble = trouble or f"{case.get('name')}: {error.get('message')}"
        elif case.find("skipped") is None:
            passed += 1
    return Report(failed, passed, None if failed else trouble)


def _environment(root: Path) -> dict[str, str]:
    """Return an environment in which the copy's code comes first, also in processes that tests start."""
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}


def _check_import(root: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "import grpo_jax; print(grpo_jax.__file__)"],
        cwd=root,
        env=_environment(root),
        capture_output=True,
        text=True,
    )
    if not Path(shown.stdout.strip()).is_relative_to(root.resolve()):
        raise CheckError(f"the tests would import {shown.stdout.strip() or 'nothing'} and not the copy in {root}.")


def _check_baseline(report: Report) -> None:
    if report.failed or report.trouble:
        raise CheckError(f"{report.failed or report.trouble} fails without any mutant; repair that first.")


def as_table(findings: Sequence[Finding]) -> Table:
    """Return a table with a row for each mutant."""
    table = Table(title="Each bug, and the test that catches it")
    for column in ("mutant", "what is broken", "caught by", "seconds"):
        table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    for finding in findings:
        row = (finding.mutant.id, finding.mutant.broken, finding.text, f"{finding.seconds:.0f}")
        table.add_row(*(text.replace("[", r"\[") for text in row))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
