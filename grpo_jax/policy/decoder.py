"""The decoder-only transformer, as Flax NNX modules: RMSNorm, RoPE, grouped-query attention, SwiGLU.

Parameters are float32 whatever the compute dtype: an update of 1e-6 would vanish in bfloat16 weights.

Its variants (q/k/v biases, q/k norms, a tied or a free head, layers unrolled or scanned) come from the config. Every
parameter is made with the logical names of its axes as metadata; `grpo_jax.sharding` says where those lie on a mesh.
Modules hold parameters only: no random keys, no caches, no mode.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from grpo_jax.config import ModelConfig
from grpo_jax.policy.attention import Attend, precision
from grpo_jax.policy.rope import Rotation, inverse_frequencies, rotate, rotation

REMAT_POLICIES = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}

KV = tuple[Array, Array]  # keys (rotated) and values of the tokens a layer was given, each [B, T, K, H]


def _like(parameter: Array, x: Array) -> Array:
    """A parameter over the trailing axes of x, with the dtype and the number of axes of x."""
    return parameter.astype(x.dtype).reshape((1,) * (x.ndim - parameter.ndim) + parameter.shape)


class Linear(nnx.Module):
    """x @ kernel over the last `len(inputs)` axes of x; kernel [*inputs, *outputs], bias [*outputs]."""

    def __init__(
        self,
        inputs: dict[str, int],
        outputs: dict[str, int],
        rngs: nnx.Rngs,
        *,
        bias: bool = False,
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
        self.contracted = len(inputs)

    def __call__(self, x: Array) -> Array:
        y = jnp.tensordot(x, self.kernel[...].astype(x.dtype), axes=self.contracted, precision=precision(x.dtype))
        return y if self.bias is None else y + _like(self.bias[...], y)


class RMSNorm(nnx.Module):
    """x / rms(x) * scale, in float32 (arXiv 1910.07467)."""

    def __init__(self, axis: str, size: int, config: ModelConfig):
        self.scale = nnx.Param(jnp.ones((size,), jnp.float32), axes=(axis,))
        self.epsilon = config.norm_epsilon

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + self.epsilon)
        return (wide * _like(self.scale[...], wide)).astype(x.dtype)


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions; what the queries see is up to `attend`."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        embed = {"embed": config.embed_dim}
        heads = {"heads": config.num_heads, "head_dim": config.head_dim}
        kv_heads = {"kv_heads": config.num_kv_heads, "head_dim": config.head_dim}
        self.query = Linear(embed, heads, rngs, bias=config.qkv_bias)
        self.key = Linear(embed, kv_heads, rngs, bias=config.qkv_bias)
        self.value = Linear(embed, kv_heads, rngs, bias=config.qkv_bias)
        self.out = Linear(heads, embed, rngs)
        self.query_norm = RMSNorm("head_dim", config.head_dim, config) if config.qk_norm else None
        self.key_norm = RMSNorm("head_dim", config.head_dim, config) if config.qk_norm else None

    def __call__(self, x: Array, by: Rotation, attend: Attend, context: Any) -> tuple[Array, KV]:
        q, k, v = self.query(x), self.key(x), self.value(x)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        q, k = rotate(q, by), rotate(k, by)
        return self.out(attend(q, k, v, context)), (k, v)


class MLP(nnx.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        embed, mlp = {"embed": config.embed_dim}, {"mlp": config.mlp_dim}
        self.gate = Linear(embed, mlp, rngs)
        self.up = Linear(embed, mlp, rngs)
        self.down = Linear(mlp, embed, rngs)

    def __call__(self, x: Array) -> Array:
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


class Block(nnx.Module):
    """Pre-norm residual attention and MLP."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm("embed", config.embed_dim, config)
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm("embed", config.embed_dim, config)
        self.mlp = MLP(config, rngs)

    def __call__(self, x: Array, by: Rotation, attend: Attend, context: Any) -> tuple[Array, KV]:
        attended, kv = self.attention(self.attention_norm(x), by, attend, context)
        x = x + attended
        return x + self.mlp(self.mlp_norm(x)), kv


class Decoder(nnx.Module):
    """Token ids to final hidden states, and hidden states to logits."""

    def __init__(self, config: ModelConfig, vocab_size: int, rngs: nnx.Rngs):
        self.config = config
        embedding = nnx.initializers.normal(config.embed_dim**-0.5)(
            rngs.params(), (vocab_size, config.embed_dim), jnp.float32
        )
        self.embedding = nnx.Param(embedding, axes=("vocab", "embed"))
        layer_keys = jax.random.split(rngs.params(), config.num_layers)

        def make_block(key: Array) -> Block:
            return Block(config, nnx.Rngs(params=key))

        self.layers: Any
        if config.scan_layers:
            self.layers = nnx.vmap(make_block)(layer_keys)  # one Block whose parameters have a leading layer axis
        else:
            self.layers = nnx.Dict({str(index): make_block(key) for index, key in enumerate(layer_keys)})
        self.final_norm = RMSNorm("embed", config.embed_dim, config)
        self.head = None if config.tied_head else Linear({"embed": config.embed_dim}, {"vocab": vocab_size}, rngs)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        attend: Attend,
        contexts: Any,
        place: Callable[[Array], Array],
    ) -> tuple[Float[Array, "B T D"], Any]:
        """Final hidden states, and every layer's keys and values.

        Args:
          tokens: ids.
          positions: of the tokens in their rows, for RoPE.
          attend: what the tokens see.
          contexts: handed to `attend`, layer by layer: None, or as the keys and values that are returned, a list over
            layers or, with scanned layers, a tree whose leaves have a leading layer axis.
          place: says where the activations between layers lie on the mesh.
        """
        config = self.config
        dtype = jnp.dtype(config.compute_dtype)
        by = rotation(inverse_frequencies(config.rope, config.head_dim), positions)
        x = place(self.embedding[...].astype(dtype)[tokens])

        kv: Any

        def run(state: Any, x: Array, context: Any) -> tuple[Array, KV]:
            x, kv = nnx.merge(graph, state)(x, by, attend, context)
            return place(x), kv

        if config.remat != "none":
            run = jax.checkpoint(run, policy=REMAT_POLICIES[config.remat])

        if config.scan_layers:
            graph, stacked = nnx.split(self.layers)
            x, kv = jax.lax.scan(lambda x, layer: run(layer[0], x, layer[1]), x, (stacked, contexts))
        else:
            kv = []
            for index in range(config.num_layers):
                graph, state = nnx.split(self.layers[str(index)])
                x, layer_kv = run(state, x, None if contexts is None else contexts[index])
                kv.append(layer_kv)
        return self.final_norm(x), kv

    def logits(self, hidden: Float[Array, "*batch D"]) -> Float[Array, "*batch V"]:
        """In float32: the products may be bfloat16, their sum is not rounded to it."""
        kernel = self.embedding[...].T if self.head is None else self.head.kernel[...]
        return jnp.matmul(
            hidden,
            kernel.astype(hidden.dtype),
            precision=precision(hidden.dtype),
            preferred_element_type=jnp.float32,
        )
