"""The decoder: against a second implementation, and by the properties that training relies on."""

import dataclasses
import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import ArchitectureConfig, MeshConfig, ModelConfig, RopeConfig
from grpo_jax.objectives import token_logprobs
from grpo_jax.policy import Policy, load_params, save_params
from grpo_jax.policy.attention import Scoring
from grpo_jax.sharding import make_mesh
from tests.policy import reference
from tests.policy.full_forward import full_forward

VOCABULARY = 13
ROPE = RopeConfig(100.0, original_length=64)
ARCHITECTURE = ArchitectureConfig(
    vocab_size=VOCABULARY,
    embed_dim=16,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    mlp_dim=24,
    qk_norm=True,
    tied_head=True,
    rope=ROPE,
)
MODEL = ModelConfig()
GEMMA = {
    "activation": "gelu_tanh",
    "post_norms": True,
    "norm_offset": True,
    "scaled_embedding": True,
    "query_scale": 0.5,
    "sliding_window": 3,
}
VARIANTS = {
    "qwen3": {},
    "qwen2": {"qkv_bias": True, "qk_norm": False},
    "llama": {"qk_norm": False, "tied_head": False},
    "multi_head": {"num_kv_heads": 4},
    "multi_query": {"num_kv_heads": 1, "tied_head": False, "qkv_bias": True},
    "mistral": {"qk_norm": False, "tied_head": False, "layer_types": ("sliding",), "sliding_window": 4},
    "granite": {
        "qk_norm": False,
        "query_scale": 0.2,
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.5,
        "logit_divisor": 2.0,
    },
    "qwen3_moe": {"num_experts": 5, "experts_per_token": 2, "normed_routing": True, "tied_head": False},
    "olmo2": {"qk_norm_of_all_heads": True, "pre_norms": False, "post_norms": True, "tied_head": False},
    "gemma2": GEMMA
    | {"qk_norm": False, "layer_types": ("sliding", "full"), "attention_cap": 2.0, "logit_cap": 3.0, "num_layers": 3},
    "gemma3": GEMMA
    | {"layer_types": ("sliding", "sliding", "full"), "local_rope": dataclasses.replace(ROPE, theta=10.0)}
    | {"num_layers": 4},
}


def make(**changes) -> Policy:
    """`changes`: of fields of the architecture or of the model, by their names."""
    of_model = {name: value for name, value in changes.items() if hasattr(MODEL, name)}
    of_architecture = {name: value for name, value in changes.items() if name not in of_model}
    return Policy(dataclasses.replace(ARCHITECTURE, **of_architecture), dataclasses.replace(MODEL, **of_model))


# Values and what is compared are NumPy's: an operation of JAX outside of a program is compiled for each of its shapes.
# Initial values are the exception: policies share most shapes, and a program that makes them all takes four times as
# long to trace and compile as its operations.


@functools.cache
def initial(policy, seed=0):
    return jax.device_get(policy.init(jax.random.key(seed)))


@functools.cache
def randomised(policy, seed=1):
    """Parameters none of which is at a special value such as a norm's scale of 1 or a bias of 0."""
    draws = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + 0.3 * draws.standard_normal(leaf.shape, np.float32), initial(policy))


def apply(policy, params, rows):
    return np.asarray(_apply(policy, params, rows))


@partial(jax.jit, static_argnums=0)
def _apply(policy, params, rows):
    return policy.apply(params, rows)


def completion_logprobs(policy, *arguments, **options):
    return np.asarray(_completion_logprobs(policy, *arguments, **options))


@partial(jax.jit, static_argnums=0, static_argnames=("temperature", "chunk"))
def _completion_logprobs(policy, *arguments, **options):
    return policy.completion_logprobs(*arguments, **options)


def tokens(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(VOCABULARY, size=shape, dtype=np.int32))


