"""What would crash JAX's profiler; tests/commands/test_train.py has a trace."""

from types import SimpleNamespace

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.training import profiler


def test_libtpu_without_a_tpu_is_refused(monkeypatch):
    monkeypatch.setattr(profiler.importlib.util, "find_spec", lambda name: name)
    for platforms, backend in (("cpu", "cpu"), ("", "tpu")):
        there = SimpleNamespace(
            config=SimpleNamespace(jax_platforms=platforms), default_backend=lambda name=backend: name
        )
        monkeypatch.setattr(profiler, "jax", there)
        profiler.check_profiler()
    there.default_backend = lambda: "cpu"
    with pytest.raises(ConfigError, match="set JAX_PLATFORMS=cpu, or uninstall libtpu"):
        profiler.check_profiler()
    monkeypatch.setattr(profiler.importlib.util, "find_spec", lambda name: None)
    profiler.check_profiler()
