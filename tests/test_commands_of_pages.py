"""Every command of the pages is run by a test or says what it needs. The fields and metrics that pages name exist.

A command stands in a block of its own or, with its arguments, in the text. Those of README.md, docs/, the notebooks and
`make demo` (at its end) are looked at. Three things may be true of one:

* RUN_HERE has its name: a test below runs it as the page has it, on copies of a tiny run.
* RUN_BY has its name: another test runs the command, at the size of a test.
* The page says behind it, or above it in its block, what it needs, as in `# needs a GPU`.
"""

import contextlib
import functools
import glob
import importlib
import inspect
import io
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

from grpo_jax.commands import COMMANDS
from grpo_jax.config import Config, fields, load
from grpo_jax.config.elsewhere import EQUAL, SIMILAR
from grpo_jax.data.sources import read_problems
from grpo_jax.rewards import Attempt, make_reward
from grpo_jax.runs.lines import OF_STEP, STATISTICS, Measured
from grpo_jax.studies.loading import load_study
from grpo_jax.training import update
from tests.helpers import ROOT
from tests.test_pages import PAGES, each

START, TROUBLESHOOTING, COMING = (ROOT / "docs" / f"{name}.md" for name in ("start", "troubleshooting", "coming_from"))
SHOWN = [*PAGES, ROOT / "Makefile", *sorted((ROOT / "notebooks").glob("*.ipynb"))]  # where commands are shown

VARIABLES = {"\t@echo '": "", "$(WORKDIR)": "runs/two_grpo", "$seed": "0"}  # of the Makefile and of loops
BLOCK = re.compile(r"^ {4}.*\n(?:(?: {4}.*)?\n)*", re.MULTILINE)
OTHERS = "pip|hf|vllm|ssh|sbatch|sky|xpk|gcloud|docker|kubectl"  # programs that are not of this project
COMMAND = re.compile(rf"^ +(?:\w+=\S+ |timeout \S+ \S+ )*((?:\S+/)?python|grpo|make|deploy/\S+|{OTHERS}) (.*)")
IN_TEXT = re.compile(r"`((?:grpo (?:config )?+\w+|python launch/\w+\.py) [^`\n]+)`")  # not the name `grpo config diff`

# What a page runs, and where a test or the continuous integration runs it.
RUN_BY = {
    "train": "tests/commands/test_train.py",
    "study": "tests/commands/test_study.py",
    "watch": "tests/reporting/test_watch.py",
    "regrade": "tests/commands/test_regrade.py",
    "gradients": "tests/commands/test_gradients.py",
    "doctor": "tests/commands/test_doctor.py",
    "init": "tests/commands/test_init.py",
    "completion": "tests/commands/test_completion.py",
    "sums.py": "tests/test_commands_of_pages.py",
    "pytest": "Makefile",
}
RUN_HERE = ("report", "runs", "config", "replay", "export")
RUN = re.compile(r"(?:runs|studies)/\w+\??|\b(?:RUN|DIR)\b")  # the directory of a run, or those that `?` stands for

SECTIONS = "task|model|warm_start|rollout|objective|optimizer|train|evaluation|checkpoint|logging|mesh"
FIELD = re.compile(rf"`(?:--config\.)?((?:{SECTIONS})\.[a-z_0-9.]*[a-z_0-9])(?=[`=])")
WITH_ANY_KEY = ("objective.parameters.", "task.reward.terms.", "task.chat_variables.")


class Command(NamedTuple):
    """What a page runs: the name of a command of `grpo`, a script, a module, `make TARGET`, or another program."""

    name: str
    words: list[str]  # behind the name
    needs: bool = False  # whether the page says what it needs


def parsed(program, line, needs=False):
    name, *words = shlex.split(line, comments=True) or [""]
    if program == "make":
        name = f"make {name}"
    elif program.endswith("python"):
        name, *words = words if name == "-m" else (name, *words)
        if script := re.fullmatch(r"launch/(\w+)\.py", name):
            name = {"main": "train"}.get(script[1], script[1])
    elif program != "grpo":
        name, words = program, [name, *words]
    return Command(name, words, needs)


