"""The decoder-only transformer, as Flax NNX modules: RMSNorm, RoPE, grouped-query attention, gated MLP.

Parameters are float32 whatever the compute dtype: an update of 1e-6 would vanish in bfloat16 weights.

The config says how families of models differ (biases, norms, caps, windows, a tied or a free head), and whether layers
are unrolled or scanned. Each parameter carries the logical names of its axes as metadata, and `grpo_jax.sharding` maps
them to a mesh. Modules hold parameters only: no random keys, no caches, no switch between training and evaluation.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from grpo_jax.config import ArchitectureConfig, LoraConfig, ModelConfig
from grpo_jax.policy import int8
from grpo_jax.policy.attention import KV, Attend, Scoring, precision
from grpo_jax.policy.rope import Rotation, rotate, rotation
from grpo_jax.randomness import adapter_key, layer_keys
from grpo_jax.types import Params

REMAT_POLICIES = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
}

EachShard: TypeAlias = Callable[[Callable[[Any, Any], Array], Any, Any], Array]  # (function, parameters, rows) -> rows


class View(NamedTuple):
    """The properties of a type of layer: its rotation at each position, and how far back it looks."""

    by: Rotation
    window: Int[Array, ""] | int | None  # None: all earlier tokens


EVERYTHING = int(np.iinfo(np.int32).max)  # the window of a full layer, where it has to be a number


def _like(parameter: Array, x: Array) -> Array:
    """Return a parameter of the trailing axes of x, in the dtype of x and with as many axes."""
    return parameter.astype(x.dtype).reshape((1,) * (x.ndim - parameter.ndim) + parameter.shape)


class Linear(nnx.Module):
    """A linear layer: x @ kernel over the last `len(inputs)` axes of x; kernel [*inputs, *outputs], bias [*outputs].

    With an adapter, lora_a [*inputs, rank] and lora_b [rank, *outputs], it adds scale * (x @ lora_a) @ lora_b (LoRA).
    """

    kernel_scale: nnx.Param[Array] | None = None  # [*outputs], if the kernel is quantised; see `quantised`

    def __init__(
        self,
        inputs: dict[str, int],
        outputs: dict[str, int],
        rngs: nnx.Rngs,
        *,
        bias: bool = False,
        lora: LoraConfig | None = None,
    ):
        shape = (*inputs.values(), *outputs.values())
        scale = nnx.initializers.variance_scaling(
            1.0,
            "fan_in",
            "truncated_normal",
            in_axis=tuple(range(len(inputs))),
            out_axis=tuple(range(len(inputs), len(shape))),
        )
        self.kernel = nnx.Param(scale(rngs.params(), shape, jnp.float32), axes=(*inputs, *outputs))
        self.bias = nnx.Param(jnp.zeros(tuple(outputs.values()), jnp.float32), axes=tuple(outputs)) if bias else None
        self.inputs = tuple(inputs)
        none: tuple[nnx.Param[Array] | None, ...] = (None, None)
        self.lora_a, self.lora_b = none if lora is None else _adapter(inputs, outputs, lora.rank, rngs)
        self.lora_scale = 0.0 if lora is None else lora.scale

    def __call__(self, x: Array) -> Array:
        product = partial(jnp.tensordot, precision=precision(x.dtype))
        if self.kernel_scale is None:
            y = product(x, self.kernel[...].astype(x.dtype), axes=len(self.inputs))
        else:
            x, kernel = int8.factors(x, self.kernel[...])
            y = int8.scaled(product(x, kernel, axes=len(self.inputs)), self.kernel_scale[...])
        if self.lora_a is not None and self.lora_b is not None:
            narrow = product(x, self.lora_a[...].astype(x.dtype), axes=len(self.inputs))
            y = y + product(self.lora_scale * narrow, self.lora_b[...].astype(x.dtype), axes=1)
        return y if self.bias is None else y + _like(self.bias[...], y)


def _adapter(
    inputs: dict[str, int], outputs: dict[str, int], rank: int, rngs: nnx.Rngs
) -> tuple[nnx.Param[Array], nnx.Param[Array]]:
    """Make A, random, and B, zeros, which change nothing at first."""
    random = nnx.initializers.normal(math.prod(inputs.values()) ** -0.5)
    a = random(rngs.lora(), (*inputs.values(), rank), jnp.float32)
    b = jnp.zeros((rank, *outputs.values()), jnp.float32)
    return nnx.Param(a, axes=(*inputs, "rank")), nnx.Param(b, axes=("rank", *outputs))


def _for_module(lora: LoraConfig | None, module: str) -> LoraConfig | None:
    """Return the config if this module has an adapter, else None."""
    return lora if lora is not None and module in lora.modules else None


class RMSNorm(nnx.Module):
    """x / rms(x) * scale, in float32 (arXiv 1910.07467). With an offset * (1 + scale), where scale starts at 0."""

    def __init__(self, sizes: Mapping[str, int], config: ArchitectureConfig):
        """Make a norm over the last axes of x, with these names and sizes."""
        self.offset = 1 if config.norm_offset else 0
        shape = tuple(sizes.values())
        self.scale = nnx.Param(jnp.full(shape, 1.0 - self.offset, jnp.float32), axes=tuple(sizes))
        self.axes = tuple(range(-len(shape), 0))
        self.epsilon = config.norm_epsilon

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=self.axes, keepdims=True) + self.epsilon)
        scale = self.scale[...] + self.offset if self.offset else self.scale[...]
        return (wide * _like(scale, wide)).astype(x.dtype)


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions. `attend` decides what the queries attend to."""

    def __init__(self, config: ArchitectureConfig, lora: LoraConfig | None, rngs: nnx.Rngs):
        adapter = partial(_for_module, lora)
        embed = {"embed": config.embed_dim}
        heads = {"heads": config.num_heads, "head_dim": config.head_dim}
        kv_heads = {"kv_heads": config.num_kv_heads, "head_dim": config.head_dim}
        self.query = Linear(embed, heads, rngs, bias=config.qkv_bias, lora=adapter("query"))
        self.key = Linear(embed, kv_heads, rngs, bias=config.qkv_bias, lora=adapter("key"))
        self.value = Linear(embed, kv_heads, rngs, bias=config.qkv_bias, lora=adapter("value"))
        self.out = Linear(heads, embed, rngs, lora=adapter("out"))
        each = {"head_dim": config.head_dim}
        of_queries, of_keys = (heads, kv_heads) if config.qk_norm_of_all_heads else (each, each)
        self.query_norm = RMSNorm(of_queries, config) if config.qk_norm else None
        self.key_norm = RMSNorm(of_keys, config) if config.qk_norm else None
        self.scale = config.query_scale or config.head_dim**-0.5
        self.cap = config.attention_cap

    def __call__(self, x: Array, view: View, attend: Attend, context: Any) -> tuple[Array, KV]:
        q, k, v = self.query(x), self.key(x), self.value(x)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        q, k = rotate(q, view.by), rotate(k, view.by)
        return self.out(attend(q, k, v, Scoring(self.scale, self.cap, view.window), context)), (k, v)


