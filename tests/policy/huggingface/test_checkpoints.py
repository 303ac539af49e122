"""Checkpoints in and out: the layout of every tensor, any mesh, every mistake, and nothing half-written."""

import dataclasses
import errno
import json
import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding
from safetensors.numpy import load_file, save_file

from grpo_jax.config import ConfigError, MeshConfig
from grpo_jax.policy.huggingface import describe, exporter, load_checkpoint, read_architecture, save_checkpoint
from grpo_jax.policy.huggingface.tensor_files import Tensor, write_tensors
from grpo_jax.sharding import make_mesh, tree_named
from tests.policy.huggingface.checkpoints import CONFIGS, VOCABULARY, policy_of, random_tensors, unfused, write
from tests.policy.test_policy import make, randomised

ONE = SingleDeviceSharding(jax.devices()[0])
DTYPES = {"float32": np.float32, "bfloat16": jnp.bfloat16, "float16": np.float16}


@partial(jax.jit, static_argnums=0)
def apply(policy, params, tokens):
    return policy.apply(params, tokens)


def load(directory, **options):
    policy = policy_of(directory, **options)
    return policy, load_checkpoint(directory, policy, ONE)


@pytest.mark.trap(31)
@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_tensor_is_where_it_belongs(name, scan_layers, tmp_path):
    """Each matrix does to a vector what a Linear of transformers does, whose weight is [out, in]."""
    tensors = random_tensors(name)
    policy, params = load(write(tmp_path, name, tensors), scan_layers=scan_layers)
    tensors = unfused(tensors)

    def block(layer):
        if scan_layers:
            return jax.tree.map(lambda leaf: leaf[layer], params["layers"])
        return params["layers"][str(layer)]

    def linear(module, x, key):
        """Ours, flattened; against theirs."""
        inputs = module["kernel"].shape[: 2 if "o_proj" in key else 1]
        ours = jnp.tensordot(x.reshape(inputs), module["kernel"], axes=len(inputs)) + module.get("bias", 0.0)
        theirs = tensors[f"{key}.weight"] @ x + tensors.get(f"{key}.bias", 0.0)
        np.testing.assert_allclose(ours.reshape(-1), theirs, atol=1e-5)

    def norm(module, key):
        np.testing.assert_array_equal(module["scale"], tensors[f"{key}.weight"])

    x, heads = np.random.default_rng(1).normal(size=16), np.random.default_rng(2).normal(size=32)
    gemma = name.startswith("gemma")
    for layer in range(3):
        ours, theirs = block(layer), f"model.layers.{layer}"
        for module, key in (("query", "q"), ("key", "k"), ("value", "v")):
            linear(ours["attention"][module], x, f"{theirs}.self_attn.{key}_proj")
        linear(ours["attention"]["out"], heads, f"{theirs}.self_attn.o_proj")
        linear(ours["mlp"]["gate"], x, f"{theirs}.mlp.gate_proj")
        linear(ours["mlp"]["up"], x, f"{theirs}.mlp.up_proj")
        linear(ours["mlp"]["down"], heads, f"{theirs}.mlp.down_proj")
        norm(ours["attention_norm"], f"{theirs}.input_layernorm")
        norm(ours["mlp_norm"], f"{theirs}.{'pre_feedforward' if gemma else 'post_attention'}_layernorm")
        if gemma:
            norm(ours["attention_post_norm"], f"{theirs}.post_attention_layernorm")
            norm(ours["mlp_post_norm"], f"{theirs}.post_feedforward_layernorm")
        if name in ("qwen3", "gemma3_text"):
            norm(ours["attention"]["query_norm"], f"{theirs}.self_attn.q_norm")
            norm(ours["attention"]["key_norm"], f"{theirs}.self_attn.k_norm")
    np.testing.assert_array_equal(params["embedding"], tensors["model.embed_tokens.weight"])
    norm(params["final_norm"], "model.norm")
    if not policy.architecture.tied_head:
        np.testing.assert_array_equal(params["head"]["kernel"], tensors["lm_head.weight"].T)


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["qwen2", "gemma3_text", "llama"])
def test_in_and_out_again_every_byte_is_the_same(name, dtype, scan_layers, tmp_path):
    tensors = random_tensors(name, DTYPES[dtype])
    source = write(tmp_path / "source", name, tensors, torch_dtype=dtype, dtype=dtype)
    (source / "additional_chat_templates").mkdir()
    (source / "additional_chat_templates" / "rag.jinja").write_text("{{ documents }}")
    policy, params = load(source, scan_layers=scan_layers)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    save_checkpoint(tmp_path / "export", policy, params, source, dtype)
    files = {path.name for path in (tmp_path / "export").iterdir()}
    copied = {"config.json", "tokenizer.json", "generation_config.json"}
    assert files == copied | {"model.safetensors", "additional_chat_templates"}
    for file in copied | {"additional_chat_templates/rag.jinja"}:
        assert (tmp_path / "export" / file).read_bytes() == (source / file).read_bytes()
    again = load_file(tmp_path / "export" / "model.safetensors")
    assert again.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert again[key].dtype == tensor.dtype
        assert again[key].tobytes() == tensor.tobytes(), key
    assert {path.name for path in tmp_path.iterdir()} == {"export", "source"}


