"""Compile what a mixture of experts needs for a TPU v5e, without one: sorts, and products by jax.lax.ragged_dot.

    python benchmarks/experts.py [--sorts 1024 8192 65536] [--experts 8 32 128]

It prints the CPU seconds that the compiler takes for one jnp.argsort of each length. Then it prints, for each number of
experts, how many operations the compiler counts for a product of 8,192 tokens, each with one expert, over those that
the product needs. A ratio of the number of experts means that every token meets every expert.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from grpo_jax.planning.chips import COMPILERS, find, prepare_environment

TOKENS, INPUTS, OUTPUTS = 8192, 512, 256


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sorts", type=int, nargs="*", default=[1024, 8192, 65536])
    parser.add_argument("--experts", type=int, nargs="*", default=[8, 32, 128])
    arguments = parser.parse_args(argv)
    prepare_environment()

    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_compilation_cache", False)
    chip, devices = find("v5e:2x2")
    array = partial(jax.ShapeDtypeStruct, sharding=jax.sharding.SingleDeviceSharding(devices[0]))

    def compiled(function: Any, *inputs: Any) -> Any:
        return jax.jit(function).lower(*inputs).compile(compiler_options=dict(COMPILERS[chip.platform].options))

    for length in arguments.sorts:
        begun = time.process_time()
        compiled(jnp.argsort, array((length,), jnp.int32))
        print(f"argsort of {length}: {time.process_time() - begun:.1f} s of CPU time to compile")
    for experts in arguments.experts:
        product = compiled(
            lambda x, kernels, sizes: jax.lax.ragged_dot(x, kernels, group_sizes=sizes),
            array((TOKENS, INPUTS), jnp.bfloat16),
            array((experts, INPUTS, OUTPUTS), jnp.bfloat16),
            array((experts,), jnp.int32),
        )
        ratio = product.cost_analysis()["flops"] / (2 * TOKENS * INPUTS * OUTPUTS)
        print(f"ragged_dot with {experts} experts: {ratio:.1f} times the operations that it needs")


if __name__ == "__main__":
    main(sys.argv[1:])