class MLP(nnx.Module):
    """A gated MLP: SwiGLU or GEGLU (arXiv 2002.05202)."""

    def __init__(self, config: ArchitectureConfig, lora: LoraConfig | None, rngs: nnx.Rngs):
        adapter = partial(_for_module, lora)
        embed, mlp = {"embed": config.embed_dim}, {"mlp": config.mlp_dim}
        self.gate = Linear(embed, mlp, rngs, lora=adapter("gate"))
        self.up = Linear(embed, mlp, rngs, lora=adapter("up"))
        self.down = Linear(mlp, embed, rngs, lora=adapter("down"))
        self.activation = config.activation

    def __call__(self, x: Array) -> Array:
        return self.down(ACTIVATIONS[self.activation](self.gate(x)) * self.up(x))


class Stack(nnx.Module):
    """A linear layer of each expert: kernel [experts, in, out]. Rows are sorted by their experts."""

    kernel_scale: nnx.Param[Array] | None = None  # [experts, out], if the kernel is quantised; see `quantised`

    def __init__(self, inputs: dict[str, int], outputs: dict[str, int], experts: dict[str, int], rngs: nnx.Rngs):
        scale = nnx.initializers.variance_scaling(
            1.0, "fan_in", "truncated_normal", in_axis=1, out_axis=2, batch_axis=0
        )
        axes = experts | inputs | outputs
        self.kernel = nnx.Param(scale(rngs.params(), tuple(axes.values()), jnp.float32), axes=tuple(axes))
        self.inputs = tuple(inputs)

    def weights(self, dtype: Any) -> tuple[Array, Array | None]:
        """Return the kernel in a dtype; or in int8, with its scales."""
        if self.kernel_scale is None:
            return self.kernel[...].astype(dtype), None
        return self.kernel[...], self.kernel_scale[...]


