"""Ctrl-C on a command's way to its first step, and which errors its handlers may name."""

import ast
import subprocess
import sys
import textwrap

import pytest

from tests.helpers import ROOT

# A callback of the garbage collector, as JAX has one, in which Ctrl-C finds the process.
INTERRUPTED = """
    import gc, signal, time
    from grpo_jax.config import command_line

    def callback(phase, info):
        gc.callbacks.remove(callback)
        signal.raise_signal(signal.SIGINT)

    def main(argv):
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(20)
        return 0

    command_line.run(main)
"""


def test_a_ctrl_c_that_python_drops_still_ends_the_command():
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED)], cwd=ROOT, capture_output=True, text=True, timeout=15
    )
    assert ended.returncode == 130
    assert ended.stderr == "error: stopped at once; nothing was written\n"


@pytest.mark.parametrize("script", sorted((ROOT / "launch").glob("*.py")), ids=lambda path: path.stem)
def test_handlers_name_no_error_that_the_same_try_imports(script):
    """Imports take seconds, and where Ctrl-C stops them, a name that is not there yet would be an error of its own."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Try):
            imports = [inner for line in node.body for inner in ast.walk(line) if isinstance(inner, ast.ImportFrom)]
            imported = {alias.asname or alias.name for one in imports for alias in one.names}
            caught = [handler.type for handler in node.handlers if handler.type]
            named = {inner.id for kind in caught for inner in ast.walk(kind) if isinstance(inner, ast.Name)}
            assert not imported & named
