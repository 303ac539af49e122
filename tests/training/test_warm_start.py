"""The cache of base policies: which code its key follows."""

import dataclasses
import os
import shutil
import subprocess
import sys

import jax

from grpo_jax.runs.program import modules_behind, program
from grpo_jax.training import warm_start
from grpo_jax.training.experiment import build
from grpo_jax.training.warm_start import cache_path
from tests.helpers import ROOT, make_config

# Edits of the package: a file, a text in it, and what is written in the place of its first occurrence.
DECIDING = (
    ("training/supervised.py", "jnp.where(mask, logprobs, 0.0).sum() / mask.sum()", "logprobs.mean()"),
    ("training/supervised.py", "optax.clip_by_global_norm(1.0)", "optax.clip_by_global_norm(2.0)"),
    ("training/optimizer.py", "beta2: float = 0.999", "beta2: float = 0.99"),
    ("training/warm_start.py", "put(batches(step - 1)", "put(batches(step)"),
    ("policy/decoder.py", "jnp.mean(wide**2, axis=self.axes", "jnp.mean(abs(wide), axis=self.axes"),
    ("policy/attention.py", "scaled = products * self.scale", "scaled = products"),
    ("objectives/tokens.py", "positions < lengths[..., None]", "positions <= lengths[..., None]"),
    ("data/tasks/modular_expressions.py", "skip_probability", "keep_probability"),
    ("data/tokenizer.py", "tokens[index, : len(row)] = row", "tokens[index, -len(row) :] = row"),
    ("randomness.py", 'DEMONSTRATIONS = "demonstrations"', 'DEMONSTRATIONS = "examples"'),
)
OTHERS = (
    ("policy/decoder.py", '"""', '"""Another beginning of a docstring. '),
    ("training/supervised.py", "\n\n\n", "\n\n\n# Another comment.\n"),
    ("objectives/surrogates.py", "return 4 / tau", "return 3 / tau"),
    ("rewards/mathematics/compare.py", "def ", "def _"),
    ("data/tasks/questions.py", "def ", "def _"),
    ("training/loop.py", "def ", "def _"),
    ("policy/huggingface/names.py", "q_proj", "queries"),
    ("config/schema.py", "seed: Seed = 0", "seed: Seed = 1"),
)
SCRIPT = """
import sys
from pathlib import Path
from grpo_jax.data.tasks.modular_expressions import ModularExpressions
from grpo_jax.runs.program import program_digest
from grpo_jax.training.warm_start import deciding_modules
from tests.training.test_warm_start import DECIDING, OTHERS

def key():
    return program_digest(deciding_modules(object.__new__(ModularExpressions)))

before = key()
for name, old, new in (*DECIDING, *OTHERS):
    file = Path("grpo_jax", name)
    text = file.read_text()
    assert old in text, (name, old)
    file.write_text(text.replace(old, new, 1))
    assert (key() != before) == ((name, old, new) in DECIDING), (name, old)
    file.write_text(text)
assert key() == before
"""


def test_the_key_follows_the_code_that_decides_the_base_policy_and_no_other(tmp_path):
    shutil.copytree(ROOT / "grpo_jax", tmp_path / "grpo_jax", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=True
    )


def test_the_key_follows_what_a_users_task_is_made_of(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_task.py").write_text("import my_helper\nfrom grpo_jax.data import encode\n")
    (tmp_path / "my_helper.py").write_text("from grpo_jax.rewards import Verdict\n")
    behind = modules_behind("my_task", "my_helper")
    assert behind >= {"my_task", "my_helper", "grpo_jax.data.tokenizer", "grpo_jax.rewards.verdict"}
    assert not behind & {"grpo_jax.data", "grpo_jax.rewards", "grpo_jax.data.problem"}
    assert modules_behind("a_notebook") == set()


def test_only_what_code_does_counts():
    code = b'"""Doc."""\n\n\ndef f(x):\n    """Return more."""\n    return x + 1  # one\n'
    assert program(code) == program(b'"""Other."""\ndef f(x):\n\n    return (x + 1)\n')
    assert program(code) != program(code.replace(b"+ 1", b"- 1"))
    assert program(code) != program(code.replace(b"(x)", b"(x, y)"))


def test_what_else_the_key_follows(monkeypatch):
    experiment = build(make_config(), jax.devices()[:1])
    settings = experiment.config.warm_start
    before = cache_path(experiment, settings, "taught")
    assert cache_path(experiment, settings, "others") != before

    class Task(type(experiment.task)):
        """A task of someone's own, which is in this file."""

    other = dataclasses.replace(experiment, task=object.__new__(Task))
    assert cache_path(other, settings, "taught") != before
    with monkeypatch.context() as patch:  # which decide how sums are cut
        patch.setattr(warm_start, "cores", lambda: 99)
        assert cache_path(experiment, settings, "taught") != before
    assert cache_path(experiment, settings, "taught") == before
