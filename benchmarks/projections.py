"""Measure the projections of a decode step: q, k and v apart or in one product, and gate and up likewise.

    python benchmarks/projections.py

Prints for the two shapes of benchmarks/peers the median milliseconds of a step of all layers, in float32, and the ratio
of one product to several with its quartiles; both are measured in turn.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from alternation import in_turn, ratio
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


def prepared(shape: Shape, together: bool) -> Callable[[int], Array]:
    """Return a function that runs some steps, whatever the turn."""
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
    return lambda turn: run(layers, x)


def main() -> None:
    """Print the times."""
    for name, shape in SHAPES.items():
        runs = in_turn({together: prepared(shape, together) for together in (False, True)}, REPETITIONS)
        apart, together = ([run.cpu / STEPS for run in of_way] for of_way in runs.values())
        middles = f"{statistics.median(apart):.2f} apart, {statistics.median(together):.2f} in one"
        print(f"{name}: {middles}; ratio {ratio(together, apart)}")


if __name__ == "__main__":
    main()
