"""docs/traps.md says which test file guards against which bug, and the tests' marks say the same."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
ROW = re.compile(r"^\| (\d+) \| .* \| (.*) \|$", re.MULTILINE)


def test_the_table_is_what_the_marks_say():
    marked: dict[int, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for number in re.findall(r"^@pytest\.mark\.trap\((\d+)\)$", path.read_text(), re.MULTILINE):
            marked.setdefault(int(number), set()).add(str(path.relative_to(TESTS)))
    table = (TESTS.parent / "docs" / "traps.md").read_text()
    told = {int(number): set(re.findall(r"\S+\.py", cell)) for number, cell in ROW.findall(table)}
    assert sorted(told) == list(range(1, 43))
    assert {number: files for number, files in told.items() if files} == marked