@pytest.mark.trap(31)
@pytest.mark.parametrize("name", VARIANTS)
def test_logits_are_those_of_a_second_implementation(name):
    policy = make(**VARIANTS[name])
    params, row = randomised(policy), tokens((1, 9))
    expected = reference.logits(params, np.array(row[0]), policy.architecture)
    np.testing.assert_allclose(apply(policy, params, row)[0], expected, atol=2e-5)
    scanned = make(**VARIANTS[name], scan_layers=True)
    layers = [params["layers"][str(index)] for index in range(policy.architecture.num_layers)]
    stacked = params | {"layers": jax.tree.map(lambda *x: np.stack(x), *layers)}
    np.testing.assert_allclose(apply(scanned, stacked, row)[0], expected, atol=2e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_scanned_layers_are_unrolled_layers(name):
    unrolled, scanned = make(**VARIANTS[name]), make(**VARIANTS[name], scan_layers=True)
    params, stacked = initial(unrolled, seed=3), initial(scanned, seed=3)
    layers = [params["layers"][str(index)] for index in range(unrolled.architecture.num_layers)]
    jax.tree.map(np.testing.assert_array_equal, stacked["layers"], jax.tree.map(lambda *x: np.stack(x), *layers))
    row = tokens((3, 7))
    np.testing.assert_allclose(apply(scanned, stacked, row), apply(unrolled, params, row), atol=1e-5)


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("remat", ["full", "dots"])
def test_remat_changes_memory_only(remat, scan_layers):
    row = tokens((2, 6))

    def gradient(policy):
        return jax.jit(jax.grad(lambda params: (policy.apply(params, row) ** 2).sum()))(initial(policy))

    plain, other = gradient(make(scan_layers=scan_layers)), gradient(make(scan_layers=scan_layers, remat=remat))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), plain, other)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_every_parameter_has_named_axes(scan_layers):
    policy = make(qkv_bias=True, tied_head=False, scan_layers=scan_layers)
    jax.tree.map(
        lambda leaf, axes: pytest.fail(f"{axes} for {leaf.shape}") if len(axes) != leaf.ndim else None,
        policy.shapes(),
        policy.logical_axes(),
    )


def test_causality():
    """No logit changes, by a single bit, with what comes after it; and those after do change."""
    policy = make()
    params, row = randomised(policy), tokens((1, 8))
    changed = np.array(row)
    changed[0, 5] = (row[0, 5] + 1) % VOCABULARY
    before, after = apply(policy, params, row)[0], apply(policy, params, changed)[0]
    np.testing.assert_array_equal(before[:5], after[:5])
    assert (np.abs(before[5:] - after[5:]).max(axis=-1) > 1e-4).all()


GROUPS = (tokens((2, 5), 1), jnp.array([5, 2]), tokens((2, 4, 3), 2))  # prompts, their lengths, four completions each


def assert_same_values_and_gradients(policy, params, mesh=None):
    """Those of the log-probabilities of GROUPS, and those of the plain full forward on one device."""

    def total(logprobs):
        return (logprobs * jnp.cos(jnp.arange(logprobs.size)).reshape(logprobs.shape)).sum(), logprobs

    def found(params):
        return total(dataclasses.replace(policy, mesh=mesh).completion_logprobs(params, *GROUPS, temperature=0.7))

    def expected(params):
        return total(full_forward(policy, params, *map(np.asarray, GROUPS), temperature=0.7))

    gradient, logprobs = jax.device_get(jax.jit(jax.grad(found, has_aux=True))(params))
    expected_gradient, expected_logprobs = jax.device_get(jax.jit(jax.grad(expected, has_aux=True))(params))
    np.testing.assert_allclose(logprobs, expected_logprobs, atol=1e-5)
    apart = norm(jax.tree.map(np.subtract, gradient, expected_gradient))
    assert apart < 3e-6 * norm(expected_gradient)  # float32 sums in another order


def norm(tree):
    return np.linalg.norm(np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]))


@pytest.mark.trap(45)
@pytest.mark.parametrize(
    ("name", "scan_layers", "attention"),
    [
        ("qwen3", False, "plain"),
        ("mistral", True, "plain"),
        ("gemma2", False, "plain"),
        ("gemma3", True, "plain"),
        ("gemma2", True, "fused"),
    ],
)
def test_completion_logprobs_are_those_of_the_full_forward(name, scan_layers, attention):
    """logprobs[t] is of completion token t, given the prompt and the completion before it, and no other completion.

    On CPU "fused" is plain attention in contiguous rows: tests/policy/test_group_attention.py has the kernel.
    """
    policy = make(**VARIANTS[name], scan_layers=scan_layers, attention=attention)
    # With the parameters of other seeds the gradient is ill-conditioned: gemma3's changes by 2e-5 if each parameter
    # changes by half of its last bit, so the result depends on the instructions of the CPU.
    assert_same_values_and_gradients(policy, randomised(policy, seed=3))


@pytest.mark.trap(34)
@pytest.mark.parametrize(
    ("mesh", "together", "attention"),
    [((2, 1, 1), 4, "plain"), ((2, 2, 2), 2, "plain"), ((2, 2, 2), 2, "fused"), ((4, 2, 1), 1, "plain")],
)
def test_a_row_holds_as_many_completions_as_give_every_shard_a_row(mesh, together, attention):
    mesh = make_mesh(MeshConfig(*mesh), jax.devices()[: np.prod(mesh)])
    policy = make(attention=attention)
    assert dataclasses.replace(policy, mesh=mesh)._completions_of_a_row(2, 4) == together
    assert_same_values_and_gradients(policy, randomised(policy), mesh)