def test_shards_and_another_dtype(tmp_path):
    source = write(tmp_path / "source", "qwen3", random_tensors("qwen3"))
    policy, params = load(source)
    save_checkpoint(tmp_path / "export", policy, params, source, "bfloat16", shard_bytes=3000)
    index = json.loads((tmp_path / "export" / "model.safetensors.index.json").read_text())
    files = sorted((tmp_path / "export").glob("*.safetensors"))
    assert len(files) > 3
    assert all(file.stat().st_size < 3000 + 4096 for file in files)  # 4096: headers
    assert set(index["weight_map"].values()) == {file.name for file in files}
    assert index["metadata"]["total_size"] == 2 * sum(leaf.size for leaf in jax.tree.leaves(params))
    assert json.loads((tmp_path / "export" / "config.json").read_text()) == CONFIGS["qwen3"] | {"dtype": "bfloat16"}
    _, again = load(tmp_path / "export")
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.astype(jnp.bfloat16), b), params, again)


@pytest.mark.trap(34)
@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("name", ["qwen2", "llama", "phi3", "gemma2", "gemma3_text"])
def test_eight_devices_compute_what_one_does(name, scan_layers, tmp_path):
    """On a 2 x 2 x 2 mesh, where every device reads its own shard; and from there out again, the same bytes."""
    tensors = random_tensors(name)
    source = write(tmp_path / "source", name, tensors)
    policy, params = load(source, scan_layers=scan_layers)
    mesh = make_mesh(MeshConfig(2, 2, 2))
    spread = dataclasses.replace(policy, mesh=mesh)
    shardings = tree_named(mesh, spread.shapes(), spread.logical_axes())
    sharded = load_checkpoint(source, spread, shardings)
    jax.tree.map(np.testing.assert_array_equal, params, sharded)
    down = (sharded["layers"] if scan_layers else sharded["layers"]["0"])["mlp"]["down"]["kernel"]
    assert down.addressable_shards[0].data.size == down.size // 4  # mlp over tensor, embed over fsdp
    tokens = jnp.asarray(np.random.default_rng(3).integers(0, VOCABULARY, (4, 11)), jnp.int32)
    np.testing.assert_allclose(apply(spread, sharded, tokens), apply(policy, params, tokens), atol=2e-5)
    save_checkpoint(tmp_path / "export", spread, sharded, source, "float32")
    again = load_file(tmp_path / "export" / "model.safetensors")
    assert {key: tensor.tobytes() for key, tensor in again.items()} == {
        key: tensor.tobytes() for key, tensor in tensors.items()
    }


