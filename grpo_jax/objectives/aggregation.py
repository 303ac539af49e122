"""How the terms of tokens become one loss: the weight of a token, and what a completion adds to the denominator.

A loss is sum(weight * term) / sum(share). Both sums run over everything that one optimizer step sees, on all
micro-batches, devices and hosts, and the division happens once, at the end; so no split of the batch changes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Float, Int

# Of completions, in tokens; 0 is padding. On the host or on the devices: only operators touch them.
Lengths: TypeAlias = Int[Any, "*batch"]
Weights: TypeAlias = Float[Any, "*batch"]


@dataclass(frozen=True)
class Aggregation:
    """`weight`: of each token of a completion of this length. `share`: of the completion in the denominator."""

    weight: Callable[[Lengths, int], Weights]
    share: Callable[[Lengths], Weights]


def _one(lengths: Lengths) -> Weights:
    return (lengths > 0).astype(jnp.float32)


AGGREGATIONS: Mapping[str, Aggregation] = {
    # Mean over completions of the mean over their tokens: GRPO's formula, and the paper's.
    "sequence": Aggregation(weight=lambda lengths, width: 1.0 / jnp.maximum(lengths, 1), share=_one),
    # Mean over all tokens: DAPO, and verl's default. Long completions weigh more.
    "token": Aggregation(
        weight=lambda lengths, width: _one(lengths), share=lambda lengths: lengths.astype(jnp.float32)
    ),
    # Mean over groups of the mean over all tokens of the group: DAPO's equation 8. Its code averages as "token" does.
    "group_token": Aggregation(
        weight=lambda lengths, width: (
            lengths.shape[-1] / jnp.maximum(lengths.sum(-1, keepdims=True), 1) * _one(lengths)
        ),
        share=_one,
    ),
    # Sum over tokens over the configured maximum length, mean over completions: Dr. GRPO. `width` is that maximum,
    # not the width some batch happens to be padded to.
    "constant": Aggregation(weight=lambda lengths, width: _one(lengths) / width, share=_one),
    # Sum over tokens, mean over completions: the policy gradient, and DPO, whose scores are log-probabilities.
    "sum": Aggregation(weight=lambda lengths, width: _one(lengths), share=_one),
}