@pytest.mark.parametrize(("scan_layers", "mesh"), [(False, (2, 2, 2)), (True, (2, 1, 1))])
def test_experts_are_the_same_on_any_mesh(scan_layers, mesh):
    """Each shard sorts its own tokens by their experts, and holds a part of every expert."""
    policy = make(**VARIANTS["qwen3_moe"], scan_layers=scan_layers)
    mesh = make_mesh(MeshConfig(*mesh), jax.devices()[: np.prod(mesh)])
    assert_same_values_and_gradients(policy, randomised(policy), mesh)


def test_no_token_changes_the_experts_of_another():
    """However many tokens choose an expert, it serves all of them."""
    policy = make(**VARIANTS["qwen3_moe"], num_layers=1)
    params, row = randomised(policy), np.asarray(tokens((1, 6)))
    together = apply(policy, params, np.concatenate([row, *[np.full_like(row, row[0, 0])] * 7]))
    np.testing.assert_allclose(together[0], apply(policy, params, row)[0], atol=1e-5)


def test_a_prompt_is_computed_once():
    """The decoder reads each group as one row, without the completions' last tokens."""
    policy, read = make(), []
    object.__setattr__(policy, "_shard_rows", lambda x: read.append(x.shape[:2]) or x)
    jax.eval_shape(lambda params: policy.completion_logprobs(params, *GROUPS), policy.shapes())
    assert set(read) == {(2, 5 + 4 * 2)}


def test_completions_of_one_token():
    policy = make()
    params, (prompts, lengths, completions) = randomised(policy), GROUPS
    found = completion_logprobs(policy, params, prompts, lengths, completions[..., :1])
    np.testing.assert_allclose(found, completion_logprobs(policy, params, *GROUPS)[..., :1], atol=1e-6)


@pytest.mark.trap(7)
@pytest.mark.trap(34)
def test_padding_and_neighbours_change_nothing():
    policy = make()
    params = randomised(policy)
    prompt, completion, length = tokens((1, 3), 1), tokens((1, 2, 4), 2), np.array([3])
    alone = completion_logprobs(policy, params, prompt, length, completion)
    wide = np.pad(prompt, ((0, 0), (0, 6)), constant_values=VOCABULARY - 1)
    beside = np.concatenate([wide, tokens((2, 9), 5)])
    together = completion_logprobs(
        policy, params, beside, np.array([3, 9, 1]), np.concatenate([completion, tokens((2, 2, 4), 6)])
    )
    np.testing.assert_allclose(together[0], alone[0], atol=2e-6)


def test_an_empty_row_gives_no_nan():
    policy = make()
    row = completion_logprobs(
        policy, randomised(policy), np.zeros((1, 3), np.int32), np.array([1]), np.zeros((1, 2, 3), np.int32)
    )
    assert np.isfinite(row).all()


@pytest.mark.parametrize("chunk", [1, 3, 4, 7, 100])
def test_chunks_change_neither_values_nor_gradients(chunk):
    whole, pieces = in_chunks(0), in_chunks(chunk)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), whole, pieces)


@functools.cache
def in_chunks(chunk):
    policy, arguments = make(), (tokens((2, 5), 1), jnp.array([5, 3]), tokens((2, 3, 7), 2))

    def total(params):
        logprobs = policy.completion_logprobs(params, *arguments, temperature=0.7, chunk=chunk)
        return (logprobs * np.arange(7)[None, None]).sum()

    return jax.device_get(jax.jit(jax.value_and_grad(total))(initial(policy)))


