"""Programs for GPUs, in the compiler's text: what they multiply, move and send, and how long that takes at least."""

from dataclasses import replace

import pytest

from grpo_jax.planning import hlo
from grpo_jax.planning.chips import CHIPS
from grpo_jax.planning.collectives import participants
from grpo_jax.planning.costs import CUDNN_BLOCK, KERNEL_EFFICIENCY, kernel_products, measure
from grpo_jax.planning.roofline import moved_bytes

H100 = replace(CHIPS["h100"], node=8)

# Six layers, scanned: the slice of a stack is gathered and multiplied, and the result goes into another stack.
TEXT = """
HloModule jit_f, is_scheduled=true

%fused_slice (p0: bf16[6,256,2048], p1: s32[]) -> bf16[1,256,2048] {
  %p0 = bf16[6,256,2048]{2,1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %whole = bf16[6,256,2048]{2,1,0} copy(%p0)
  %slice = bf16[1,256,2048]{2,1,0} dynamic-slice(%whole, %p1, %zero, %zero), dynamic_slice_sizes={1,256,2048}
  ROOT %copied = bf16[1,256,2048]{2,1,0} copy(%slice)
}

%fused_update (q0: f32[6,128,2048], q1: s32[], q2: bf16[128,2048]) -> f32[6,128,2048] {
  %q0 = f32[6,128,2048]{2,1,0} parameter(0)
  %q2 = bf16[128,2048]{1,0} parameter(2)
  %wide = f32[128,2048]{1,0} convert(%q2)
  %new = f32[1,128,2048]{2,1,0} bitcast(%wide)
  %q1 = s32[] parameter(1)
  %none = s32[] constant(0)
  ROOT %updated = f32[6,128,2048]{2,1,0} dynamic-update-slice(%q0, %new, %q1, %none, %none)
}

%fused_compare (c0: s32[]) -> pred[] {
  %c0 = s32[] parameter(0)
  %six = s32[] constant(6)
  ROOT %lt = pred[] compare(%c0, %six), direction=LT
}

%body (t: (s32[], bf16[128,2048], bf16[6,256,2048], f32[6,128,2048])) -> (s32[], bf16[128,2048], bf16[6,256,2048], f32[6,128,2048]) {
  %t = (s32[], bf16[128,2048]{1,0}, bf16[6,256,2048]{2,1,0}, f32[6,128,2048]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %x = bf16[128,2048]{1,0} get-tuple-element(%t), index=1
  %layers = bf16[6,256,2048]{2,1,0} get-tuple-element(%t), index=2
  %kept = f32[6,128,2048]{2,1,0} get-tuple-element(%t), index=3
  %layer = bf16[1,256,2048]{2,1,0} fusion(%layers, %i), kind=kCustom, calls=%fused_slice
  %shard = bf16[256,2048]{1,0} bitcast(%layer)
  %gather = (bf16[256,2048]{1,0}, bf16[2048,2048]{1,0}) all-gather-start(%shard), channel_id=1, replica_groups=mesh['a'=8,'b'=1] {'a'}, dimensions={0}, backend_config={"collective_backend_config":{"is_sync":SYNC}}
  %kernel = bf16[2048,2048]{1,0} all-gather-done(%gather)
  %product = (bf16[128,2048]{1,0}, s8[4194304]{0}) custom-call(%x, %kernel), custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}
  %y = bf16[128,2048]{1,0} get-tuple-element(%product), index=0
  %stack = f32[6,128,2048]{2,1,0} fusion(%kept, %i, %y), kind=kLoop, calls=%fused_update
  ROOT %next = (s32[], bf16[128,2048]{1,0}, bf16[6,256,2048]{2,1,0}, f32[6,128,2048]{2,1,0}) tuple(%i, %y, %layers, %stack)
}

%condition (s: (s32[], bf16[128,2048], bf16[6,256,2048], f32[6,128,2048])) -> pred[] {
  %s = (s32[], bf16[128,2048]{1,0}, bf16[6,256,2048]{2,1,0}, f32[6,128,2048]{2,1,0}) parameter(0)
  %j = s32[] get-tuple-element(%s), index=0
  ROOT %test = pred[] fusion(%j), kind=kLoop, calls=%fused_compare
}

ENTRY %main (a: (s32[], bf16[128,2048], bf16[6,256,2048], f32[6,128,2048])) -> (s32[], bf16[128,2048], bf16[6,256,2048], f32[6,128,2048]) {
  %a = (s32[], bf16[128,2048]{1,0}, bf16[6,256,2048]{2,1,0}, f32[6,128,2048]{2,1,0}) parameter(0)
  ROOT %loop = (s32[], bf16[128,2048]{1,0}, bf16[6,256,2048]{2,1,0}, f32[6,128,2048]{2,1,0}) while(%a), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"6"}}
}
"""  # noqa: E501
PRODUCTS = 2 * 128 * 2048 * 2048
LAYER, ROWS, KERNEL = 256 * 2048 * 2, 128 * 2048 * 2, 2048 * 2048 * 2


