"""Runs with adapters: they alone move and are saved, and what is restored or exported is the whole policy."""

import dataclasses
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import ConfigError, LoraConfig, MeshConfig, check, from_dict, to_dict
from grpo_jax.policy import Policy, load_params, trained_of, with_trained
from grpo_jax.policy.huggingface import load_checkpoint, read_architecture
from grpo_jax.sampling import Counter, Stream
from grpo_jax.training import Interrupted, restore, train_config
from grpo_jax.training.experiment import build
from tests.helpers import make_config, metrics, start
from tests.training.test_loop import Disturbed
from tests.training.test_update import batches_of, rollouts

ONE = jax.devices()[:1]
LORA = LoraConfig(rank=2, alpha=4.0, modules=("query", "value", "out", "up", "down"))
SETTINGS = {
    "train__steps": 6,
    "objective__kl_coef": 0.01,
    "optimizer__learning_rate": 5e-3,
    "optimizer__weight_decay": 0.01,
    "evaluation__every": 0,
    "checkpoint__every": 2,
    "checkpoint__keep_best": 0,
}
ROWS = jnp.array([[3, 1, 4, 1, 5, 9, 2, 6]], jnp.int32)


def config_of(lora=LORA, **changes):
    config = make_config(**SETTINGS | changes)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, lora=lora))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("lora")
    return workdir, train_config(config_of(), workdir, devices=ONE)


def names(tree):
    return {path[-1].key for path, _ in jax.tree.leaves_with_path(tree)}


@pytest.mark.slow
def test_a_run_with_adapters_trains_them_alone(run):
    workdir, summary = run
    lines = [line for line in metrics(workdir) if line["kind"] == "train"]
    assert summary.updates == 6
    assert lines[0]["reference_kl"] == pytest.approx(0.0, abs=1e-6)  # the reference is the adapters at first
    assert lines[-1]["reference_kl"] > 1e-6
    assert max(line["sampler_difference"] for line in lines) < 1e-4  # merged, the sampler has the trainer's policy
    experiment, restored = restore(workdir, ONE)
    state, base = restored.state, load_params(workdir / "warm_start" / "params.safetensors")
    moments = state.opt_state[1][0]
    assert names(moments.mu) == names(moments.nu) == {"lora_a", "lora_b"} < names(state.params)
    assert jax.tree.structure(restored.params) == jax.tree.structure(base)
    changed = {
        ".".join(key.key for key in path)
        for (path, new), old in zip(jax.tree.leaves_with_path(restored.params), jax.tree.leaves(base), strict=True)
        if not np.array_equal(new, old)
    }
    where = ("attention.query", "attention.value", "attention.out", "mlp.up", "mlp.down")
    assert changed == {f"layers.0.{module}.kernel" for module in where}
    merged = jax.jit(experiment.programs.policy.apply)(restored.params, ROWS)
    adapted = jax.jit(experiment.programs.adapted.apply)(state.params, ROWS)
    np.testing.assert_allclose(merged, adapted, atol=1e-4)


@pytest.mark.slow
@pytest.mark.trap(41)
def test_interrupted_and_continued_is_the_same_run(run, tmp_path):
    stop = Disturbed("training", 3, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted):
        train_config(config_of(), tmp_path, stop, ONE)
    train_config(config_of(), tmp_path, devices=ONE)
    first, second = (restore(workdir, ONE)[1].state for workdir in (run[0], tmp_path))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first), jax.device_get(second))
    assert [line for line in metrics(tmp_path) if line["kind"] == "train"] == [
        line for line in metrics(run[0]) if line["kind"] == "train"
    ]


def exported(workdir, directory, *flags):
    """Exports on one device; the exit code, and what was said of errors."""
    process = start("launch/export.py", f"--workdir={workdir}", f"--to={directory}", *flags)
    _, error = process.communicate()
    return process.returncode, error


@pytest.mark.slow
def test_an_export_has_the_adapters_merged(run, tmp_path):
    assert exported(run[0], tmp_path / "merged") == (0, "")
    experiment, restored = restore(run[0], ONE, MeshConfig(1, 1, 1))
    policy = Policy(read_architecture(tmp_path / "merged"), make_config().model)
    params = load_checkpoint(tmp_path / "merged", policy, experiment.programs.shardings.params)
    expected = jax.jit(experiment.programs.policy.apply)(restored.params, ROWS)
    np.testing.assert_allclose(jax.jit(policy.apply)(params, ROWS), expected, atol=1e-6)
    code, error = exported(run[0], tmp_path / "adapters", "--adapters")
    assert code == 2
    assert "the base policy comes from the warm start" in error
    assert not (tmp_path / "adapters").exists()


