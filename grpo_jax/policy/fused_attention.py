"""Causal attention that never holds the scores [B, heads, T, T]: splash attention on TPU, cuDNN's on GPU.

`causal` of grpo_jax/policy/attention.py is the reference, and runs where there is no kernel. Kernels multiply in
bfloat16 and add in float32. They are programs for one device, so on a mesh each device runs its own over the rows
and heads that it holds. Unlike `causal` they have neither soft-caps nor sliding windows.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from grpo_jax.policy.attention import Attend, Keys, Queries, Scoring, Values, causal
from grpo_jax.sharding import batch_shards, named

LANES = 128  # TPU kernels take sequences in multiples of it
BLOCK = 512  # how many queries, and keys, a TPU core holds in memory at once


def fused_causal(mesh: Mesh | None) -> Attend:
    """Return the fused `causal` for the devices of this mesh, or for JAX's default device without a mesh.

    The returned function raises ValueError if the mesh cannot divide the rows or the heads.
    """
    platform = jax.default_backend() if mesh is None else mesh.devices.flat[0].platform
    kernel = KERNELS.get(platform)
    return causal if kernel is None else _on_each_device(kernel, mesh)


def splash(q: Queries, k: Keys, v: Values, scale: float, *, block: int = BLOCK, interpret: bool = False) -> Queries:
    """Compute splash attention on one device: a Pallas kernel for TPU that skips the blocks above the diagonal.

    Args:
      q: queries; T is padded on the right to a multiple of the block, and no valid token attends to the padding.
      k: keys; each head serves heads / kv_heads query heads.
      v: values.
      scale: factor of the products of queries and keys.
      block: how many queries, and keys, a core holds in memory at once.
      interpret: run the kernel as plain JAX, anywhere.
    """
    from jax.experimental.pallas.ops.tpu import splash_attention  # it takes a second to import

    length, heads = q.shape[1], q.shape[2]
    block = min(block, length + -length % LANES)
    padded = length + -length % block
    mask = splash_attention.MultiHeadMask([splash_attention.CausalMask((padded, padded))] * heads)
    kernel = splash_attention.make_splash_mha(
        mask,
        block_sizes=splash_attention.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_kv_dkv_compute=block,
            block_q_dq=block,
            block_kv_dq=block,
        ),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )

    def by_head(x: Array) -> Array:
        return jnp.swapaxes(jnp.pad(x, ((0, 0), (0, padded - length), (0, 0), (0, 0))), 1, 2)

    seen = jax.vmap(kernel)(by_head(q * scale), by_head(k), by_head(v))  # [B, heads, padded, head_dim]
    return jnp.swapaxes(seen, 1, 2)[:, :length].astype(q.dtype)


def cudnn(q: Queries, k: Keys, v: Values, scale: float) -> Queries:
    """Compute cuDNN's flash attention on one device, an NVIDIA GPU of the Ampere generation or later.

    JAX refuses odd lengths in training, so T is padded on the right, and no valid token attends to the padding.
    """
    length = q.shape[1]
    q, k, v = (jnp.pad(x, ((0, 0), (0, length % 2), (0, 0), (0, 0))) for x in (q, k, v))
    seen = jax.nn.dot_product_attention(q, k, v, scale=scale, is_causal=True, implementation="cudnn")
    return seen[:, :length]


Kernel = Callable[[Array, Array, Array, float], Array]

KERNELS: Mapping[str, Kernel] = {"tpu": splash, "gpu": cudnn}  # by JAX's name of the platform


def _on_each_device(kernel: Kernel, mesh: Mesh | None) -> Attend:
    def attend(q: Queries, k: Keys, v: Values, scoring: Scoring, context: None = None) -> Queries:
        def on_one(q: Array, k: Array, v: Array) -> Array:
            return kernel(q, k, v, scoring.scale)

        if mesh is None:
            return on_one(q, k, v)
        rows, tensor = batch_shards(mesh), mesh.shape["tensor"]
        if q.shape[0] % rows or k.shape[2] % tensor:
            raise ValueError(
                f"model.attention='fused': {q.shape[0]} rows and {k.shape[2]} key-value heads cannot be cut over "
                f"mesh.data x mesh.fsdp = {rows} and mesh.tensor = {tensor}; set it to 'plain', or change the mesh."
            )
        by_row = named(mesh, "batch", None, "heads").spec
        # Replication is not tracked through a kernel, and nothing here is replicated.
        each = partial(jax.shard_map, mesh=mesh, in_specs=(by_row, by_row, by_row), out_specs=by_row, check_vma=False)
        return each(on_one)(q, k, v)

    return attend
