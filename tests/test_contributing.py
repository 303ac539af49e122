"""The worked examples of CONTRIBUTING.md work."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from grpo_jax.config import ConfigError, load, own_code
from grpo_jax.data.sources import read_problems
from tests.helpers import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()

# What a new field of the configuration comes with; in a process of its own, where it is there.
NEW_FIELD = """
import json
from pathlib import Path
from grpo_jax.config import ConfigError, UNDECISIVE, covers, load, read_recorded, to_dict
from grpo_jax.files import run_config

two_grpo = Path("configs/two_grpo.py")
assert load(two_grpo).optimizer.ema_decay == 0.999
assert load(two_grpo, [("optimizer.ema_decay", "0.99")]).optimizer.ema_decay == 0.99
assert to_dict(load("configs/paper/paper.py"))["optimizer"]["ema_decay"] == 0.999
for field, text, sentence in (("ema_decay", "2", "must be at least 0 and at most 1"), ("ema_deca", "1", "ema_decay?")):
    try:
        load(two_grpo, [(f"optimizer.{field}", text)])
        raise AssertionError
    except ConfigError as error:
        assert sentence in str(error), error
run = Path("tests/fixtures/run")
assert run_config(run)["optimizer"]["ema_decay"] == 0
assert not covers(UNDECISIVE, "optimizer.ema_decay")
"""


def test_a_new_field_of_the_configuration_is_one_line_in_one_file(tmp_path):
    (line,) = re.findall(r"```python\n(    ema_decay: .*\n)```", PAGE)
    shutil.copytree(ROOT / "grpo_jax", tmp_path / "grpo_jax", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    schema = tmp_path / "grpo_jax" / "config" / "schema.py"
    text = schema.read_text()
    last = re.search(r"class OptimizerConfig:.*?\n    max_nonfinite: [^\n]*\n", text, re.DOTALL)
    schema.write_text(text[: last.end()] + line + text[last.end() :])
    ended = subprocess.run(
        [sys.executable, "-c", NEW_FIELD],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "filled in optimizer.ema_decay=0.0" in ended.stderr


@pytest.fixture
def sheet(tmp_path, monkeypatch):
    """Return a configuration whose questions come from the page's source, and the file that it reads."""
    ((name, text),) = re.findall(r"```python\n# (sheet\.py)\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sheet", raising=False)
    path = tmp_path / "sums.csv"
    path.write_text("question,answer\n1+1,2\n2+2,4\n3+3,6\n")
    fields = [("task.train.kind", "sheet:rows"), ("task.train.path", str(path)), ("task.train.limit", "2")]
    return load(ROOT / "configs" / "smollm2_135m.py", fields), path


def test_a_new_source_of_questions_is_one_file(sheet):
    config, path = sheet
    problems = read_problems(config.task.train, "task.train")
    assert [(problem.prompt, problem.answer) for problem in problems] == [("1+1", "2"), ("2+2", "4")]
    assert own_code(config) == {"sheet:rows": "task.train.kind"}
    path.write_text("question,answer\n1+1,2\n2+2,\n")
    with pytest.raises(ConfigError, match=rf"task\.train\.answer_field='answer': {path}, 1 is empty there; "):
        read_problems(config.task.train, "task.train")