@pytest.mark.parametrize("scan_layers", [False, True])
def test_a_device_reads_its_own_shard_and_shares_what_it_has_in_common(scan_layers, tmp_path, monkeypatch):
    source = write(tmp_path, "llama", random_tensors("llama"))
    mesh = make_mesh(MeshConfig(2, 2, 2))
    policy = policy_of(source, scan_layers=scan_layers, mesh=mesh)
    read, boxes = Tensor.read, []
    monkeypatch.setattr(Tensor, "read", lambda *args: boxes.append(found := read(*args)) or found)
    load_checkpoint(source, policy, tree_named(mesh, policy.shapes(), policy.logical_axes()))
    sizes = {leaf.size // (3 if scan_layers and leaf.ndim > 2 else 1) for leaf in jax.tree.leaves(policy.shapes())}
    assert max(box.size for box in boxes) <= max(sizes) // 4  # the largest are matrices, all cut four ways
    parameters = sum(leaf.size for leaf in jax.tree.leaves(policy.shapes()))
    assert sum(box.size for box in boxes) == parameters  # though two devices hold each shard


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_a_vocabulary_padded_for_devices(name, tmp_path):
    """More rows than the checkpoint has are zeros; going out they are cut off."""
    tensors = random_tensors(name)
    source = write(tmp_path / "source", name, tensors)
    exact, params = load(source)
    mesh = make_mesh(MeshConfig(1, 1, 8))
    wide = dataclasses.replace(
        exact, architecture=dataclasses.replace(exact.architecture, vocab_size=40), tokens=VOCABULARY, mesh=mesh
    )
    padded = load_checkpoint(source, wide, tree_named(mesh, wide.shapes(), wide.logical_axes()))
    np.testing.assert_array_equal(padded["embedding"][:VOCABULARY], params["embedding"])
    assert not np.asarray(padded["embedding"][VOCABULARY:]).any()
    short = {k: t[:-1] if t.shape[0] == VOCABULARY else t for k, t in tensors.items()}
    with pytest.raises(ConfigError, match=r"has the shape \(23, 16\), and config.json asks for \(24, 16\)"):
        load_checkpoint(write(tmp_path / "short", name, short), wide, ONE)
    tokens = jnp.asarray(np.random.default_rng(3).integers(0, VOCABULARY, (2, 9)), jnp.int32)
    logits = apply(wide, padded, tokens)
    np.testing.assert_allclose(logits[..., :VOCABULARY], apply(exact, params, tokens), atol=2e-5)
    assert (logits[..., VOCABULARY:] == -np.inf).all()
    save_checkpoint(tmp_path / "export", wide, padded, source, "float32")
    again = load_file(tmp_path / "export" / "model.safetensors")
    assert {key: tensor.tobytes() for key, tensor in again.items()} == {
        key: tensor.tobytes() for key, tensor in tensors.items()
    }


@pytest.mark.trap(30)
def test_a_tied_head_may_be_there_and_old_buffers_are_ignored(tmp_path):
    tensors = random_tensors("qwen2")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    _, params = load(write(tmp_path, "qwen2", tensors))
    assert "head" not in params
    tensors["lm_head.weight"][VOCABULARY - 1, 3] += 1
    with pytest.raises(ConfigError, match=r"ties the head to the embedding, and lm_head.weight is another matrix"):
        load(write(tmp_path, "qwen2", tensors))


def lose(tensors, key):
    del tensors[key]


def reshape(tensors, key, shape):
    tensors[key] = np.zeros(shape, np.float32)


@pytest.mark.parametrize("prefixes", [("language_model.model.", "language_model."), ("model.language_model.", "")])
def test_the_text_part_of_a_model_with_images(prefixes, tmp_path):
    """It is read under the names of transformers 4 and 5, and goes out as the text model that it is."""
    inside, head = prefixes
    tensors = random_tensors("gemma3_text")
    plain = write(tmp_path / "plain", "gemma3_text", tensors)
    wrapped = {inside + key.removeprefix("model."): tensor for key, tensor in tensors.items()}
    wrapped |= {f"{head}lm_head.weight": tensors["model.embed_tokens.weight"].copy()}
    wrapped |= {f"{'model.' * (not head)}vision_tower.vision_model.embeddings.bias": np.ones(3, np.float32)}
    source = write(tmp_path / "source", "gemma3_text", wrapped)
    text = json.loads((plain / "config.json").read_text())
    whole = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    whole |= {"vision_config": {"hidden_size": 8}, "mm_tokens_per_image": 4, "eos_token_id": [1, 106]}
    (source / "config.json").write_text(json.dumps(whole))
    assert read_architecture(source) == read_architecture(plain)
    policy, params = load(source)
    jax.tree.map(np.testing.assert_array_equal, params, load(plain)[1])
    save_checkpoint(tmp_path / "export", policy, params, source, "float32")
    again = load_file(tmp_path / "export" / "model.safetensors")
    assert {key: tensor.tobytes() for key, tensor in again.items()} == {
        key: tensor.tobytes() for key, tensor in tensors.items()
    }
    written = json.loads((tmp_path / "export" / "config.json").read_text())
    assert (written["model_type"], written["architectures"]) == ("gemma3_text", ["Gemma3ForCausalLM"])
    assert written["eos_token_id"] == [1, 106]
    (source / "config.json").write_text(json.dumps(whole | {"text_config": text | {"final_logit_softcapping": 3.0}}))
    with pytest.raises(ConfigError, match=r"config.json: text_config: final_logit_softcapping=3.0: is not supported"):
        read_architecture(source)
    (source / "config.json").write_text(json.dumps(whole))
    wrapped["another_tower.weight"] = np.ones(3, np.float32)
    save_file(wrapped, source / "model.safetensors")
    with pytest.raises(ConfigError, match=r"it also has another_tower.weight"):
        load(source)


def test_rows_of_a_fused_tensor_that_are_missing(tmp_path):
    tensors = random_tensors("phi3")
    reshape(tensors, "model.layers.1.self_attn.qkv_proj.weight", (48, 16))
    with pytest.raises(
        ConfigError, match=r"layers.1.self_attn.qkv_proj.weight has the shape \(48, 16\), and config.json"
    ):
        load(write(tmp_path, "phi3", tensors))


MISTAKES = {  # of a checkpoint of Llama: what is done to its tensors, and the sentence
    "missing": (lambda t: lose(t, "model.norm.weight"), "it lacks model.norm.weight."),
    "many missing": (
        lambda t: [lose(t, key) for key in list(t) if "q_proj" in key or "up_proj" in key],
        "it lacks model.layers.0.attention",
    ),
    "extra": (
        lambda t: reshape(t, "model.layers.0.self_attn.q_proj.bias", (32,)),
        "it also has model.layers.0.self_attn.q_proj.bias.",
    ),
    "no head": (lambda t: lose(t, "lm_head.weight"), "it lacks lm_head.weight."),
    "another layer": (
        lambda t: [reshape(t, k.replace("layers.2", "layers.3"), v.shape) for k, v in list(t.items())],
        "it also has model.layers.3.",
    ),
    "shape": (
        lambda t: reshape(t, "model.layers.1.mlp.up_proj.weight", (16, 32)),
        "model.layers.1.mlp.up_proj.weight has the shape (16, 32), and config.json asks for (32, 16).",
    ),
    "vocabulary": (
        lambda t: reshape(t, "model.embed_tokens.weight", (VOCABULARY + 1, 16)),
        "model.embed_tokens.weight has the shape (25, 16), and config.json asks for (24, 16).",
    ),
    "vocabulary cut short": (
        lambda t: reshape(t, "model.embed_tokens.weight", (VOCABULARY - 1, 16)),
        "model.embed_tokens.weight has the shape (23, 16), and config.json asks for (24, 16).",
    ),
    "head cut short": (
        lambda t: reshape(t, "lm_head.weight", (VOCABULARY - 1, 16)),
        "lm_head.weight has the shape (23, 16), and config.json asks for (24, 16).",
    ),
    "type": (
        lambda t: t.update({"model.norm.weight": np.zeros(16, np.int8)}),
        "model.norm.weight is stored as I8; supported are F32, F16, BF16, convert it.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_tensors_that_are_not_the_models(mistake, tmp_path):
    spoil, sentence = MISTAKES[mistake]
    tensors = random_tensors("llama")
    spoil(tensors)
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "llama", tensors))
    told = str(caught.value)
    assert told.startswith(f"model.checkpoint={tmp_path}: ")
    if mistake == "many missing":
        assert told.endswith("and 3 more.")
    else:
        assert sentence in told


def cut(path, size):
    os.truncate(path, size)


def damage(path, text):
    path.write_bytes(len(text).to_bytes(8, "little") + text)


FILES = {
    "truncated": (lambda p: cut(p, p.stat().st_size - 1), "bytes, and its header says"),
    "longer": (lambda p: p.write_bytes(p.read_bytes() + b"x"), "bytes, and its header says"),
    "header cut": (lambda p: cut(p, 100), "has 100 bytes, too few for a header of"),
    "empty": (lambda p: cut(p, 0), "has 0 bytes, too few for a header of 0"),
    "no safetensors": (lambda p: p.write_bytes(b"version https://git-lfs"), "too few for a header"),
    "no JSON": (lambda p: damage(p, b"{{"), "its header is damaged"),
    "no object": (lambda p: damage(p, b"[]"), "its header is damaged"),
    "no offsets": (lambda p: damage(p, b'{"a": {"dtype": "F32", "shape": [1]}}'), "its header is damaged"),
    "wrong offsets": (
        lambda p: damage(p, b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}'),
        "a has another size than its shape (2,) says",
    ),
    "negative offsets": (
        lambda p: damage(p, b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}'),
        "a does not begin where the tensor before it ends",
    ),
    "away": (lambda p: p.unlink(), "has neither model.safetensors nor model.safetensors.index.json"),
}


@pytest.mark.parametrize("mistake", FILES)
def test_files_that_are_damaged(mistake, tmp_path):
    spoil, sentence = FILES[mistake]
    source = write(tmp_path, "llama", random_tensors("llama"))
    spoil(source / "model.safetensors")
    with pytest.raises(ConfigError) as caught:
        load(source)
    assert sentence in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shards_that_are_missing_or_doubled(tmp_path):
    tensors = random_tensors("qwen3")
    source = write(tmp_path / "source", "qwen3", tensors)
    policy, params = load(source)
    save_checkpoint(tmp_path / "a", policy, params, source, "float32", shard_bytes=6000)
    (second := next((tmp_path / "a").glob("model-00002*"))).unlink()
    with pytest.raises(ConfigError, match=f"{second.name} is missing, which model.safetensors.index.json names"):
        load(tmp_path / "a")
    save_file(tensors, second)
    with pytest.raises(ConfigError, match=r"both have .*; remove the file that does not belong there"):
        load(tmp_path / "a")
    (tmp_path / "a" / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"index.json: is damaged \(KeyError"):
        load(tmp_path / "a")


def test_an_existing_directory_is_left_alone(tmp_path):
    source = write(tmp_path / "source", "qwen3", random_tensors("qwen3"))
    policy, params = load(source)
    (tmp_path / "export").mkdir()
    with pytest.raises(ConfigError, match="already exists; name a directory that does not"):
        save_checkpoint(tmp_path / "export", policy, params, source)
    assert not list((tmp_path / "export").iterdir())


def test_what_cannot_be_exported(tmp_path):
    source = write(tmp_path / "source", "qwen3", random_tensors("qwen3"))
    other = write(tmp_path / "other", "qwen3", random_tensors("qwen3"), rope_theta=7.0, rms_norm_eps=1e-3)
    larger = write(tmp_path / "larger", "qwen3", random_tensors("qwen3"), vocab_size=99)
    policy, params = load(source)
    export = partial(save_checkpoint, tmp_path / "export", policy, params)
    with pytest.raises(ConfigError, match="is of another model than the policy, whose norm_epsilon, rope is different"):
        export(other)
    with pytest.raises(ConfigError, match="vocab_size=99: the policy has 24"):
        export(larger)
    with pytest.raises(ConfigError, match="dtype=int8: cannot be exported; use one of float32, float16, bfloat16"):
        export(source, "int8")
    assert not (tmp_path / "export").exists()


def test_a_checkpoint_of_another_model_is_not_loaded(tmp_path):
    source = write(tmp_path, "qwen3", random_tensors("qwen3"))
    policy = policy_of(source)
    other = dataclasses.replace(policy, architecture=dataclasses.replace(policy.architecture, post_norms=True))
    with pytest.raises(ConfigError, match="is of another model than the policy, whose post_norms is"):
        load_checkpoint(source, other, ONE)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_what_was_loaded_can_be_donated(scan_layers, tmp_path):
    """An update gives its parameters' memory away; no two devices may have been given the same."""
    source = write(tmp_path, "qwen3", random_tensors("qwen3"))
    mesh = make_mesh(MeshConfig(8, 1, 1))
    policy = policy_of(source, scan_layers=scan_layers, mesh=mesh)
    params = load_checkpoint(source, policy, tree_named(mesh, policy.shapes(), policy.logical_axes()))
    expected = jax.tree.map(lambda leaf: 2 * np.asarray(leaf) + 1, params)
    doubled = jax.jit(lambda tree: jax.tree.map(lambda leaf: 2 * leaf + 1, tree), donate_argnums=0)(params)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    for leaf, value in zip(jax.tree.leaves(doubled), jax.tree.leaves(expected), strict=True):
        for shard in leaf.addressable_shards:
            np.testing.assert_array_equal(shard.data, value[shard.index])


@pytest.mark.parametrize("at", ["config.json", "tensors", "rename"])
def test_a_full_disk_leaves_nothing_behind(at, tmp_path, monkeypatch):
    source = write(tmp_path / "source", "qwen3", random_tensors("qwen3"))
    policy, params = load(source)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    begun = []

    def write_tensors(file, *args):
        file.write_bytes(b"half")
        begun.append(file)
        if len(begun) == 2:
            raise full

    def fail(*args, **more):
        raise full

    replaced = {
        "config.json": ("_begin", fail),
        "tensors": ("write_tensors", write_tensors),
        "rename": ("_finish", fail),
    }
    monkeypatch.setattr(exporter, *replaced[at])
    with pytest.raises(ConfigError, match=r"export: cannot be written \(.*No space left on device\); nothing was left"):
        save_checkpoint(tmp_path / "export", policy, params, source, shard_bytes=3000)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_file_that_may_grow_no_further(tmp_path):
    """The real thing: the system refuses the bytes in the middle of a file."""
    resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")
    source = write(tmp_path / "source", "qwen3", random_tensors("qwen3"))
    policy, params = load(source)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(ConfigError, match=r"cannot be written .*File too large"):
            save_checkpoint(tmp_path / "export", policy, params, source, "float32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_values_that_float16_does_not_have(tmp_path):
    shapes = {"small": (2,), "large": (2,)}
    arrays = [np.array(values, np.float32) for values in ([0, 65504], [1, -1e5])]
    with pytest.raises(ConfigError, match=r"^dtype=float16: large has the value 100000, which would become infinite"):
        write_tensors(tmp_path / "x.safetensors", shapes, np.dtype(np.float16), arrays)
    write_tensors(tmp_path / "x.safetensors", shapes, np.dtype(np.float16), arrays[:1] * 2)
    assert load_file(tmp_path / "x.safetensors")["large"].tolist() == [0, 65504]


def test_a_policy_from_nothing_goes_out_and_comes_back(tmp_path):
    policy = make()
    params = randomised(policy)
    save_checkpoint(tmp_path / "export", policy, params, describe(policy.architecture, 99), "float32")
    assert read_architecture(tmp_path / "export").qk_norm
    again = load_checkpoint(tmp_path / "export", policy, ONE)
    jax.tree.map(np.testing.assert_array_equal, params, again)
