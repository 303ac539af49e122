"""What would crash JAX's profiler; tests/commands/test_train.py has a trace."""

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.training import profiler


def test_libtpu_without_a_tpu_is_refused(monkeypatch):
    def check(libtpu, backend, **environment):
        monkeypatch.setattr(profiler.importlib.util, "find_spec", lambda name: libtpu)
        monkeypatch.setattr(profiler.jax, "default_backend", lambda: backend)
        monkeypatch.setattr("os.environ", environment)
        profiler.check_profiler()

    check(None, "cpu")
    check("libtpu", "tpu")
    check("libtpu", "cpu", JAX_PLATFORMS="cpu")
    with pytest.raises(ConfigError, match="set JAX_PLATFORMS=cpu, or uninstall libtpu"):
        check("libtpu", "cpu")