def commands(page):
    """Return the commands of a page."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    shared = re.search(r"^    FLAGS=\((.*)\)$", text, re.MULTILINE)
    found = []
    for block in BLOCK.findall(text):
        needs = False
        for line in block.splitlines():
            needs = needs or line.lstrip().startswith("# needs ")
            if command := COMMAND.match(line):
                whole = command[2].replace('"${FLAGS[@]}"', shared[1]) if shared else command[2]
                found.append(parsed(command[1], whole, needs or "# needs " in line))
    return [*found, *(parsed(*command.split(" ", 1)) for command in IN_TEXT.findall(text))]


def overrides(words):
    return [word.removeprefix("--config.").split("=", 1) for word in words if word.startswith("--config.")]


@functools.cache
def shown(name):
    """Return where a flag would stand: the help of a command, or the text of a script. None for other programs."""
    if name in COMMANDS:
        with contextlib.redirect_stdout(io.StringIO()) as text, pytest.raises(SystemExit):
            importlib.import_module(f"grpo_jax.commands.{name}").main(["--help"])
        return text.getvalue()
    return (ROOT / name).read_text() if re.fullmatch(r"\w+/\S+\.py", name) else None


def schema(section=Config, prefix=""):
    """Yield the dotted names of all sections and fields."""
    for name, kind in fields.hints_of(section).items():
        yield prefix + name
        for member in fields.sections(kind):
            yield from schema(member, f"{prefix}{name}.")


@each([page for page in SHOWN if commands(page)])
def test_the_commands_of_a_page_have_flags_and_configurations_that_exist(page):
    for name, words, _ in commands(page):
        flags = {word.partition("=")[0] for word in words if word.startswith("--")}
        text = shown(name)
        assert [flag for flag in flags if text and not flag.startswith("--config.") and flag not in text] == []
        files = [ROOT / word.removeprefix("--config=") for word in words if word.startswith("--config=")]
        for file in files:
            if file.is_file():  # the tutorial writes one of its own
                load(file, overrides(words))
        if name.startswith("make "):
            assert re.search(rf"^{name[5:]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), name


@each([page for page in SHOWN if commands(page)])
def test_each_command_is_run_by_a_test_or_says_what_it_needs(page):
    free = [command for command in commands(page) if not command.needs]
    assert [(name, *words) for name, words, _ in free if name not in (*RUN_HERE, *RUN_BY)] == [], (
        "No test runs this. Let one do so and put its name into RUN_HERE or RUN_BY. If it needs hardware, a network or "
        "minutes, write so behind the command, or above it in its block: # needs a GPU"
    )


@pytest.mark.parametrize("name", RUN_BY)
def test_what_runs_a_command_knows_it(name):
    assert re.search(rf"\b{name.split()[-1]}\b", (ROOT / RUN_BY[name]).read_text())
    assert any(name == command.name and not command.needs for page in SHOWN for command in commands(page))


@pytest.mark.parametrize(
    "line",
    sorted({shlex.join([name, *words]) for page in SHOWN for name, words, needs in commands(page)
            if name in RUN_HERE and not needs}),
)  # fmt: skip
def test_a_quick_command_runs_as_it_stands_on_its_page(line, tmp_path, monkeypatch):
    """Every run that it names is a copy of the tiny one."""
    monkeypatch.chdir(tmp_path)
    for folder in ("docs", "runs"):
        (tmp_path / folder).mkdir()
    for run in {*RUN.findall(line), "runs/two_grpo"}:
        tiny = "run_lora" if "lora" in run else "run"
        shutil.copytree(ROOT / "tests" / "fixtures" / tiny, run.replace("?", "0"))
    name, *words = (found for word in shlex.split(line) for found in sorted(glob.glob(word)) or [word])
    code = importlib.import_module(f"grpo_jax.commands.{name}").main(words)
    assert code == 0 or (name, code) == ("config", 1)  # as of `diff`: there are differences


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
    (words,) = [words for name, words, _ in commands(START) if name == "train" and "--workdir=runs/mine" in words]
    config = load(ROOT / "configs" / "my_questions.py", overrides(words))
    reward = make_reward(config.task.reward, config.rollout.max_new_tokens)
    right, wrong = reward.judge([Attempt("2+3", "5", "It is 5.", True, 5), Attempt("2+3", "5", "2", True, 1)])
    assert (right.reward, right.right) == (pytest.approx(1.02), True)
    assert (wrong.reward, wrong.right) == (pytest.approx(0.1), False)


def test_the_questions_of_the_first_steps(written):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(written / "sums.py"))
    (written / "my.jsonl").write_text(printed.getvalue())
    source = load(ROOT / "configs" / "my_questions.py", [("task.train.path", str(written / "my.jsonl"))]).task.train
    problems = read_problems(source, "task.train")
    assert len(problems) == 55
    assert (problems[-1].prompt, problems[-1].answer) == ("What is 9 + 0?", "9")


def test_the_study_of_the_first_steps(written):
    assert len(list(load_study(written / "fours.py").runs())) == 6
