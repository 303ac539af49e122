"""Measure the projections of a decode step: q, k and v apart or in one product, and gate and up likewise.

    python benchmarks/projections.py

Prints for the two shapes of benchmarks/peers the median milliseconds of a step of all layers, in float32, and the ratio
of one product to several with its quartiles; both are measured in turn.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from grpo_jax.policy.attention import precision

STEPS, REPETITIONS = 5, 20  # steps of a program, and how often it runs


class Shape(NamedTuple):
    """The widths of a decoder, and how many rows it decodes at once."""

    rows: int
    layers: int
    width: int
    query: int
    key: int
    mlp: int


SHAPES = {"TINY": Shape(32, 4, 256, 256, 128, 704), "SMALL": Shape(16, 12, 576, 576, 192, 1536)}


def multiply(
    x: Float[Array, "B D"], kernels: Sequence[Float[Array, "D F"]], *sizes: int
) -> Sequence[Float[Array, "B F"]]:
    """Return the products, of these sizes, with kernels or with one that has all their columns."""
    products = [jnp.matmul(x, kernel, precision=precision(x.dtype)) for kernel in kernels]
    return products if len(products) == len(sizes) else jnp.split(products[0], np.cumsum(sizes)[:-1], axis=1)


def prepared(shape: Shape, together: bool) -> Callable[[], float]:
    """Return a function that runs some steps, and returns the milliseconds of processor time of one."""
    random = np.random.default_rng(0)

    def kernels(inputs: int, *outputs: int) -> list[Array]:
        whole = random.normal(size=(inputs, sum(outputs))).astype(np.float32) * inputs**-0.5
        pieces = [whole] if together else np.split(whole, np.cumsum(outputs)[:-1], axis=1)
        return [jnp.asarray(piece) for piece in pieces]

    width, query, key, mlp = shape.width, shape.query, shape.key, shape.mlp
    layers = [
        [kernels(width, query, key, key), kernels(query, width), kernels(width, mlp, mlp), kernels(mlp, width)]
        for _ in range(shape.layers)
    ]

    def step(layers: list[list[list[Array]]], x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        for qkv, out, gate_up, down in layers:
            q, k, v = multiply(x, qkv, query, key, key)
            x = x + multiply(q * jnp.tile(k * v, (1, -(-query // key)))[:, :query], out, width)[0]
            gate, up = multiply(x, gate_up, mlp, mlp)
            x = x + multiply(jax.nn.silu(gate) * up, down, width)[0]
            x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
        return x

    run = jax.jit(lambda layers, x: jax.lax.fori_loop(0, STEPS, lambda _, x: step(layers, x), x))
    x = jnp.ones((shape.rows, width))

    def milliseconds() -> float:
        started = time.process_time()
        jax.block_until_ready(run(layers, x))
        return 1e3 * (time.process_time() - started) / STEPS

    milliseconds()  # compiles
    return milliseconds


def main() -> None:
    """Print the times."""
    for name, shape in SHAPES.items():
        ways = [prepared(shape, together) for together in (False, True)]
        times = [[way() for way in ways] for _ in range(REPETITIONS)]
        apart, together = (statistics.median(spent) for spent in zip(*times, strict=True))
        low, middle, high = statistics.quantiles([one / several for several, one in times], n=4)
        print(
            f"{name}: {apart:.2f} apart, {together:.2f} in one; ratio {middle:.3f}, quartiles {low:.3f} and {high:.3f}"
        )


if __name__ == "__main__":
    main()