def test_with_chunks_the_full_logits_never_exist():
    """Neither forward nor backward holds an array of B x C x V elements."""
    policy = make(vocab_size=20_011)
    b, c = 4, 32

    def program(chunk):
        def total(params, prompt, lengths, completion):
            return policy.completion_logprobs(params, prompt, lengths, completion, chunk=chunk).sum()

        shapes = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((b // 2, 6), (b // 2,), (b // 2, 2, c))]
        return jax.jit(jax.grad(total)).lower(policy.shapes(), *shapes).compile().memory_analysis().temp_size_in_bytes

    full = b * c * 20_011 * 4
    assert program(0) > full
    assert program(4) < full / 2


@pytest.mark.parametrize("tied_head", [True, False])
def test_ids_without_a_token_are_never_predicted(tied_head):
    """A vocabulary padded so that devices can share it: the same probabilities, and none for the padding."""
    padded = dataclasses.replace(make(tied_head=tied_head, vocab_size=16), tokens=VOCABULARY)
    exact = make(tied_head=tied_head)
    params = randomised(padded)
    cut = jax.tree.map(lambda leaf, shape: leaf[tuple(map(slice, shape.shape))], params, exact.shapes())
    prompt, lengths, completion = tokens((2, 4)), jnp.array([4, 3]), tokens((2, 2, 3), 1)

    @partial(jax.jit, static_argnums=0)
    @partial(jax.value_and_grad, argnums=1)
    def both(policy, params):
        return policy.completion_logprobs(params, prompt, lengths, completion).sum()

    total, gradient = jax.device_get(both(padded, params))
    np.testing.assert_allclose(total, both(exact, cut)[0], rtol=1e-5)
    assert (apply(padded, params, prompt)[..., VOCABULARY:] == -np.inf).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.trap(20)
def test_temperature_is_applied_to_the_logits_of_a_free_head():
    """Their cap comes first: without it, dividing the hidden states would come to the same."""
    policy = make(tied_head=False, logit_cap=3.0)
    params = randomised(policy)
    prompt, completion = tokens((1, 3)), tokens((1, 2), 1)
    logits = apply(policy, params, np.concatenate([prompt, completion], 1))[:, 2:4]
    np.testing.assert_allclose(
        completion_logprobs(policy, params, prompt, np.array([3]), completion[:, None], temperature=0.5)[:, 0],
        token_logprobs(jnp.asarray(logits / 0.5), completion),
        atol=1e-5,
    )


@pytest.mark.trap(29)
@pytest.mark.trap(30)
@pytest.mark.trap(35)
@pytest.mark.parametrize("tied_head", [True, False])
def test_bfloat16_compute_keeps_float32_parameters_and_logits(tied_head):
    policy = make(compute_dtype="bfloat16", tied_head=tied_head)
    params = initial(policy)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    hidden, _ = jax.jit(policy.hidden_states)(params, tokens((2, 5)))
    assert hidden.dtype == jnp.bfloat16
    assert_not_rounded(jax.jit(policy.logits)(params, hidden))


def assert_not_rounded(logits):
    """They were not in bfloat16 on the way."""
    logits = np.asarray(logits)
    assert logits.dtype == np.float32
    assert (logits != logits.astype(jnp.bfloat16).astype(np.float32)).mean() > 0.9


@pytest.mark.trap(29)
def test_caps_are_in_float32_and_the_embedding_scale_in_bfloat16():
    """Near a cap bfloat16 has few values left; and models were trained with sqrt(48) = 6.928 rounded to 6.9375."""
    policy = make(**VARIANTS["gemma2"], compute_dtype="bfloat16", embed_dim=48)
    params = randomised(policy)
    row = tokens((2, 8))
    logits = apply(policy, params, row)
    assert_not_rounded(logits)
    assert 2.5 < np.abs(logits).max() < 3.0
    products = jnp.linspace(10.0, 10.1, 64)
    scores = Scoring(1.0, 2.0, None).scores(products)
    assert (np.diff(scores) > 0).sum() > 20  # in bfloat16 they would all be the cap
    ones = jnp.ones((VOCABULARY, 48))
    embedded = policy._model(params | {"embedding": ones})._embed(row)
    assert embedded.dtype == jnp.bfloat16
    assert float(embedded[0, 0, 0]) == 6.9375


def test_windows_are_static_where_layers_are_unrolled_and_data_where_they_are_scanned():
    def windows(**changes):
        seen = []

        def look(q, k, v, scoring, context):
            seen.append(scoring.window)
            return q

        policy = make(**changes)
        jax.eval_shape(lambda params: policy.hidden_states(params, tokens((1, 4)), attend=look), policy.shapes())
        return seen

    assert windows() == windows(scan_layers=True) * ARCHITECTURE.num_layers == [None, None]
    assert windows(**VARIANTS["mistral"], scan_layers=True) == [4]
    assert windows(**VARIANTS["gemma2"]) == [3, None, 3]
    (traced,) = windows(**VARIANTS["gemma2"], scan_layers=True)
    assert isinstance(traced, jax.core.Tracer)


def test_bfloat16_is_near_float32():
    full, half = make(), make(compute_dtype="bfloat16")
    params, row = initial(full), tokens((2, 8))
    np.testing.assert_allclose(apply(half, params, row), apply(full, params, row), atol=0.1)


def test_safetensors_round_trip(tmp_path):
    params = initial(make(qkv_bias=True, tied_head=False))
    save_params(tmp_path / "deep" / "params.safetensors", params)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["params.safetensors"]
    jax.tree.map(np.testing.assert_array_equal, load_params(tmp_path / "deep" / "params.safetensors"), params)
