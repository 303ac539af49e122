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

# The behaviour that a new field comes with, run in a process that has the field.
NEW_FIELD = """
import json
from pathlib import Path
from grpo_jax.config import ConfigError, CHANGEABLE_FREELY, covers, load, read_recorded, to_dict
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
assert not covers(CHANGEABLE_FREELY, "optimizer.ema_decay")
"""


# The behaviour that a new flag of a model family comes with.
NEW_FLAG = """
from pathlib import Path
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file
from grpo_jax.config import load
from grpo_jax.policy.huggingface import describe, load_checkpoint, save_checkpoint
from tests.policy.huggingface.checkpoints import policy_of, random_tensors, write

tensors = random_tensors("mistral")
biases = {f"model.layers.{layer}.self_attn.o_proj.bias": np.full(16, layer + 1, np.float32) for layer in range(3)}
outer, mistral = policy_of(write(Path("outer"), "mistral", {**tensors, **biases}, model_type="outer")), policy_of(
    write(Path("mistral"), "mistral", tensors)
)
assert (outer.architecture.out_bias, mistral.architecture.out_bias) == (True, False)
here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
params, plain = load_checkpoint(Path("outer"), outer, here), load_checkpoint(Path("mistral"), mistral, here)
assert jax.tree.structure(plain) == jax.tree.structure(mistral.shapes())
assert all("bias" not in layer["attention"]["out"] for layer in plain["layers"].values())
tokens = jnp.arange(8).reshape(2, 4)
without = jax.tree.map(lambda leaf: leaf, params)
for layer, one in without["layers"].items():
    assert (one["attention"]["out"]["bias"] == int(layer) + 1).all()
    one["attention"]["out"]["bias"] = jnp.zeros(16)
expected = mistral.apply(plain, tokens)
np.testing.assert_array_equal(outer.apply(without, tokens), expected)
assert not np.allclose(outer.apply(params, tokens), expected, atol=0.1)
save_checkpoint(Path("again"), outer, params, Path("outer"), jnp.float32)
again = load_file("again/model.safetensors")
assert all((again[name] == value).all() for name, value in biases.items())
assert describe(outer.architecture, 64)["model_type"] == "outer"
assert load(Path("configs/two_grpo.py"), [("model.architecture.out_bias", "True")]).model.architecture.out_bias
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, beside the tests as they are."""
    for name in ("grpo_jax", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


def put(path, pattern, line):
    """Put a line behind the one that matches, or in its place if both assign to the same name."""
    text = path.read_text()
    (found,) = re.findall(rf"^{pattern}.*\n", text, re.MULTILINE)
    same = found.partition("=")[0] == line.partition("=")[0]
    path.write_text(text.replace(found, line if same else found + line))


def run(script, directory):
    """Run Python code in a process of its own. Returns what it wrote to stderr."""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def test_a_new_field_of_the_configuration_is_one_line_in_one_file(copy):
    (line,) = re.findall(r"```python\n(    ema_decay: .*\n)```", PAGE)
    put(copy / "grpo_jax" / "config" / "schema.py", "    max_nonfinite: ", line)
    assert re.search(r"unlike today's defaults: .*\boptimizer\.ema_decay=0\.0", run(NEW_FIELD, copy))


def test_a_new_flag_of_a_model_family_is_two_files(copy):
    (section,) = re.findall(r"### A new flag of a model family: 2 files\n(.*?)\n## ", PAGE, re.DOTALL)
    field, row, use = re.findall(r"```python\n(.*\n)```", section)
    architecture = copy / "grpo_jax" / "config" / "architecture.py"
    put(architecture, "    norm_offset: ", field)
    put(architecture, '    "mistral": ', row)
    put(copy / "grpo_jax" / "policy" / "decoder.py", "        self.out = ", use)
    run(NEW_FLAG, copy)


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
