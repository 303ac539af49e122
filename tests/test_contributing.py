"""CONTRIBUTING.md's worked examples do what it says."""

import os
import re
import shutil
import subprocess
import sys

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
