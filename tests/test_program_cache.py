"""Compiled programs are kept between processes, in bounded room, and apart for each kind of machine."""

import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from grpo_jax import program_cache
from grpo_jax.program_cache import DIRECTORY, PAGE, ZSTANDARD, keep_programs, machine, prune, remove_cut_off
from tests.helpers import ROOT


@pytest.fixture
def cache(monkeypatch, tmp_path):
    for name in (DIRECTORY, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "grpo_jax" / "programs"


def compile_program():
    """Compile a program in another process, or load it, and return JAX's events and warnings."""
    script = (
        "from grpo_jax.program_cache import keep_programs; keep_programs()\n"
        "import jax, jax.numpy as jnp\n"
        "jax.monitoring.register_event_listener(lambda event, **_: print(event))\n"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
        "jax.jit(lambda x: jnp.linalg.inv(x @ x) + 1)(jnp.eye(3))\n"
    )
    command, environment = [sys.executable, "-c", script], {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return found.stdout, found.stderr


def test_a_later_process_reads_what_an_earlier_one_has_compiled(cache):
    assert "/jax/compilation_cache/cache_hits" not in compile_program()[0]
    assert "/jax/compilation_cache/cache_hits" in compile_program()[0]
    assert any((cache / machine()).iterdir())


def test_programs_that_were_cut_off_are_removed_and_compiled_again(cache):
    compile_program()
    (program,) = (cache / machine()).glob("jit__lambda*-cache")
    for left in (b"", bytes(PAGE), program.read_bytes()[:PAGE]):
        program.write_bytes(left)
        assert "Error reading persistent compilation cache entry" not in compile_program()[1]
        assert program.stat().st_size > PAGE


def test_whole_programs_stay(tmp_path):
    """One of whole pages, one of another length, and one that zlib did not compress."""
    lengths = range(PAGE - 50, PAGE)
    pages = next(one for n in lengths if len(one := zlib.compress(random.Random(0).randbytes(n))) == PAGE)
    for name, program in (("pages", pages), ("other", pages[:-1]), ("zstandard", ZSTANDARD + bytes(PAGE - 4))):
        (tmp_path / name).write_bytes(program)
    remove_cut_off([*tmp_path.iterdir(), tmp_path / "gone"])
    assert {path.name for path in tmp_path.iterdir()} == {"pages", "other", "zstandard"}


@pytest.mark.parametrize(("name", "value"), [(DIRECTORY, "/elsewhere"), ("JAX_ENABLE_COMPILATION_CACHE", "false")])
def test_what_the_user_says_counts(cache, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    keep_programs()
    assert os.environ.get(DIRECTORY) == (value if name == DIRECTORY else None)
    assert not cache.exists()


def test_a_directory_that_cannot_be_made_is_done_without(cache):
    cache.parent.write_text("a file where the directory should be")
    keep_programs()
    assert DIRECTORY not in os.environ


def test_what_was_not_used_for_the_longest_time_goes_first(cache):
    old, read, new = (cache / machine() / name for name in ("old", "read", "new"))
    new.parent.mkdir(parents=True)
    for path, accessed, modified in ((old, 20, 20), (read, 50, 10), (new, 30, 30)):
        path.write_bytes(bytes(100))
        os.utime(path, (accessed, modified))
    keep_programs(room=250)
    assert (old.exists(), read.exists(), new.exists()) == (False, True, True)
    prune([new, cache / "gone"], room=100)
    assert new.exists()


def test_machines_with_other_instructions_have_other_directories(monkeypatch):
    def of(text):
        monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
        return machine()

    usual = of("flags\t\t: avx2 avx512f\ncpu MHz\t\t: 2000\n")
    assert usual == of("flags\t\t: avx2 avx512f\ncpu MHz\t\t: 3100\n")
    assert usual != of("flags\t\t: avx2\ncpu MHz\t\t: 2000\n")
    monkeypatch.setattr(program_cache, "cores", lambda: 1000)
    assert usual != of("flags\t\t: avx2 avx512f\ncpu MHz\t\t: 2000\n")
