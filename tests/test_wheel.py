"""The wheel, installed into an environment of its own: its contents, and its commands without a checkout."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

import grpo_jax
from grpo_jax.commands import COMMANDS, init
from tests.helpers import CONFIGS, ROOT, tiny_flags

SOURCES = ("grpo_jax", "configs", "setup.py", "pyproject.toml", "README.md", "LICENSE")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*command, cwd):
    """Return the output and errors of a command in an environment without a checkout."""
    # Without XLA_FLAGS programs are compiled as they are for users; other tests compile faster (tests/compilation.py).
    surroundings = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XLA_FLAGS")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built without a network from a copy, so that nothing of an earlier build gets into it."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():  # compiled files come and go while other tests run
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    offline = ("--no-deps", "--no-index", "--no-build-isolation")
    done = run(*PIP, "wheel", *offline, f"--wheel-dir={built}", ".", cwd=source)
    assert done.returncode == 0, done.stdout
    (path,) = built.iterdir()
    return path


@pytest.fixture(scope="module")
def grpo(wheel, tmp_path_factory):
    """The installed command. Its environment has the libraries of this one, but not this checkout."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    done = run(*PIP, f"--python={python}", "install", "--no-deps", "--no-index", wheel, cwd=environment)
    assert done.returncode == 0, done.stdout
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin" / "grpo"


def test_it_holds_the_package_and_the_configs_and_nothing_else(wheel):
    assert wheel.name.startswith(f"grpo_jax-{grpo_jax.__version__}-")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    expected = {f"grpo_jax/configs/{path.relative_to(CONFIGS)}" for path in CONFIGS.rglob("*.py")}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "grpo_jax").rglob("*.py")}
    expected |= {f"grpo_jax/commands/project/{name}" for name in init.FILES}
    assert sorted(names) == sorted(
        expected | {"grpo_jax/py.typed", "grpo_jax/reporting/page.css", "grpo_jax/reporting/page.js"}
    )


def test_it_says_its_commands_and_its_version(grpo, tmp_path):
    helped = run(grpo, "--help", cwd=tmp_path)
    assert helped.returncode == 0, helped.stdout
    assert all(f"\n  {name} " in helped.stdout for name in COMMANDS)
    assert run(grpo, "--version", cwd=tmp_path).stdout == f"grpo_jax {grpo_jax.__version__}\n"


def test_mistakes_get_one_sentence(grpo, tmp_path):
    for mistake, sentence in {
        ("--config=two_grop",): "--config=two_grop: no such file; name a Python file with get_config(), or a shipped",
        ("--config=two_grpo", "--config.train.steps=0"): "train.steps=0: must be at least 1",
    }.items():
        done = run(grpo, "train", "--workdir=run", *mistake, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stdout.startswith(f"error: {sentence}")
        assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_shipped_study_starts_its_runs_with_the_package(grpo, tmp_path):
    done = run(grpo, "study", "--study=paper", "--workdir=study", "--commands", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    commands = done.stdout.splitlines()
    assert len(commands) == 10
    started = run(*shlex.split(commands[0]), "--config.train.steps=0", cwd=tmp_path)
    assert started.returncode == 2
    assert started.stdout.startswith("error: train.steps=0: must be at least 1")


@pytest.mark.slow
def test_a_shipped_configuration_is_trained_in_an_empty_folder(grpo, tmp_path):
    flags = ("--config=two_grpo", "--workdir=run", f"--config.warm_start.cache_dir={tmp_path / 'cache'}")
    done = run(grpo, "train", *flags, *tiny_flags(model__architecture__num_layers=1), cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "after RL" in done.stdout
    assert (tmp_path / "run" / "report.html").is_file()
