"""The command `grpo` and its list of subcommands."""

import subprocess
import sys

import pytest

import grpo_jax
from grpo_jax.commands import COMMANDS, argv_prefix, main
from tests.helpers import ROOT


def told(capsys, monkeypatch, *arguments):
    """Return exit code, output and errors of `grpo` with these arguments."""
    monkeypatch.setattr("sys.argv", ["/usr/bin/grpo", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no command is named; known are train, evaluate, study, report, "),
        (["trian", "--config=two_grpo"], "trian: unknown command; did you mean train?"),
        (["--config=two_grpo"], "--config=two_grpo: unknown command; known are train, "),
    ],
)
def test_an_unknown_command_gets_one_sentence(arguments, sentence, capsys, monkeypatch):
    code, out, err = told(capsys, monkeypatch, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {sentence}")
    assert err.count("\n") == 1


def test_help_shows_every_command_with_what_it_does(capsys, monkeypatch):
    code, out, err = told(capsys, monkeypatch, "--help")
    assert (code, err) == (0, "")
    for name in COMMANDS:
        assert [line for line in out.splitlines() if line.startswith(f"  {name} ") and len(line) > 20]


def test_the_version_is_that_of_the_package(capsys, monkeypatch):
    assert told(capsys, monkeypatch, "--version") == (0, f"grpo_jax {grpo_jax.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_names_itself_in_its_usage(name, capsys, monkeypatch):
    code, out, _ = told(capsys, monkeypatch, name, "--help")
    assert code == 0
    assert out.startswith(f"usage: grpo {name} ")


def test_a_script_of_launch_for_each_command_but_what_is_about_grpo_itself():
    scripts = {path.read_text().rpartition('run("')[2].partition('")')[0] for path in (ROOT / "launch").glob("*.py")}
    assert scripts == set(COMMANDS) - {"completion"}


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "train --help",
        "trian",
        "train --config=two_grpo --workdir",
        "runs tests/fixtures",
        "config diff two_grpo tests/fixtures/run",
    ],
)
def test_jax_is_not_imported_where_nothing_is_computed(arguments):
    program = (
        f"import atexit, sys; sys.argv[1:] = {arguments.split()}; from grpo_jax.commands import main; "
        "atexit.register(lambda: print('jax' in sys.modules, file=sys.stderr)); main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "False"


def test_words_start_a_command_from_any_directory(tmp_path):
    (tmp_path / "json.py").write_text("raise ImportError('of the directory that the command runs in')")
    done = subprocess.run([*argv_prefix("train"), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: grpo train ")
