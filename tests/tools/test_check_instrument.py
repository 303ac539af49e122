"""The mutation check: its mutants fit today's code, and it distinguishes caught mutants from survivors."""

import dataclasses
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tools import check_instrument
from tools.check_instrument import ELSEWHERE, CheckError, Mutant, check, marked_tests, read_mutants, read_reasons

MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_mutant_fits_the_code_and_can_be_compiled(mutant):
    sound = (ROOT / mutant.file).read_text()
    assert sound.count(mutant.old) == 1, f"mutant {mutant.id} is stale: bring tools/mutants/ up to date"
    compile(sound.replace(mutant.old, mutant.new), mutant.file, "exec")


def test_every_trap_has_a_mutant_or_a_reason_and_every_mutant_has_tests():
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)
    traps = {mutant.trap for mutant in MUTANTS}
    assert sorted([*traps, *read_reasons()]) == list(range(1, 48))
    assert traps <= set(marked_tests(ROOT, leave_out=ELSEWHERE))


CODE = """
def double(x):
    return 2 * x


def half(x):
    return x / 2
"""
TESTS = """
import pytest

from grpo_jax import code


@pytest.fixture
def four():
    return code.double(2)


@pytest.mark.trap(1)
@pytest.mark.parametrize("x", [0, 3])
def test_double(x):
    assert code.double(x) == x + x


@pytest.mark.slow
@pytest.mark.trap(2)
def test_half():
    assert code.half(6) == 3


@pytest.mark.trap(2)
def test_half_of_nothing():
    assert code.half(0) == 0


@pytest.mark.trap(3)
def test_in_the_setup(four):
    pass


def test_of_no_trap():
    assert code.half(6) == 3
"""


@pytest.fixture
def tree(tmp_path):
    """A minimal package with tests of three traps."""
    for path, text in {
        "grpo_jax/__init__.py": "",
        "grpo_jax/code.py": CODE,
        "tests/__init__.py": "",
        "tests/test_code.py": TESTS,
        "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["slow", "trap(number)"]\n',
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def mutant(id_: str, old: str, new: str) -> Mutant:
    return Mutant(id_, "Something.", "grpo_jax/code.py", old, new)


TRIPLE, THIRD = mutant("1a", "2 * x", "3 * x"), mutant("2a", "x / 2", "x / 3")


@pytest.mark.slow
def test_a_quick_test_a_slow_one_and_a_survivor(tree):
    """Unmarked tests do not count, and slow ones are tried last."""
    survivor = mutant("1b", "x / 2", "x / 3")
    first, second, third = check(tree, [TRIPLE, survivor, THIRD])
    assert (first.test, second.test, third.test) == (
        "tests/test_code.py::test_double[3]",
        None,
        "tests/test_code.py::test_half",
    )
    assert second.text == "SURVIVES (no test fails)"
    assert (tree / "grpo_jax" / "code.py").read_text() == CODE


@pytest.mark.slow
def test_a_failing_setup_counts_and_a_broken_collection_does_not(tree):
    edits = [mutant("3a", "return 2 * x", "return 1 / 0"), mutant("3b", "return 2 * x", "return 2 *")]
    found = {finding.mutant.id: finding for finding in check(tree, edits, jobs=2, baseline=False)}
    setup, collection = found["3a"], found["3b"]
    assert setup.test == "tests/test_code.py::test_in_the_setup"
    assert collection.test is None
    assert collection.trouble


@pytest.mark.slow
def test_what_fails_without_a_mutant_is_no_instrument(tree):
    (tree / "grpo_jax" / "code.py").write_text(CODE.replace("2 * x", "4 * x"))
    with pytest.raises(CheckError, match=r"tests/test_code.py::test_double\[3\] fails without any mutant"):
        list(check(tree, [mutant("1a", "4 * x", "3 * x")]))
    (tree / "grpo_jax" / "code.py").write_text(CODE.replace("x / 2", "x / 4"))
    (found,) = check(tree, [mutant("2a", "x / 4", "x / 3")])
    assert found.trouble == "tests/test_code.py::test_half also fails without it"


@pytest.mark.slow
def test_what_fails_on_its_own_has_caught_nothing(tree):
    """The tests of its trap pass after those of another trap, as in the run without mutants, but not alone."""
    (tree / "tests" / "test_code.py").write_text(
        "import pytest\n\nSEEN = []\n\n\n@pytest.mark.trap(1)\ndef test_first():\n    SEEN.append(1)\n\n\n"
        "@pytest.mark.trap(2)\ndef test_needs_first():\n    assert SEEN\n"
    )
    edits = [mutant("1a", "2 * x", "2 * x  # the same"), mutant("2a", "x / 2", "x / 2  # the same")]
    found = {finding.mutant.id: finding for finding in check(tree, edits)}
    assert found["1a"].text == "SURVIVES (no test fails)"
    assert found["2a"].trouble == "tests/test_code.py::test_needs_first also fails without it"


@pytest.mark.slow
def test_tests_that_were_stopped_are_no_verdict(tree):
    (tree / "tests" / "test_code.py").write_text(
        "import pytest\n\n\n@pytest.mark.trap(1)\ndef test_stops():\n    raise KeyboardInterrupt\n"
    )
    (found,) = check(tree, [TRIPLE], baseline=False)
    assert found.trouble == "pytest ended with exit code 2"
    with pytest.raises(CheckError, match="pytest ended with exit code 2 fails without any mutant"):
        list(check(tree, [TRIPLE]))


def test_a_trap_that_is_none(capsys):
    with pytest.raises(SystemExit):
        check_instrument.main(["--trap=99"])
    assert "--trap=[99]: has no mutants" in capsys.readouterr().err


def test_near_tests_are_tried_first():
    update = Mutant("1", "Something.", "grpo_jax/training/update.py", "", "")
    tests = ["tests/data/test_a.py::x", "tests/training/test_a.py::x", "tests/training/test_update.py::x"]
    assert check_instrument.nearest_first(update, tests) == tests[::-1]


def test_a_stale_mutant_is_told(tree):
    with pytest.raises(CheckError, match=r"mutant 1a is stale: its old text stands 0 times in grpo_jax/code.py"):
        list(check(tree, [dataclasses.replace(TRIPLE, old="5 * x")]))


@pytest.mark.parametrize(("mutants", "code"), [([TRIPLE], 0), ([TRIPLE, mutant("1b", "x / 2", "x / 3")], 1)])
def test_the_command(tree, mutants, code, monkeypatch, capsys):
    monkeypatch.setattr(check_instrument, "ROOT", tree)
    monkeypatch.setattr(check_instrument, "read_mutants", lambda: mutants)
    assert check_instrument.main(["--jobs=1", "--trap=1", "--no-baseline"]) == code
    printed = capsys.readouterr().out
    assert "tests/test_code.py::test_double[3]" in printed
    assert ("not caught: 1b" in printed) == bool(code)


def test_reasons_are_of_traps_without_a_mutant(tmp_path: Path):
    (tmp_path / "some.toml").write_text('[[without_mutant]]\ntrap = 5\nreason = "Because."\n')
    assert read_reasons(tmp_path) == {5: "Because."}
    assert read_mutants(tmp_path) == []
