"""Check the paper's equivalences and identities, each with its constant of proportionality and its measured error.

    make equivalences        (or python tools/equivalences.py)

The gradients come from automatic differentiation of the objectives that training uses. The first identities use random
completions, off-policy unless stated otherwise, so that clipping is active. The others are exact: they enumerate all
groups of a softmax bandit. The constant is the least-squares factor between two gradients. The error is the largest
remaining difference relative to the largest entry.

Exit code 1 if an error is above 1e-5.
"""

import argparse
import dataclasses
import itertools
import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from grpo_jax.config import load
from grpo_jax.objectives import Objective, Outcomes, make_objective
from grpo_jax.terminal import PlainConsole
from grpo_jax.types import Groups

TOLERANCE = 1e-5
WIDTH = 6
ON_POLICY, OFF_POLICY = 0.0, 0.5  # how far log-probabilities have moved since sampling

# Four one-token answers, of which the first two are right: p = .412.
LOGITS = jnp.log(jnp.array([0.25, 0.162, 0.4, 0.188]))
RIGHT = jnp.array([1.0, 1.0, 0.0, 0.0])


class Identity(NamedTuple):
    """Two gradients that are proportional."""

    claim: str
    constant: float  # the expected one
    measured: float
    error: float


def main(argv: Sequence[str] = ()) -> int:
    """Print the table, and return the exit code."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    found = [*of_random_completions(), *of_a_bandit()]
    table = Table(title="First = constant x second")
    for column in ("identity", "constant", "measured", "error"):
        table.add_column(column, justify="left" if column == "identity" else "right")
    for one in found:
        table.add_row(one.claim, f"{one.constant:.6g}", f"{one.measured:.6f}", f"{one.error:.1e}")
    PlainConsole(width=110).print(table)
    return int(any(one.error > TOLERANCE or abs(one.measured / one.constant - 1) > TOLERANCE for one in found))


def of_random_completions() -> list[Identity]:
    """Return the identities between objectives, on pairs and groups of eight with random lengths."""
    rows: Sequence[tuple[str, int, float, str, str, float, dict[str, Any]]] = (
        ("2-GRPO = N-vs-M on pairs", 2, OFF_POLICY, "two_grpo", "n_vs_m", 1, {}),
        ("2-GRPO = GRPO on pairs, ddof 0", 2, OFF_POLICY, "two_grpo", "grpo", 1, {}),
        ("2-GRPO = sqrt 2 x GRPO on pairs, ddof 1", 2, OFF_POLICY, "two_grpo", "grpo", 2**0.5, {"std_ddof": 1}),
        ("2-GRPO = RLOO on pairs", 2, OFF_POLICY, "two_grpo", "rloo", 1, {}),
        ("2-GRPO = 2 x Dr. GRPO's advantage on pairs", 2, OFF_POLICY, "two_grpo", "ctr_grpo", 2, {}),
        ("N-vs-M = GRPO, groups of 8, ddof 0", 8, OFF_POLICY, "n_vs_m", "grpo", 1, {}),
        ("RLOO = 8/7 x mean-centred, groups of 8", 8, OFF_POLICY, "rloo", "ctr_grpo", 8 / 7, {}),
        ("GRPO = 1 x GSPO, on-policy", 8, ON_POLICY, "grpo", "gspo", 1, {}),
        ("GRPO = 1 x GMPO, on-policy", 8, ON_POLICY, "grpo", "gmpo", 1, {}),
        ("GRPO = 1 x CISPO, on-policy", 8, ON_POLICY, "grpo", "cispo", 1, {}),
        ("GRPO = 1 x SAPO, on-policy", 8, ON_POLICY, "grpo", "sapo", 1, {}),
        ("online DPO = beta x 2-GRPO, at the reference (beta .1)", 2, ON_POLICY, "online_dpo", "two_grpo", 0.1, {}),
        ("IPO = 2/tau x 2-GRPO, at the reference (tau .1)", 2, ON_POLICY, "ipo", "two_grpo", 20, {}),
    )
    return [
        Identity(claim, constant, *_proportion(*(_gradient(_made(name, size, changes), size, moved) for name in names)))
        for claim, size, moved, *names, constant, changes in rows
    ]


def of_a_bandit() -> list[Identity]:
    """Return the identities of expected gradients.

    E g = w_G(p) (g+ - g-), with w_G(p) = E sqrt(X/G (1 - X/G)) for X ~ Bin(G, p).
    """
    probability = jax.nn.softmax(LOGITS)
    p = float(probability @ RIGHT)
    scores = jax.jacobian(jax.nn.log_softmax)(LOGITS)
    positive = (probability * RIGHT) @ scores / p
    negative = (probability * (1 - RIGHT)) @ scores / (1 - p)
    contrast = np.array(positive - negative)
    found = [
        Identity(f"E of GRPO, G = {size} = w_{size}(p) x contrast", _weight(size, p), *_proportion(gradient, contrast))
        for size in (2, 4, 6)
        for gradient in [_expected("grpo", size)]
    ]
    slope = np.array(jax.grad(lambda logits: jax.nn.softmax(logits) @ RIGHT)(LOGITS))
    found.append(Identity("E of 2-GRPO = the gradient of p", 1, *_proportion(_expected("two_grpo", 2), slope)))
    found.append(Identity("p g+ = -(1-p) g-", -(1 - p) / p, *_proportion(np.array(positive), np.array(negative))))
    return found


def _weight(size: int, p: float) -> float:
    shares = [k / size for k in range(size + 1)]
    return sum(
        math.comb(size, k) * p**k * (1 - p) ** (size - k) * math.sqrt(share * (1 - share))
        for k, share in enumerate(shares)
    )


def _made(name: str, size: int, changes: dict[str, Any]) -> Objective:
    """Return an objective. All have the paper's aggregation unless `changes` names another."""
    config = load("two_grpo").objective
    return make_objective(dataclasses.replace(config, **{"name": name, "aggregation": "sequence", **changes}), size)


