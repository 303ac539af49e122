"""The costs of compiled programs: loops count as often as they run, in agreement with the compiler's own count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding

from grpo_jax.planning import hlo
from grpo_jax.planning.chips import CHIPS
from grpo_jax.planning.costs import convolution_flops, kernel_products, measure

V5E = CHIPS["v5e"]
SIZE, LAYERS = 2048, 6


def compiled(chips, function, *shapes, specs=None):
    mesh = Mesh(np.array(chips), ("x",))
    specs = specs or [jax.P()] * len(shapes)
    arguments = [
        jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))
        for (shape, dtype), spec in zip(shapes, specs, strict=True)
    ]
    return jax.jit(function, out_shardings=NamedSharding(mesh, jax.P())).lower(*arguments).compile()


def costs(program, *dynamic):
    return measure(hlo.parse(program.as_text()), V5E, dynamic)


def loops(first, inner, last):
    return hlo.DataLoop(first, (hlo.DataLoop(inner),)), hlo.DataLoop(last)


X = ((SIZE, SIZE), jnp.bfloat16)
LAYER_STACK = ((LAYERS, SIZE, SIZE), jnp.bfloat16)
EXPECTED = 2 * SIZE**3 * LAYERS


def scanned(x, layers):
    return jax.lax.scan(lambda x, layer: (jnp.tanh(x @ layer), None), x, layers)[0]


def unrolled(x, layers):
    for layer in layers:
        x = jnp.tanh(x @ layer)
    return x


def test_a_scan_costs_what_its_unrolled_layers_cost(chips):
    scan, flat = compiled(chips, scanned, X, LAYER_STACK), compiled(chips, unrolled, X, LAYER_STACK)
    assert costs(scan).flops == costs(flat).flops == EXPECTED
    # In a loop this compiler copies x once a layer.
    assert costs(flat).compute_seconds < costs(scan).compute_seconds < 2 * costs(flat).compute_seconds
    # The compiler's own count: right without loops, one layer's with them.
    assert costs(flat).flops_once == pytest.approx(flat.cost_analysis()["flops"], rel=0.01)
    assert costs(scan).flops_once == pytest.approx(scan.cost_analysis()["flops"], rel=0.01)
    assert scan.cost_analysis()["flops"] < 0.3 * EXPECTED


def test_a_loop_whose_length_is_data_is_reported(chips):
    def loop(x, layers, times):
        return jax.lax.fori_loop(0, times, lambda _, x: scanned(x, layers), x)

    program = compiled(chips, loop, X, LAYER_STACK, ((), jnp.int32))
    assert costs(program, hlo.DataLoop(10)).flops == 10 * EXPECTED


def test_loops_whose_length_is_data_follow_each_other_and_nest(chips):
    def program(x, layers, times):
        def outer(_, x):
            return jax.lax.fori_loop(0, times, lambda _, x: x @ layers[0], x) @ layers[1]

        def after(_, x):
            return x @ layers[2]

        return jax.lax.fori_loop(0, times, after, jax.lax.fori_loop(0, times, outer, x))

    made = compiled(chips, program, X, LAYER_STACK, ((), jnp.int32))
    assert costs(made, *loops(10, 3, 7)).flops == (10 * (3 + 1) + 7) * 2 * SIZE**3


def test_computing_takes_no_less_than_the_peak_allows(chips):
    found = costs(compiled(chips, unrolled, X, LAYER_STACK))
    assert EXPECTED / V5E.flops <= found.compute_seconds < 1.2 * EXPECTED / V5E.flops


def test_bytes_and_seconds_of_a_gather(chips):
    program = compiled(chips, lambda x: x * 2, ((4096, 1024), jnp.float32), specs=[jax.P("x")])
    found = costs(program)
    assert found.collective_bytes == {"all-gather": 4096 * 1024 * 4}
    assert found.exposed_seconds == pytest.approx(0.75 * 4096 * 1024 * 4 / 90e9, rel=0.1)


@pytest.mark.parametrize(
    ("left", "right", "out", "attributes", "expected"),
    [
        ((64, 32), (32, 16), (64, 16), "dim_labels=bf_io->bf", 2 * 64 * 32 * 16),
        # One position of two meets padding: [10] with a window of 2, padded by one on each side.
        (
            (8, 32, 10),
            (32, 16, 2),
            (8, 16, 11),
            "window={size=2 pad=1_1}, dim_labels=bf0_io0->bf0",
            2 * 8 * 32 * 16 * 20,
        ),
    ],
)
def test_convolutions(left, right, out, attributes, expected):
    def instruction(name, sizes, opcode, *operands, text=""):
        return hlo.Instruction(name, (hlo.Shape("bf16", sizes),), opcode, operands, text, False)

    computation = hlo.Computation(
        "c", {"a": instruction("a", left, "parameter"), "b": instruction("b", right, "parameter")}
    )
    convolution = instruction("o", out, "convolution", "a", "b", text=attributes)
    assert convolution_flops(convolution, computation) == expected


@pytest.mark.parametrize(("queries", "rows"), [("2,12,1024,128", 2), ("12,1024,128", 1)])
def test_attention_kernels(queries, rows):
    """With two blocks on each side, three of four are visited. The compiler drops the axis of a single row."""
    operands = f"s8[1,2,2]{{2,1,0}}, bf16[{queries}]{{2,1,0}}, bf16[2,1024,128]{{2,1,0}}"
    text = f', custom_call_target="tpu_custom_call", operand_layout_constraints={{{operands}}}, frontend_attributes={{'
    kernel = hlo.Instruction("splash_mha_fwd_no_residuals.1", (), "custom-call", (), text, False)
    assert kernel_products(kernel) == 2 * 2 * rows * 12 * 1024 * 1024 * 128 * 3 / 4
