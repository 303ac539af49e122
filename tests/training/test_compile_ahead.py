"""The programs of the update are compiled beside the main thread, and once."""

import threading

import jax
import pytest

from grpo_jax.training import train_config
from grpo_jax.training.compile_ahead import compiling_ahead
from grpo_jax.training.experiment import build
from tests.helpers import make_config

COMPILED = "/jax/core/compile/backend_compile_duration"
AHEAD = ("jit(update)", "jit(logprobs)", "jit(arms)")


@pytest.fixture
def compiled():
    """The names of the programs that are compiled from now on, and whether on the main thread."""
    found = []

    def listen(event, seconds, **about):
        if event == COMPILED and about["fun_name"] in AHEAD:
            found.append((about["fun_name"], threading.current_thread() is threading.main_thread()))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(
    ("changes", "programs"),
    [
        (
            {
                "objective__old_logprobs": "trainer",
                "objective__kl_coef": 0.1,
                "logging__arms_every": 1,
                "warm_start__skip_steps": 2,
            },
            AHEAD,
        ),
        ({"logging__arms_every": 0, "warm_start__skip_steps": 3}, AHEAD[:1]),
    ],
)
def test_every_program_is_compiled_once_and_not_by_the_main_thread(tmp_path, monkeypatch, compiled, changes, programs):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # the warm start compiles its update, too
    config = make_config(
        model__architecture__num_layers=2,  # with one, no group of these two steps carries signal
        train__steps=2,
        optimizer__warmup_updates=0,
        evaluation__every=0,
        checkpoint__keep_best=0,
        objective__clip_high=0.21,  # a program that no other test has compiled
        warm_start__full_steps=3,
        **changes,
    )
    train_config(config, tmp_path / "run", devices=jax.devices()[:1])
    assert sorted(name for name, on_main in compiled if not on_main) == sorted(programs)
    assert [name for name, on_main in compiled if on_main] == ["jit(update)"]  # that of the warm start


def test_an_error_of_the_compiler_reaches_the_run(monkeypatch):
    made = build(make_config(), jax.devices()[:1])
    monkeypatch.setattr("grpo_jax.training.compile_ahead.abstract_inputs", lambda *of: 1 / 0)
    with compiling_ahead(made) as wait, pytest.raises(ZeroDivisionError):
        wait()