def _gradient(made: Objective, size: int, moved: float) -> np.ndarray:
    """Return the gradient by the log-probabilities of all completions. The reference equals the policy."""
    keys = jax.random.split(jax.random.key(0), 4)
    shape = (64, size)
    lengths = jax.random.randint(keys[0], shape, 1, WIDTH + 1)
    old = jax.random.uniform(keys[1], (*shape, WIDTH), minval=-3.0, maxval=-0.1)
    logprobs = old + moved * jax.random.normal(keys[2], old.shape)
    rewards = jax.random.bernoulli(keys[3], 0.4, shape).astype(jnp.float32)
    advantages = made.advantages(
        Outcomes(
            rewards=rewards,
            scored=jnp.ones(shape, bool),
            lengths=lengths,
            expected=jnp.full(64, 0.4),
            evidence=jnp.full(64, 3.0),
            success=jnp.full(64, 0.4),
        )
    )
    reference = logprobs if made.needs_reference else None

    def loss(x: Any) -> Any:
        return made.loss(x, _groups(old, reference, lengths, advantages)).total

    return np.array(jax.jit(jax.grad(loss))(logprobs))


def _groups(sampler: Any, reference: Any, lengths: Any, advantages: Any) -> Groups:
    return Groups.without_texts(
        completion_lengths=lengths, advantages=advantages, sampler_logprobs=sampler, reference_logprobs=reference
    )


def _expected(name: str, size: int) -> np.ndarray:
    """Return the expected gradient by the bandit's logits, per completion, over all groups of this size."""
    made = _made(name, size, {"aggregation": "sum"})
    groups = jnp.array(list(itertools.product(range(4), repeat=size)))
    weights = jax.nn.softmax(LOGITS)[groups].prod(-1)
    advantages = made.advantages(Outcomes(rewards=RIGHT[groups], scored=jnp.ones(groups.shape, bool)))

    def gain(logits: Any, answers: Any, advantage: Any) -> Any:
        logprobs = jax.nn.log_softmax(logits)[answers][:, None]
        old = jax.lax.stop_gradient(logprobs)
        return -made.loss(logprobs, _groups(old, None, jnp.ones(size, jnp.int32), advantage)).total / size

    gradients = jax.jit(jax.vmap(jax.grad(gain), (None, 0, 0)))(LOGITS, groups, advantages)
    return np.array((weights[:, None] * gradients).sum(0))


def _proportion(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return the least-squares constant, and the largest remaining difference relative to the largest entry."""
    constant = float((first * second).sum() / (second * second).sum())
    return constant, float(np.abs(first - constant * second).max() / np.abs(first).max())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