def program(synchronous=False):
    return hlo.parse(TEXT.replace("SYNC", "true" if synchronous else "false"))


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("layer", 4 + 2 * LAYER),  # not the whole stack, and the loop's counter
        ("stack", 4 + ROWS + 2 * ROWS),  # bfloat16 is read and float32 written, and the rest stays in place
        ("product", ROWS + KERNEL + ROWS),  # no workspace
    ],
)
def test_the_bytes_that_an_operation_moves(name, moved):
    body = program().computations["body"]
    assert moved_bytes(body.instructions[name], body, program()) == moved


def test_a_loop_of_a_program_for_gpus():
    found = measure(program(), H100, [hlo.DataLoop(1000)])
    assert found.flops == 6 * PRODUCTS
    assert found.flops_once == PRODUCTS
    assert found.collective_bytes == {"all-gather": 6 * KERNEL}
    moved = 2 * LAYER + 3 * ROWS + (2 * ROWS + KERNEL)
    assert found.compute_seconds == pytest.approx(6 * moved / H100.hbm_bandwidth, rel=1e-3)
    gathered = 7 / 8 * KERNEL / 450e9 + 4e-6
    assert found.exposed_seconds == pytest.approx(6 * max(0, gathered - found.compute_seconds / 6))
    # The same on the critical path.
    assert measure(program(synchronous=True), H100, []).exposed_seconds == pytest.approx(6 * gathered)


def test_a_large_product_takes_its_operations():
    wide = hlo.parse(TEXT.replace("SYNC", "true").replace("128,2048", "65536,2048"))
    product = 2 * 65536 * 2048 * 2048 / H100.flops
    bytes_ = 2 * LAYER + 3 * 512 * ROWS
    assert measure(wide, H100, []).compute_seconds == pytest.approx(
        6 * (product + bytes_ / H100.hbm_bandwidth), rel=0.01
    )


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("replica_groups=mesh['a'=4,'b'=2] {'a'}, x", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=4,'b'=2] {'b'}, x", (0, 1)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}", (0, 1, 4, 5)),
        ("replica_groups=[2,4]<=[8], x", (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[2,4]T(1,0), x", (0, 4)),
        ("replica_groups={{0,3},{1,2}}, x", (0, 3)),
        ("source_target_pairs={{1,9},{9,1}}", (1, 9)),
    ],
)
def test_the_members_of_a_group(text, members):
    assert participants(text) == members


@pytest.mark.parametrize(("direction", "products"), [("", 2), ("Backward", 5)])
def test_attention_kernels_of_cudnn(direction, products):
    text = f"""custom_call_target="__cudnn$fmhaSoftmax{direction}", backend_config={{"cudnn_fmha_backend_config":
    {{"algorithm": {{"algo_id": "0"}}, "intermediate_tensor_shape": {{"element_type": "BF16", "dimensions": ["3", "12",
    "1024", "1024"], "tuple_shapes": []}}}}}}"""
    queries = hlo.Shape("bf16", (3, 12, 1024, 64))
    kernel = hlo.Instruction("attention.1", (queries, hlo.Shape("u8", (0,))), "custom-call", (), text, False)
    visited = (1 + CUDNN_BLOCK / 1024) / 2
    flops = 2 * products * 3 * 12 * 1024 * 1024 * 64 * visited
    assert kernel_products(kernel) == flops
    found = measure(hlo.Program({"main": hlo.Computation("main", {kernel.name: kernel})}, "main"), H100, [])
    assert found.kernel_seconds == pytest.approx(flops / (KERNEL_EFFICIENCY * H100.flops))
    assert found.compute_seconds == 0
