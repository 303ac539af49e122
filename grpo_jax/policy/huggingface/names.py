"""The tensors of a checkpoint that hold each parameter, and the order of its axes in them.

A Linear's weight is [out, in] in a checkpoint and [*inputs, *outputs] here. So in the file its outputs come first, and
each group of axes is flattened: the same numbers, read as [*outputs, *inputs]. A tensor may hold the weights of several
modules, one below the other.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from grpo_jax.config.architecture import Family
from grpo_jax.policy.lora import ADAPTERS
from grpo_jax.policy.policy import Policy

# Our names of modules -> a checkpoint's. The names of a block's norms depend on the family.
OUTSIDE: Mapping[str, str] = {"embedding": "model.embed_tokens", "final_norm": "model.norm", "head": "lm_head"}
BLOCK: Mapping[str, str] = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}
# The same of a mixture of experts, with the number of an expert.
EXPERTS: Mapping[str, str] = {
    "mlp.router": "mlp.gate",
    "mlp.gate": "mlp.experts.{}.gate_proj",
    "mlp.up": "mlp.experts.{}.up_proj",
    "mlp.down": "mlp.experts.{}.down_proj",
}
KIND: Mapping[str, str] = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"} | {
    "lora_a": "lora_A.weight",  # as PEFT names them
    "lora_b": "lora_B.weight",
}

HEAD = "lm_head.weight"  # of a free head; a file may also hold a tied one
VOCABULARY = ("model.embed_tokens.weight", HEAD)  # their first axis may be padded in this package
BUFFERS = ("rotary_emb.inv_freq",)  # ends of the names of unused tensors in older checkpoints

# A model that also reads images: prefixes of its text model's tensors, as transformers 5 and 4 write them, with those
# that the text model alone would have; and prefixes of the other tensors, which are not read.
TEXT_PART: Mapping[str, str] = {
    "model.language_model.": "model.",
    "language_model.model.": "model.",
    "language_model.lm_head.": "lm_head.",
}
IMAGES = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


def text_name(name: str) -> str | None:
    """Return the name that a tensor of a model with images has in the text model alone; None if it has none there."""
    if name.startswith(IMAGES):
        return None
    for theirs, alone in TEXT_PART.items():
        if name.startswith(theirs):
            return alone + name.removeprefix(theirs)
    return name


@dataclass(frozen=True)
class Stored:
    """How a parameter is stored: as one tensor, or as one for each index along its leading axes."""

    names: tuple[str, ...]  # of the tensors, the last leading axis first
    leading: tuple[int, ...]  # the sizes of the leading axes: of stacked layers, and of experts
    shape: tuple[int, ...]  # of the other axes
    inputs: int  # how many leading axes come last in the file
    flattened: tuple[int, ...]  # the shape in the file
    first: int = 0  # the row of the tensors at which it begins: above 0 if they hold other parameters, too

    def tensors(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """Yield each index along the leading axes, and the name of the tensor that is stored for it."""
        return zip(np.ndindex(self.leading), self.names, strict=True)

    @property
    def order(self) -> tuple[int, ...]:
        """The parameter's axes in the file's order."""
        axes = tuple(range(len(self.shape)))
        return axes[self.inputs :] + axes[: self.inputs]

    @property
    def unflattened(self) -> tuple[int, ...]:
        """The sizes of the parameter's axes in the file's order."""
        return tuple(self.shape[axis] for axis in self.order)


def stored_params(policy: Policy, family: Family) -> Any:
    """Return the tree of parameters, with a `Stored` in place of each array."""
    architecture = policy.architecture
    modules = {**BLOCK, **(EXPERTS if architecture.num_experts else {}), **family.norms, **family.fused}

    def leaf(path: tuple[Any, ...], parameter: jax.ShapeDtypeStruct) -> Stored:
        *module, last = (key.key for key in path)
        if not module or module[0] != "layers":
            return _stored([f"{OUTSIDE[(module or [last])[0]]}.{KIND[last]}"], (), parameter.shape, module, last)
        stacked = policy.model.scan_layers
        inside = module[1:] if stacked else module[2:]
        within = f"{modules['.'.join(inside)]}.{KIND[last]}"
        layers = range(architecture.num_layers) if stacked else [int(module[1])]
        experts = architecture.num_experts if "{}" in within else 0
        names = [f"model.layers.{layer}.{within.format(n)}" for layer in layers for n in range(experts or 1)]
        leading = parameter.shape[: stacked + (experts > 0)]
        return _stored(names, leading, parameter.shape[len(leading) :], inside, last)

    tree: Any = jax.tree_util.tree_map_with_path(leaf, policy.shapes())
    for layer in [tree["layers"]] if policy.model.scan_layers else tree["layers"].values():
        rows: Counter[str] = Counter()  # of each tensor, in the parameters before this one
        for module in family.fused:
            part, name = module.split(".")
            of_module = layer[part][name]
            for last, stored in of_module.items():
                of_module[last] = dataclasses.replace(stored, first=rows[stored.names[0]])
                rows[stored.names[0]] += stored.flattened[0]
            if "lora_b" in of_module:  # whether or not the modules before this one have adapters
                first = of_module["kernel"].first
                of_module["lora_b"] = dataclasses.replace(of_module["lora_b"], first=first)
    return tree


def _stored(names: list[str], leading: tuple[int, ...], shape: tuple[int, ...], module: list[str], last: str) -> Stored:
    if last == "embedding":
        return Stored(tuple(names), leading, shape, 0, shape)
    if last in ("kernel", *ADAPTERS):
        of_kernel = 2 if module[-1:] == ["out"] else 1  # attention's output contracts heads and head_dim
        inputs = {"kernel": of_kernel, "lora_a": len(shape) - 1, "lora_b": 1}[last]
        return Stored(tuple(names), leading, shape, inputs, (math.prod(shape[inputs:]), math.prod(shape[:inputs])))
    return Stored(tuple(names), leading, shape, 0, (math.prod(shape),))


def tensor_shapes(stored: Iterable[Stored], vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that hold these parameters, if the embedding has this many rows."""
    shapes: dict[str, tuple[int, ...]] = {}
    for one in stored:
        for name in one.names:
            so_far = shapes[name][0] if name in shapes else 0
            rows = vocabulary if name in VOCABULARY else max(so_far, one.first + one.flattened[0])
            shapes[name] = (rows, *one.flattened[1:])
    return shapes


def all_stored(tree: Any) -> Iterator[Stored]:
    """Yield the leaves of a tree of `Stored`."""
    yield from jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Stored))
