"""--print-config; Ctrl-C on the way to the first step; and which errors handlers may name."""

import ast
import json
import os
import subprocess
import sys
import textwrap

import jax
import pytest

from grpo_jax.commands import evaluate, export, plan, regrade, runs, train
from grpo_jax.config import CONFIGURATION, command_line, find_file, load, smoke, to_dict
from tests.helpers import CONFIGS, ROOT

# A callback of the garbage collector, as JAX has one, in which Ctrl-C finds the process.
INTERRUPTED = """
    import gc, signal, time
    from grpo_jax.config import command_line

    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs without it

    def callback(phase, info):
        gc.callbacks.remove(callback)
        signal.raise_signal(signal.SIGINT)

    def main(argv):
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(90)
        return 0

    command_line.run(main)
"""


# A busy machine, on which Ctrl-C comes again before it can be taken.
BUSY = """
    import threading, time

    def start(self, start=threading.Timer.start):
        start(self)
        time.sleep(0.3)

    threading.Timer.start = start
"""


@pytest.mark.parametrize("machine", ["", BUSY], ids=["idle", "busy"])
def test_a_ctrl_c_that_python_drops_still_ends_the_command(machine):
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(machine) + textwrap.dedent(INTERRUPTED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 130
    assert ended.stderr == "error: stopped at once; nothing was written\n"


@pytest.mark.parametrize("command", [train, evaluate, plan, regrade], ids=lambda module: module.__name__)
def test_the_configuration_is_printed_whole(command, tmp_path, monkeypatch, capsys):
    """Other flags that the command requires need not be there, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    flags = [f"--config={CONFIGS / 'smollm2_135m.py'}", "--config.model.lora.rank=8"]
    with pytest.raises(SystemExit) as ended:
        command.main([*flags, "--print-config"])
    assert ended.value.code == 0
    expected = to_dict(load(CONFIGS / "smollm2_135m.py", [("model.lora.rank", "8")]))
    assert json.loads(capsys.readouterr().out) == expected
    with pytest.raises(SystemExit) as ended:
        command.main([*flags, "--config.model.lora.rang=8", "--print-config"])
    assert ended.value.code == 2
    assert "did you mean rank?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_a_smoke_run_would_run_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(["--config=two_grpo", "--smoke", "--print-config"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == to_dict(smoke(load("two_grpo"), jax.device_count()))


@pytest.mark.parametrize(
    ("command", "argv", "expected"),
    [
        (train, ["--confg=two_grpo"], "--confg: unknown flag; did you mean --config?"),
        (train, ["--config=two_grpo", "--workdr", "runs/x"], "--workdr: unknown flag; did you mean --workdir?"),
        (runs, ["runs", "--jsn"], "--jsn: unknown flag; did you mean --json?"),
        (export, ["--work=run"], "required: --to"),  # the beginning of a flag is that flag
    ],
)
def test_a_misspelt_flag_is_named_before_one_that_is_missing(command, argv, expected, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(expected)


def test_a_tilde_is_the_users_directory(tmp_path, monkeypatch):
    """Shells leave that of --workdir=~/runs to the program."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").touch()
    assert command_line.path("~/runs/a") == tmp_path / "runs" / "a"
    assert find_file("~/mine.py", CONFIGURATION) == tmp_path / "mine.py"


@pytest.mark.parametrize(
    "flags", [["train", "--config=two_grpo", "--print-config"], ["--help"]], ids=["printed", "help"]
)
def test_a_reader_that_is_gone_is_no_error(flags):
    """As in `grpo train --config=two_grpo --print-config | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "grpo_jax", *flags]
    ended = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("script", sorted((ROOT / "grpo_jax" / "commands").glob("*.py")), ids=lambda path: path.stem)
def test_handlers_name_no_error_that_the_same_try_imports(script):
    """Imports take seconds, and where Ctrl-C stops them, a name that is not there yet would be an error of its own."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Try):
            imports = [inner for line in node.body for inner in ast.walk(line) if isinstance(inner, ast.ImportFrom)]
            imported = {alias.asname or alias.name for one in imports for alias in one.names}
            caught = [handler.type for handler in node.handlers if handler.type]
            named = {inner.id for kind in caught for inner in ast.walk(kind) if isinstance(inner, ast.Name)}
            assert not imported & named