class Experts(nnx.Module):
    """A mixture of gated MLPs: a router chooses some for each token, and weights them (arXiv 1701.06538).

    Every token reaches all of its experts, however many others they have, so no completion depends on its batch. No
    loss balances the experts: a pretrained router is balanced, and trainers by reinforcement learning leave it alone.
    """

    def __init__(self, config: ArchitectureConfig, rngs: nnx.Rngs):
        experts, embed, mlp = {"experts": config.num_experts}, {"embed": config.embed_dim}, {"mlp": config.mlp_dim}
        self.router = Linear(embed, experts, rngs)
        self.gate = Stack(embed, mlp, experts, rngs)
        self.up = Stack(embed, mlp, experts, rngs)
        self.down = Stack(mlp, embed, experts, rngs)
        self.config = config

    def __call__(self, x: Array, each_shard: EachShard) -> Array:
        """Compute the weighted sum of each token's experts.

        Args:
          x: [B, T, D].
          each_shard: runs a function of parameters and rows on each shard's rows. Tokens are sorted by their experts,
            and to sort those of all shards together would send them to other devices.
        """
        config = self.config
        probabilities = jax.nn.softmax(self.router(x).astype(jnp.float32), axis=-1)
        weights, chosen = jax.lax.top_k(probabilities, config.experts_per_token)
        if config.normed_routing:
            weights /= weights.sum(axis=-1, keepdims=True)
        kernels = [stack.weights(x.dtype) for stack in (self.gate, self.up, self.down)]
        return each_shard(partial(_mixed, activation=config.activation), kernels, (x, chosen, weights))


