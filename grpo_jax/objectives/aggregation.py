"""Aggregation of tokens into one loss: the weight of each token, and what each completion adds to the denominator.

A loss is sum(weight * term) / sum(denominator). Both sums run over the whole batch of an optimizer step, on all
micro-batches, devices and hosts, and one division follows at the end. So the result does not depend on how the batch is
split.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Float, Int

# Lengths of completions in tokens; 0 is padding. The arrays may be on the host or on the devices.
Lengths: TypeAlias = Int[Any, "*batch"]
Weights: TypeAlias = Float[Any, "*batch"]


@dataclass(frozen=True)
class Aggregation:
    """A way to average over tokens."""

    weight: Callable[[Lengths, int], Weights]  # (lengths, width) -> the weight of each token of a completion
    denominator: Callable[[Lengths], Weights]  # lengths -> how much each completion adds to the denominator


def _one(lengths: Lengths) -> Weights:
    return (lengths > 0).astype(jnp.float32)


AGGREGATIONS: Mapping[str, Aggregation] = {
    # Mean over completions of the mean over their tokens, as in GRPO and in the paper.
    "sequence": Aggregation(weight=lambda lengths, width: 1.0 / jnp.maximum(lengths, 1), denominator=_one),
    # Mean over all tokens, as in DAPO and by default in verl. Long completions weigh more.
    "token": Aggregation(
        weight=lambda lengths, width: _one(lengths), denominator=lambda lengths: lengths.astype(jnp.float32)
    ),
    # Mean over groups of the mean over all tokens of the group: DAPO's equation 8. Its code averages as "token" does.
    "group_token": Aggregation(
        weight=lambda lengths, width: (
            lengths.shape[-1] / jnp.maximum(lengths.sum(-1, keepdims=True), 1) * _one(lengths)
        ),
        denominator=_one,
    ),
    # Sum over tokens divided by the maximum length, mean over completions: Dr. GRPO. `width` is the configured maximum,
    # not the width to which a batch is padded.
    "constant": Aggregation(weight=lambda lengths, width: _one(lengths) / width, denominator=_one),
    # Sum over tokens, mean over completions: the policy gradient, and DPO, whose scores are log-probabilities.
    "sum": Aggregation(weight=lambda lengths, width: _one(lengths), denominator=_one),
}
