"""Strict surroundings for all tests: eight devices, shapes checked at every call, nothing broadcast by accident."""

import dataclasses
import functools
import gc
import importlib.util
import os
import sys

from jaxtyping import install_import_hook

from grpo_jax.planning.chips import prepare_environment
from tests.compilation import CACHE, XLA_FLAGS

os.environ |= {**CACHE, "XLA_FLAGS": f"--xla_force_host_platform_device_count=8 {XLA_FLAGS}"}
prepare_environment()  # TPU programs are compiled where there is no TPU, in several processes

# Where arrays are computed with, every call is checked against the shapes in its annotations. The hook must be there
# before anything imports the package.
CHECKED = ("evaluation.estimators", "objectives", "policy", "sampling", "training.batching", "training.statistics")
ANALYSIS = ("arms", "bootstrap", "products", "sketch", "subgroups", "vectors", "weighting")
NAMES = (*CHECKED, "training.update", *(f"analysis.{name}" for name in ANALYSIS))
HOOK = install_import_hook([f"grpo_jax.{name}" for name in NAMES], "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402
from jax.experimental import topologies  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402

from grpo_jax.commands import RARE_COLLECTIONS  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

gc.set_threshold(*RARE_COLLECTIONS)  # as in the commands that trace programs


def pytest_collection_modifyitems(items) -> None:
    """Begin with the files that have slow tests, so that no process is left with them while the others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Leave the modules, which stay until the end, out of every collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    """No test reads or fills the user's cache of warm starts."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


PROGRAMS_KEPT = 8  # configurations whose programs a process of the tests remembers

# No program depends on these. It would fail to read them here.
NO_PROGRAMS = dict.fromkeys(("task", "warm_start", "evaluation", "checkpoint", "logging"))
NO_SAMPLERS = dict.fromkeys(("prompts_per_step", "prompts_per_batch", "max_rollouts", "selection", "delay"))


def _of_programs(config):
    """Return a configuration with nothing but what its programs depend on."""
    return dataclasses.replace(
        config,
        seed=config.seed if config.model.lora else None,  # of fresh adapters
        rollout=dataclasses.replace(config.rollout, **NO_SAMPLERS),
        train=dataclasses.replace(
            config.train, steps=config.train.steps if config.optimizer.schedule == "cosine" else 0
        ),
        **NO_PROGRAMS,
    )


@pytest.fixture(scope="session", autouse=True)
def _runs_share_programs():
    """Runs share the programs that are equal: tracing and loading them takes longer than a tiny run."""
    experiment = sys.modules.get("grpo_jax.training.experiment")
    warm_start = sys.modules.get("grpo_jax.training.warm_start")
    if experiment is None or warm_start is None:  # no test of this session trains anything
        yield
        return
    make, recent = experiment.make_programs, {}

    def make_programs(config, mesh, policy, stop_tokens):
        config = _of_programs(config)
        key = (repr(config), mesh, policy, tuple(stop_tokens))  # a configuration can hold dictionaries
        recent[key] = recent.pop(key, None) or make(config, mesh, policy, stop_tokens)
        if len(recent) > PROGRAMS_KEPT:
            del recent[next(iter(recent))]
        return recent[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "make_programs", make_programs)
        for name in ("make_optimizer", "make_supervised_update"):
            patch.setattr(warm_start, name, functools.lru_cache(PROGRAMS_KEPT)(getattr(warm_start, name)))
        yield


@pytest.fixture
def compiled_anew(monkeypatch):
    """No program comes out of the cache: JAX cannot load what was made for chips that are not there."""
    jax.devices()  # whose compiler has read its flags then; other compilers read the same variable
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX decides once in a process whether there is a cache
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()


@pytest.fixture
def tpu_compiler(compiled_anew):
    """There is a compiler for TPU. Skips where libtpu is not installed."""
    if importlib.util.find_spec("libtpu") is None:
        reason = "libtpu, the TPU compiler, is not installed; it comes with pip install -e .[test] on Linux x86-64"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture
def chips(tpu_compiler):
    """Four chips of v5e that are not there."""
    return topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