def _mixed(kernels: list[tuple[Array, Array | None]], rows: tuple[Array, Array, Array], activation: str) -> Array:
    """Compute the sum over each token's chosen experts of weight * expert(x)."""
    (gate, up, down), (x, chosen, weights) = kernels, rows
    number = chosen.shape[-1]
    order = jnp.argsort(chosen.reshape(-1))
    group_sizes = jnp.bincount(chosen.reshape(-1), length=len(gate[0])).astype(jnp.int32)

    def product(x: Array, kernel: Array, scale: Array | None) -> Array:
        x, kernel = (x, kernel) if scale is None else int8.factors(x, kernel)
        y: Array = jax.lax.ragged_dot(x, kernel, group_sizes=group_sizes, precision=precision(x.dtype))
        return y if scale is None else int8.scaled(y, scale[chosen.reshape(-1)[order]])

    each = x.reshape(-1, x.shape[-1])[order // number]
    each = product(ACTIVATIONS[activation](product(each, *gate)) * product(each, *up), *down)
    each = each[jnp.argsort(order)].reshape(*chosen.shape, -1)
    return (each.astype(jnp.float32) * weights[..., None]).sum(axis=-2).astype(x.dtype)


class Block(nnx.Module):
    """Residual attention and MLP, with a norm before each, after each, or both, as the family has it."""

    def __init__(self, config: ArchitectureConfig, lora: LoraConfig | None, rngs: nnx.Rngs):
        norm = partial(RMSNorm, {"embed": config.embed_dim}, config)
        self.multiplier = config.residual_multiplier
        self.attention_norm = norm() if config.pre_norms else None
        self.attention = Attention(config, lora, rngs)
        self.attention_post_norm = norm() if config.post_norms else None
        self.mlp_norm = norm() if config.pre_norms else None
        self.mlp = Experts(config, rngs) if config.num_experts else MLP(config, lora, rngs)
        self.mlp_post_norm = norm() if config.post_norms else None

    def __call__(self, x: Array, view: View, attend: Attend, context: Any, each_shard: EachShard) -> tuple[Array, KV]:
        attended, kv = self.attention(_normed(x, self.attention_norm), view, attend, context)
        x = self._sum(x, _normed(attended, self.attention_post_norm))
        normed = _normed(x, self.mlp_norm)
        transformed = self.mlp(normed, each_shard) if isinstance(self.mlp, Experts) else self.mlp(normed)
        return self._sum(x, _normed(transformed, self.mlp_post_norm)), kv

    def _sum(self, x: Array, y: Array) -> Array:
        return x + (y if self.multiplier == 1 else (self.multiplier * y.astype(jnp.float32)).astype(y.dtype))


def _normed(x: Array, norm: RMSNorm | None) -> Array:
    return x if norm is None else norm(x)


class Decoder(nnx.Module):
    """The decoder: from token ids to final hidden states, and from hidden states to logits."""

    def __init__(self, config: ArchitectureConfig, model: ModelConfig, rngs: nnx.Rngs):
        self.config, self.model = config, model
        embedding = nnx.initializers.normal(config.embed_dim**-0.5)(
            rngs.params(), (config.vocab_size, config.embed_dim), jnp.float32
        )
        self.embedding = nnx.Param(embedding, axes=("vocab", "embed"))
        keys = layer_keys(rngs.params(), config.num_layers)

        def make_block(key: Array) -> Block:
            # Adapters have keys of their own, so the same key makes the same kernels with and without adapters.
            return Block(config, model.lora, nnx.Rngs(params=key, lora=adapter_key(key)))

        self.layers: Any
        if model.scan_layers:
            self.layers = nnx.vmap(make_block)(keys)  # one Block whose parameters have a leading layer axis
        else:
            self.layers = nnx.Dict({str(index): make_block(key) for index, key in enumerate(keys)})
        self.final_norm = RMSNorm({"embed": config.embed_dim}, config)
        embed, vocab = {"embed": config.embed_dim}, {"vocab": config.vocab_size}
        self.head = None if config.tied_head else Linear(embed, vocab, rngs)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        attend: Attend,
        contexts: Any,
        shard_rows: Callable[[Array], Array],
        gather: Callable[[Params], Params],
        each_shard: EachShard,
    ) -> tuple[Float[Array, "B T D"], Any]:
        """Compute final hidden states, and every layer's keys and values.

        Args:
          tokens: ids.
          positions: of the tokens in their texts, for RoPE.
          attend: decides what the queries attend to.
          contexts: passed to `attend` layer by layer: None, or like the returned keys and values a list of layers or,
            if layers are scanned, a tree whose leaves have a leading axis of layers.
          shard_rows: spreads the rows of activations between layers over the mesh.
          gather: gathers one layer's parameters before they are used.
          each_shard: runs a function of parameters and of trees of rows on each shard's rows.
        """
        config, model = self.config, self.model
        views = self._views(positions)
        x = shard_rows(self._embed(tokens))

        kv: Any

        def run(params: Params, x: Array, view: View, context: Any) -> tuple[Array, KV]:
            x, kv = nnx.merge(graph, nnx.State(gather(params)))(x, view, attend, context, each_shard)
            return shard_rows(x), kv

        if model.remat != "none":
            run = jax.checkpoint(run, policy=REMAT_POLICIES[model.remat])

        if model.scan_layers:
            graph, stacked = nnx.split(self.layers)
            view_of, types = _scanned(views, config.layers)
            layers = (nnx.to_pure_dict(stacked), types, contexts)
            x, kv = jax.lax.scan(lambda x, layer: run(layer[0], x, view_of(layer[1]), layer[2]), x, layers)
        else:
            kv = []
            for index, kind in enumerate(config.layers):
                graph, state = nnx.split(self.layers[str(index)])
                context = None if contexts is None else contexts[index]
                x, layer_kv = run(nnx.to_pure_dict(state), x, views[kind], context)
                kv.append(layer_kv)
        return self.final_norm(x), kv

    def _embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        config, dtype = self.config, jnp.dtype(self.model.compute_dtype)
        x = self.embedding[...].astype(dtype)[tokens]
        factor = config.embedding_multiplier * (config.embed_dim**0.5 if config.scaled_embedding else 1.0)
        # The factor is rounded to the compute dtype, as when these models were trained: 55.43 becomes 55.5.
        return x if factor == 1 else x * jnp.asarray(factor, dtype)

    def _views(self, positions: Int[Array, "B T"]) -> dict[str, View]:
        """Return the view of each type of layer in this decoder."""
        config = self.config
        ropes = {"full": (config.rope, None), "sliding": (config.local_rope or config.rope, config.sliding_window)}
        return {
            kind: View(rotation(rope, config.head_dim, positions), window)
            for kind, (rope, window) in ropes.items()
            if kind in config.layers
        }

    def logits(self, hidden: Float[Array, "*batch D"]) -> Float[Array, "*batch V"]:
        """Compute logits in float32. The factors may be bfloat16, but sums of products are not rounded to it."""
        kernel = self.embedding[...].T if self.head is None else self.head.kernel[...]
        scale = None if self.head is None or self.head.kernel_scale is None else self.head.kernel_scale[...]
        if scale is not None:
            hidden, kernel = int8.factors(hidden, kernel)
        logits = jnp.matmul(
            hidden,
            kernel.astype(hidden.dtype),
            precision=precision(hidden.dtype),
            preferred_element_type=jnp.float32,
        )
        if scale is not None:
            logits = int8.scaled(logits, scale)
        cap, divisor = self.config.logit_cap, self.config.logit_divisor
        logits = logits if divisor == 1 else logits / divisor
        return cap * jnp.tanh(logits / cap) if cap else logits


