"""The commands, fields and metrics that the pages name exist, and the code of docs/start.md works.

So do the commands that `make demo` shows at its end.
"""

import contextlib
import functools
import importlib
import inspect
import io
import json
import re
import shlex
import subprocess
import sys

import pytest

from grpo_jax.config import Config, fields, load
from grpo_jax.config.elsewhere import EQUAL, SIMILAR
from grpo_jax.rewards import Attempt, make_reward
from grpo_jax.runs.lines import OF_STEP, STATISTICS, Measured
from grpo_jax.studies.loading import load_study
from grpo_jax.training import update
from tests.helpers import ROOT
from tests.test_pages import PAGES, each

START, TROUBLESHOOTING, COMING = (ROOT / "docs" / f"{name}.md" for name in ("start", "troubleshooting", "coming_from"))
COMMAND = re.compile(r"^    (?:\S+=\S+ |timeout \S+ \S+ )*(?:python launch/(\w+)\.py|grpo (\w+)) (.*)$", re.MULTILINE)
SECTIONS = "task|model|warm_start|rollout|objective|optimizer|train|evaluation|checkpoint|logging|mesh"
FIELD = re.compile(rf"`(?:--config\.)?((?:{SECTIONS})\.[a-z_0-9.]*[a-z_0-9])(?=[`=])")
WITH_ANY_KEY = ("objective.parameters.", "task.reward.terms.", "task.chat_variables.")


def commands(page):
    """Return the name and the words of every command with a script of launch/ or with `grpo`."""
    text = re.sub(r"\\\n\s*", " ", page.read_text().replace("\t@echo '", ""))
    shared = re.search(r"^    FLAGS=\((.*)\)$", text, re.MULTILINE)
    found = []
    for script, name, words in COMMAND.findall(text):
        whole = words.replace('"${FLAGS[@]}"', shared[1]) if shared else words
        found.append((name or {"main": "train"}.get(script, script), shlex.split(whole, comments=True)))
    return found


def overrides(words):
    return [word.removeprefix("--config.").split("=", 1) for word in words if word.startswith("--config.")]


@functools.cache
def shown(name):
    """Return the help of a command."""
    with contextlib.redirect_stdout(io.StringIO()) as text, pytest.raises(SystemExit):
        importlib.import_module(f"grpo_jax.commands.{name}").main(["--help"])
    return text.getvalue()


def schema(section=Config, prefix=""):
    """Yield the dotted names of all sections and fields."""
    for name, kind in fields.hints_of(section).items():
        yield prefix + name
        for member in fields.sections(kind):
            yield from schema(member, f"{prefix}{name}.")


@each([page for page in (*PAGES, ROOT / "Makefile") if commands(page)])
def test_the_commands_of_a_page_have_flags_and_configurations_that_exist(page):
    for name, words in commands(page):
        flags = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert [flag for flag in flags if not flag.startswith("--config.") and flag not in shown(name)] == []
        files = [ROOT / word.removeprefix("--config=") for word in words if word.startswith("--config=")]
        for file in files:
            if file.is_file():  # the tutorial writes one of its own
                load(file, overrides(words))


@each([page for page in PAGES if page.name not in ("CHANGELOG.md", "CONTRIBUTING.md")])  # past fields, and examples
def test_the_fields_that_a_page_names_exist(page):
    lines = page.read_text().splitlines()
    if page == COMING:  # the other cells of a row are fields of other systems
        lines = [line.rpartition(" | ")[2] for line in lines]
    named = {field for line in lines for field in FIELD.findall(line) if not field.startswith(WITH_ANY_KEY)}
    assert sorted(named - set(schema())) == []


def test_the_page_on_other_systems_has_the_names_that_commands_know():
    """And the other way round, but for names that are the same here, and those without a field."""
    known, ours = EQUAL | SIMILAR, {field.rpartition(".")[2] for field, _ in fields.leaves()}
    there, unknown = dict.fromkeys(known, ""), []
    for theirs, here in re.findall(r"^\| (`.*) \| (.*) \|$", COMING.read_text(), re.MULTILINE):
        values = False
        for name, value in re.findall(r"`([\w.]+)(=[^`]*)?`", theirs):
            words = name.split(".")
            found = known.keys() & {".".join(words[first:]) for first in range(len(words))}
            there |= {each: there[each] + here for each in found}
            if not (found or words[-1] in ours or values) and FIELD.search(here):
                unknown.append(name)
            values = values or bool(value)  # what follows `name=value` may be more of its values
    assert {name: field for name, field in known.items() if f"`{field}" not in there[name]} == {}
    assert unknown == []


def test_the_metrics_of_the_page_on_trouble_exist():
    page = TROUBLESHOOTING.read_text()
    looked_at = re.findall(r"^\*\*Look at\*\*.*?\n\n", page, re.MULTILINE | re.DOTALL)
    said = re.findall(r"^\| the metrics say .*?\n\n", page, re.MULTILINE | re.DOTALL)
    texts = [*looked_at, *(row.split(" | ")[0] for table in said for row in table.splitlines())]
    named = {name for text in texts for name in re.findall(r"`([a-z_]+(?:/[a-z_]+)?)`", text)}
    known = {*OF_STEP, *STATISTICS.values(), *Measured, *re.findall(r'"(\w+)"\] = ', inspect.getsource(update))}
    assert len(named) > 15
    assert named - known == {"peak_bytes"}  # of summary.json


def test_the_newest_line_of_a_step_is_printed():
    (command,) = re.findall(r"^    (grep .*)$", TROUBLESHOOTING.read_text(), re.MULTILINE)
    here = command.replace("runs/two_grpo", "tests/fixtures/run").replace("python", shlex.quote(sys.executable))
    printed = subprocess.run(["bash", "-c", here], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (json.loads(printed)["kind"], json.loads(printed)["step"]) == ("train", 4)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write the files of docs/start.md into a directory on Python's path."""
    for name, text in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", START.read_text(), re.DOTALL):
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_reward_of_the_first_steps(written):
    (words,) = [words for name, words in commands(START) if name == "train" and "--workdir=runs/mine" in words]
    config = load(ROOT / "configs" / "my_questions.py", overrides(words))
    reward = make_reward(config.task.reward, config.rollout.max_new_tokens)
    right, wrong = reward.judge([Attempt("2+3", "5", "It is 5.", True, 5), Attempt("2+3", "5", "2", True, 1)])
    assert (right.reward, right.right) == (pytest.approx(1.02), True)
    assert (wrong.reward, wrong.right) == (pytest.approx(0.1), False)


def test_the_study_of_the_first_steps(written):
    assert len(list(load_study(written / "fours.py").runs())) == 6