@pytest.mark.slow
@pytest.mark.trap(34)
def test_a_mesh_reproduces_one_device(tmp_path):
    """The bound is a hundredth of how far six updates at 5e-3 could move a parameter."""
    changes = {"model__scan_layers": True, "rollout__prompts_per_step": 8}
    alone = config_of(**changes)
    spread = config_of(**changes, mesh__data=2, mesh__fsdp=2, mesh__tensor=2)
    train_config(alone, tmp_path / "one", devices=ONE)
    train_config(spread, tmp_path / "all")
    first, second = (restore(tmp_path / name, ONE, MeshConfig(1, 1, 1))[1].params for name in ("one", "all"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=3e-4), first, second)


@pytest.mark.trap(35)
@pytest.mark.trap(36)
def test_an_update_moves_float32_adapters_and_leaves_the_rest_alone():
    """Frozen parameters may be bfloat16; the reference is the adapters at first, and no alias of those that move."""
    params, found, advantages = rollouts()
    made = build(config_of(model__compute_dtype="bfloat16", objective__kl_coef=0.0), ONE)
    given = made.programs.adapt(params)
    assert {leaf.dtype for name in ("query", "gate") for leaf in [_kernel(given, name)]} == {jnp.dtype("bfloat16")}
    assert given["final_norm"]["scale"].dtype == jnp.float32
    # Fetch copies: a view of these buffers would keep XLA from taking them, and hide that they were given away.
    before, reference = jax.device_get(jax.tree.map(jnp.copy, given)), trained_of(given)
    state = made.programs.init_state(given)
    places = [leaf.unsafe_buffer_pointer() for leaf in others(given)]
    (batch,) = batches_of(made, found, advantages)
    for _ in range(2):
        state, metrics = made.programs.update(state, batch)
        # They go through the update in the memory that they lie in: there is no second copy of them.
        assert [leaf.unsafe_buffer_pointer() for leaf in others(state.params)] == places
    assert float(metrics["grad_norm"].total) > 0
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(with_trained(state.params, reference)), before)
    moments, trained = state.opt_state[1][0], trained_of(state.params)
    assert {leaf.dtype for leaf in jax.tree.leaves((trained, moments.mu, moments.nu))} == {jnp.dtype("float32")}
    for (path, new), old in zip(jax.tree.leaves_with_path(trained), jax.tree.leaves(reference), strict=True):
        assert not np.array_equal(new, old), path  # A too: in the second update B is no longer zero


def others(params):
    """The leaves that are not trained."""
    return [leaf for path, leaf in jax.tree.leaves_with_path(params) if path[-1].key not in ("lora_a", "lora_b")]


def _kernel(params, name):
    layer = params["layers"]["0"]
    return {**layer["attention"], **layer["mlp"]}[name]["kernel"]


def test_adapters_follow_the_seed_and_not_the_mesh():
    def adapters(devices, **changes):
        made = build(config_of(**changes), devices)
        return jax.device_get(trained_of(made.programs.adapt(made.programs.init_params(jax.random.key(0)))))

    first, again, other = (
        adapters(ONE),
        adapters(jax.devices(), mesh__fsdp=2, mesh__tensor=2),
        adapters(ONE, seed=1),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), first, again)
    assert not np.array_equal(*(_layer(tree)["lora_a"] for tree in (first, other)))
    made = build(config_of(), ONE)
    fresh = made.programs.adapted.init(Counter.of(made.config.seed, Stream.ADAPTERS, step=0).key())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), first, trained_of(fresh))


def _layer(adapters):
    return adapters["layers"]["0"]["attention"]["query"]


def test_the_section_in_a_configuration():
    config = config_of()
    assert from_dict(to_dict(config)) == config
    with pytest.raises(ConfigError, match=r"model\.lora\.modules=.* names a module twice"):
        check(config_of(dataclasses.replace(LORA, modules=("query", "query"))))
    values = to_dict(config)
    for change, sentence in {
        "rank": (0, r"model\.lora\.rank=0: must be at least 1"),
        "alpha": (0.0, r"model\.lora\.alpha=0\.0: must be at least 0\.001"),
        "modules": (["head"], r"model\.lora\.modules\[0\]='head': must be one of query, key"),
    }.items():
        value, text = sentence
        wrong = values | {"model": values["model"] | {"lora": values["model"]["lora"] | {change: value}}}
        with pytest.raises(ConfigError, match=text):
            from_dict(wrong)
    wrong = values | {"model": values["model"] | {"lora": values["model"]["lora"] | {"modules": []}}}
    with pytest.raises(ConfigError, match=r"model\.lora\.modules=\[\]: must be a tuple of at least one value"):
        from_dict(wrong)
