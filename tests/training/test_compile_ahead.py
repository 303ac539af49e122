"""The programs of the update are compiled beside the main thread, and once."""

import dataclasses
import threading
import time
from unittest.mock import Mock

import jax
import pytest

from grpo_jax.training import train_config
from grpo_jax.training.compile_ahead import ARMS, UPDATE, compiling_ahead
from grpo_jax.training.experiment import build
from tests.helpers import make_config

COMPILED = "/jax/core/compile/backend_compile_duration"
AHEAD = ("jit(update)", "jit(logprobs)", "jit(arms)")
SAMPLERS = ("jit(sample)",) * 3  # for each split


@pytest.fixture
def compiled():
    """The names of the programs that are compiled from now on, and whether on the main thread."""
    found = []

    def listen(event, seconds, **about):
        if event == COMPILED and about["fun_name"] in (*AHEAD, *SAMPLERS):
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
                "objective__importance_cap": 2.0,
                "rollout__quantization": "int8",  # in training, not in evaluations
                "objective__kl_coef": 0.1,
                "logging__arms_every": 1,
                "warm_start__skip_steps": 2,
                "evaluation__test_samples": 3,
                "evaluation__validation_samples": 4,
            },
            AHEAD + SAMPLERS,
        ),
        (
            {"logging__arms_every": 0, "warm_start__skip_steps": 3, "evaluation__every": 0},
            AHEAD[:1] + SAMPLERS[:1],  # the same for training and test
        ),
    ],
)
def test_every_program_is_compiled_once_and_not_by_the_main_thread(tmp_path, monkeypatch, compiled, changes, programs):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # the warm start compiles its update, too
    config = make_config(
        model__architecture__num_layers=2,  # with one, no group of these two steps carries signal
        train__steps=2,
        optimizer__warmup_updates=0,
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
    with compiling_ahead(made, {}) as wait, pytest.raises(ZeroDivisionError):
        wait(UPDATE)


@pytest.mark.parametrize("cached", [True, False])
def test_the_arms_do_not_delay_the_first_step_of_a_run_whose_programs_are_cached(monkeypatch, cached):
    """Nor the end of a run that has not come to it."""
    made = build(make_config(), jax.devices()[:1])
    update, arms, lowered = Mock(), Mock(), threading.Event()
    update.lower().compile = lambda: None if cached else time.sleep(0.3)
    arms.lower = lambda *of: lowered.set() or Mock()
    made = dataclasses.replace(made, programs=dataclasses.replace(made.programs, update=update, arms=arms), engine=None)
    monkeypatch.setattr("grpo_jax.training.compile_ahead.FROM_CACHE", 0.2)
    for reached in (True, False):
        lowered.clear()
        with compiling_ahead(made, {}) as wait:
            assert lowered.wait(0.3 if cached else 10) != cached
            if reached:
                wait(UPDATE)
                wait(ARMS)
                assert lowered.is_set()


@pytest.mark.parametrize("continued", [False, True])
def test_what_is_needed_first_is_traced_first(monkeypatch, continued):
    made, traced, names = build(make_config(), jax.devices()[:1]), [], ["TEST", "VALIDATION", "TRAIN", UPDATE]

    def due(*of):
        for name in names:
            yield name, Mock(lower=lambda name: traced.append(name) or Mock()), (name,)

    monkeypatch.setattr("grpo_jax.training.compile_ahead._samplers", due)
    monkeypatch.setattr("grpo_jax.training.compile_ahead._updates", lambda of: [])
    with compiling_ahead(made, {}, continued=continued) as wait:
        for name in names:
            wait(name)
    assert traced == (names[::-1] if continued else names)
