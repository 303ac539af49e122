"""Attention in rows of a prompt and several completions: what each completion has in a row of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.policy import causal
from grpo_jax.policy.attention import Scoring
from grpo_jax.policy.fused_attention import splash
from grpo_jax.policy.group_attention import GroupRows, contiguous, group_attention

P, E, OWN = 5, 3, 4
LENGTHS = np.array([5, 2, 1])
ROWS = GroupRows(jnp.asarray(LENGTHS), P, E, OWN)

SCORINGS = {
    "plain": Scoring(scale=0.3, cap=0.0, window=None),
    "cap": Scoring(scale=0.3, cap=0.5, window=None),
    "window": Scoring(scale=0.3, cap=0.0, window=3),
}


def arrays(heads=4, kv_heads=2, size=8):
    draws = np.random.default_rng(0)
    shapes = [(len(LENGTHS), P + E * OWN, n, size) for n in (heads, kv_heads, kv_heads, heads)]
    return [jnp.asarray(draws.standard_normal(shape, np.float32)) for shape in shapes]


def texts():
    """Yield where each text's tokens are: the row, and their places in it."""
    for row, length in enumerate(LENGTHS):
        for e in range(E):
            yield row, np.concatenate([np.arange(length), P + e * OWN + np.arange(OWN)])


def valid():
    """Which places of the rows hold a token."""
    places = np.zeros((len(LENGTHS), P + E * OWN), bool)
    for row, at in texts():
        places[row, at] = True
    return places


def text_by_text(q, k, v, scoring):
    seen = jnp.zeros_like(q)
    for row, at in texts():
        seen = seen.at[row, at].set(causal(q[None, row, at], k[None, row, at], v[None, row, at], scoring)[0])
    return seen


def interpreted(q, k, v, scoring, context):
    return splash(q, k, v, scoring.scale, block=128, interpret=True)


def both(attend, scoring, size=8):
    """The outputs of valid tokens, and the gradients of one weighting of them."""
    q, k, v, weights = arrays(size=size)
    weights = weights * valid()[..., None, None]

    def total(q, k, v):
        seen = attend(q, k, v, scoring)
        return (seen * weights).sum(), seen

    gradients, seen = jax.device_get(jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v))
    return seen[valid()], *gradients


@pytest.mark.trap(45)
@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("attend", [group_attention(ROWS), contiguous(causal, ROWS)], ids=["group", "contiguous"])
def test_each_text_is_attended_to_as_in_a_row_of_its_own(attend, scoring):
    found = both(lambda q, k, v, s: attend(q, k, v, s, None), SCORINGS[scoring])
    for one, other in zip(found, both(text_by_text, SCORINGS[scoring]), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_the_kernels_get_contiguous_rows():
    attend = contiguous(interpreted, ROWS)
    found = both(lambda q, k, v, s: attend(q, k, v, s, None), SCORINGS["plain"], size=128)
    for one, other in zip(found, both(text_by_text, SCORINGS["plain"], size=128), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


@pytest.mark.trap(45)
@pytest.mark.parametrize("attend", [group_attention(ROWS), contiguous(causal, ROWS)], ids=["group", "contiguous"])
def test_nothing_reaches_another_completion_or_comes_from_padding(attend):
    """Not by a single bit."""
    q, k, v, _ = arrays()
    attended = jax.jit(lambda q, k, v: attend(q, k, v, SCORINGS["plain"], None))
    before = np.array(attended(q, k, v))
    changed = ~valid()
    changed[:, P + OWN : P + 2 * OWN] = True  # the second completion
    other = [jnp.where(changed[..., None, None], 9.0, x) for x in (q, k, v)]
    after = np.array(attended(*other))
    np.testing.assert_array_equal(after[~changed], before[~changed])
    assert np.isfinite(after).all()


@pytest.mark.trap(45)
def test_positions_continue_the_prompts():
    for row, at in texts():
        np.testing.assert_array_equal(ROWS.positions()[row][at], np.arange(len(at)))


@pytest.mark.parametrize("make", [group_attention, lambda rows: contiguous(causal, rows)])
def test_completions_of_one_token_are_not_read(make):
    """The decoder then sees only the prompt."""
    q, k, v, _ = (x[:, :P] for x in arrays())
    rows = GroupRows(jnp.asarray(LENGTHS), P, E, 0)
    found = np.array(jax.jit(lambda q, k, v: make(rows)(q, k, v, SCORINGS["plain"], None))(q, k, v))
    expected = np.array(jax.jit(lambda q, k, v: causal(q, k, v, SCORINGS["plain"]))(q, k, v))
    np.testing.assert_allclose(found[valid()[:, :P]], expected[valid()[:, :P]], atol=1e-6)
