"""Measure what this machine can do at best with the matrices of the cases: their products alone, and memory.

    python benchmarks/peers/limits.py [--size tiny small] [--repetitions=5]

For the steps of the kind "equal" it times a rollout and an update that consist of matrix products alone: no attention,
norms, activations, sampling or optimizer. The products depend on one another as in the decoder, and each layer has its
own matrices, so small ones come out of the caches and large ones out of memory, as in a real step. A step cannot be
faster with this library. It also measures how fast memory is read.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from compare import busy_seconds
from run_ours import ROWS
from work import CASES, NEW_TOKENS, PROMPT_TOKENS, Case, Model

FLOAT = 4  # bytes
READ = 2**28  # bytes: more than caches hold
NEARLY_NOTHING = 1e-20


def matrices(model: Model) -> tuple[list[dict[str, jax.Array]], jax.Array]:
    """Return each layer's matrices, and the embedding."""
    keys = iter(jax.random.split(jax.random.key(0), 4 * model.layers + 1))

    def matrix(inputs: int, outputs: int) -> jax.Array:
        return jax.random.normal(next(keys), (inputs, outputs)) * inputs**-0.5

    layers = [
        {
            "qkv": matrix(model.width, (model.heads + 2 * model.kv_heads) * model.head),
            "out": matrix(model.heads * model.head, model.width),
            "gate_up": matrix(model.width, 2 * model.mlp),
            "down": matrix(model.mlp, model.width),
        }
        for _ in range(model.layers)
    ]
    return layers, matrix(model.width, model.vocabulary).T


def products(layers: Sequence[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    """Return what the layers' products make of rows [B, width]."""
    for one in layers:
        x = (x @ one["qkv"])[:, : len(one["out"])] @ one["out"]
        x = (x @ one["gate_up"])[:, : len(one["down"])] @ one["down"]
    return x


def rollout(case: Case, layers: Sequence[dict[str, jax.Array]], embedding: jax.Array) -> jax.Array:
    """Do the products of prefilling each prompt once and of decoding all completions token by token."""

    def token(_: int, x: jax.Array) -> jax.Array:
        x = products(layers, x)
        return x + NEARLY_NOTHING * jnp.max(x @ embedding.T, axis=1, keepdims=True)  # so that the product is needed

    prompts = products(layers, jnp.ones((case.prompts * PROMPT_TOKENS, case.model.width)))
    first = jnp.broadcast_to(prompts[: case.prompts, None], (case.prompts, case.group, case.model.width))
    return jax.lax.fori_loop(0, NEW_TOKENS, token, first.reshape(case.rollouts, -1))


def update(case: Case, layers: Sequence[dict[str, jax.Array]], embedding: jax.Array) -> jax.Array:
    """Do the products of the gradient of a group's micro-batches, with each prompt read once for its group."""
    rows = max(ROWS, case.group)
    tokens = rows * NEW_TOKENS

    def loss(matrices: tuple[Sequence[dict[str, jax.Array]], jax.Array], x: jax.Array) -> jax.Array:
        layers, embedding = matrices
        return ((products(layers, x)[:tokens] @ embedding.T) ** 2).sum()

    x = jnp.ones((tokens + rows // case.group * PROMPT_TOKENS, case.model.width))
    gradient = jax.grad(loss)

    def microbatch(_: int, total: jax.Array) -> jax.Array:
        parts = jax.tree.leaves(gradient((layers, embedding), x + total))
        return total + NEARLY_NOTHING * sum(jnp.max(part) for part in parts)

    return jax.lax.fori_loop(0, case.rollouts // rows, microbatch, jnp.float32(0))


def operations(case: Case) -> tuple[float, float]:
    """Return how many additions and multiplications the products of a rollout and of an update take."""
    shape = case.model
    attended = shape.heads * shape.head
    of_layer = shape.width * ((2 * attended + 2 * shape.kv_heads * shape.head) + 3 * shape.mlp)
    prompt_tokens, new_tokens = case.prompts * PROMPT_TOKENS, case.rollouts * NEW_TOKENS
    layers = 2 * of_layer * shape.layers * (prompt_tokens + new_tokens)
    head = 2 * shape.width * shape.vocabulary * new_tokens
    return layers + head, 3 * (layers + head)


class Measured(NamedTuple):
    """Medians of the repetitions of a program, and how many cores other processes kept busy meanwhile."""

    seconds: float
    cpu_seconds: float
    other_cores: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, {self.cpu_seconds:.2f} s of CPU time; cores of others {self.other_cores:.2f}"


def measure(repetitions: int, function: Callable[..., jax.Array], *arguments: Any) -> Measured:
    """Measure a jitted function, which has been compiled before the first repetition."""
    jax.block_until_ready(function(*arguments))
    seconds, cpu_seconds, busy = [], [], busy_seconds()
    for _ in range(repetitions):
        began, cpu_began = time.perf_counter(), time.process_time()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    others = max(0.0, busy_seconds() - busy - sum(cpu_seconds)) / sum(seconds)
    return Measured(statistics.median(seconds), statistics.median(cpu_seconds), others)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2, help="that the products may use")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    found = measure(arguments.repetitions, jax.jit(jnp.sum), jnp.ones(READ // FLOAT))
    print(f"reading memory: {READ / found.seconds / 1e9:.1f} GB/s; {found}")
    for size in arguments.size:
        case = CASES[size]["equal"]
        layers, embedding = matrices(case.model)
        for work, flop in zip((rollout, update), operations(case), strict=True):
            found = measure(arguments.repetitions, jax.jit(work, static_argnums=0), case, layers, embedding)
            print(
                f"{case.name}, products of a step's {work.__name__}: {flop / found.seconds / 1e9:.0f} GFLOP/s, "
                f"{flop / found.cpu_seconds / 1e9:.0f} for a second of CPU time; {found}"
            )
        weights = FLOAT * sum(leaf.size for leaf in jax.tree.leaves((layers, embedding)))
        print(f"{case.name}: {weights / 1e6:.0f} MB of matrices, which every new token of the completions reads")


if __name__ == "__main__":
    main()
