"""The table of docs/traps.md agrees with the marks of the tests."""

import re
from pathlib import Path

from tools.check_instrument import marked_tests

TESTS = Path(__file__).parent
ROW = re.compile(r"^\| (\d+) \| .* \| (.*) \|$", re.MULTILINE)


def test_the_table_is_what_the_marks_say():
    marked = {
        number: {test.split("::")[0].removeprefix("tests/") for test in tests}
        for number, tests in marked_tests(TESTS.parent).items()
    }
    table = (TESTS.parent / "docs" / "traps.md").read_text()
    told = {int(number): set(re.findall(r"\S+\.py", cell)) for number, cell in ROW.findall(table)}
    assert sorted(told) == list(range(1, 48))
    assert {number: files for number, files in told.items() if files} == marked