def quantised(decoder: Decoder) -> Decoder:
    """Return the decoder with kernels in int8, and their scales, all of them zeros; see `grpo_jax.policy.int8`.

    The router of experts stays as it is, because an error in it sends a token to other experts.
    """
    for path, module in nnx.iter_modules(decoder):
        if isinstance(module, Linear | Stack) and path[-1] != "router":
            shape, names = module.kernel[...].shape, module.kernel.get_metadata("axes")
            stacked = len(shape) - len(names)  # 1 with an axis of layers, which the names lack
            kept = [axis for axis, name in enumerate(names) if name not in module.inputs]
            of_channels = (*shape[:stacked], *(shape[stacked + axis] for axis in kept))
            module.kernel = nnx.Param(jnp.zeros(shape, jnp.int8), axes=names)
            module.kernel_scale = nnx.Param(jnp.zeros(of_channels), axes=tuple(names[axis] for axis in kept))
    return decoder


def _scanned(views: Mapping[str, View], layers: tuple[str, ...]) -> tuple[Callable[[Any], View], Any]:
    """Return a function from a layer's type to its view, and the types to scan over; None if all layers are alike."""
    if len(views) == 1:
        (view,) = views.values()
        return lambda _: view, None
    kinds = sorted(views)
    numbered = [View(by, EVERYTHING if window is None else window) for by, window in (views[kind] for kind in kinds)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *numbered)
    types = jnp.array([kinds.index(kind) for kind in layers])
    return lambda kind: jax.tree.map(lambda leaf: leaf[kind], stacked), types
