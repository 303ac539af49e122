"""Right against wrong: DPO, IPO, SimPO and DisCO by hand, and how they become 2-GRPO."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives import AGGREGATIONS, Terms, length_mask
from grpo_jax.objectives.paper_surrogates import n_vs_m, two_grpo
from grpo_jax.objectives.preferences import discriminative, logistic, squared
from tests.objectives.helpers import groups_of, made_of, terms_of

LENGTHS = jnp.array([[2, 3], [1, 4]])
ADVANTAGES = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
OFF = {"clip_low": 1.0, "clip_high": math.inf}


def arrays(lengths=LENGTHS, seed=0):
    shape = (*lengths.shape, 4)
    return jnp.where(length_mask(lengths, 4), jax.random.uniform(jax.random.key(seed), shape, minval=-2.0), 0.0)


def terms(logprobs, old=None, reference=None, *, aggregation="sum", lengths=LENGTHS, advantages=ADVANTAGES):
    mask = length_mask(lengths, 4)
    weights = jnp.where(mask, AGGREGATIONS[aggregation].weight(lengths, 4)[..., None], 0.0)
    old = jax.lax.stop_gradient(logprobs) if old is None else old
    return terms_of(logprobs, old, mask=mask, weights=weights, advantages=advantages, reference=reference)


def gradient(surrogate, logprobs, **others):
    return np.array(jax.jit(jax.grad(lambda x: surrogate(terms(x, **others))))(logprobs))


def test_dpo_by_hand():
    policy, reference = arrays(), arrays(seed=1)
    implicit = (np.array(policy) - np.array(reference)).sum(-1)
    margins = [implicit[0, 0] - implicit[0, 1], implicit[1, 1] - implicit[1, 0]]
    expected = sum(2 * math.log(1 + math.exp(-0.3 * margin)) for margin in margins)
    assert float(partial(logistic, beta=0.3)(terms(policy, reference=reference))) == pytest.approx(expected, rel=1e-5)


def arrays_by_hand():
    """One pair: log-probabilities -1, -2 of the right one and -0.5, -0.5, -2 of the wrong one."""
    return jnp.array([[[-1.0, -2.0, 0, 0], [-0.5, -0.5, -2.0, 0]]]), jnp.array([[2, 3]]), jnp.array([[1.0, -1.0]])


def test_simpo_by_hand():
    """Scores are means over tokens, -1.5 and -1; the margin that is asked for is 1."""
    logprobs, lengths, advantages = arrays_by_hand()
    made = terms(logprobs, aggregation="sequence", lengths=lengths, advantages=advantages)
    expected = 2 * math.log(1 + math.exp(-(2.0 * (-1.5 + 1.0) - 1.0)))
    assert float(logistic(made, beta=2.0, margin=1.0)) == pytest.approx(expected, rel=1e-5)


def test_ipo_by_hand():
    """Scores -3 and -3 against a reference of 0: the margin is 0, and 1/(2 x 0.1) = 5 is aimed at."""
    logprobs, lengths, advantages = arrays_by_hand()
    made = terms(logprobs, reference=jnp.zeros(logprobs.shape), lengths=lengths, advantages=advantages)
    assert float(squared(made, tau=0.1)) == pytest.approx(2 * 25, rel=1e-5)


def test_disco_by_hand():
    """One right, two wrong of scores -1 and -3: temperature 1 gives log((e^-1 + e^-3) / 2) for the wrong."""
    logprobs = jnp.array([[[-0.5, 0], [-1.0, 0], [-3.0, 0]]])
    mask = jnp.array([[[True, False]] * 3])
    zeros = jnp.zeros(logprobs.shape)
    made = Terms(
        mask=mask,
        plain_weights=mask.astype(jnp.float32),
        correction=jnp.ones(mask.shape),
        prompt_weights=jnp.ones(1),
        logprobs=logprobs,
        log_ratio=zeros,
        reference_logprobs=None,
        advantages=jnp.array([[1.4, -0.7, -0.7]]),
    )
    wrong = math.log((math.exp(-1) + math.exp(-3)) / 2)
    assert float(discriminative(made, temperature=1.0)) == pytest.approx(3 * (wrong + 0.5), rel=1e-5)


def test_disco_keeps_the_policy_near():
    """A drift of 0.1 a token below the old policy costs (0.1 - 1e-4)^2 times the penalty; on-policy there is none."""
    logprobs, lengths, advantages = arrays_by_hand()
    mask = length_mask(lengths, 4)
    near = terms(logprobs, logprobs, aggregation="sequence", lengths=lengths, advantages=advantages)
    far = terms(logprobs, jnp.where(mask, logprobs + 0.1, 0.0), aggregation="sequence", lengths=lengths,
                advantages=advantages)  # fmt: skip
    difference = float(discriminative(far) - discriminative(near))
    assert difference == pytest.approx(2 * 1e3 * (0.1 - 1e-4) ** 2, rel=1e-4)


def test_at_a_large_temperature_disco_is_the_contrast_of_means():
    """For one right and any number of wrong ones: 2 x N-vs-M at p = 1/2 for pairs, on-policy."""
    logprobs = arrays()
    found = gradient(partial(discriminative, temperature=1e6), logprobs, aggregation="sequence")
    pairs = gradient(partial(two_grpo, **OFF), logprobs, aggregation="sequence")
    np.testing.assert_allclose(found, 2 * pairs, atol=2e-3)


def test_at_a_small_temperature_disco_is_against_the_likeliest_wrong_one():
    lengths, advantages = jnp.array([[1, 1, 1]]), jnp.array([[1.0, -0.5, -0.5]])
    logprobs = jnp.zeros((1, 3, 4)).at[0, :, 0].set(jnp.array([-1.0, -0.2, -2.0]))
    found = gradient(partial(discriminative, temperature=1e-3), logprobs, lengths=lengths, advantages=advantages)
    np.testing.assert_allclose(found[0, :, 0], [-3.0, 3.0, 0.0], atol=1e-5)


@pytest.mark.parametrize("aggregation", ["sum", "sequence"])
def test_on_policy_dpo_is_two_grpo(aggregation):
    """At the reference sigmoid(0) = 1/2, and the gradient of both completions together is beta times that of 2-GRPO."""
    logprobs = arrays()
    dpo = gradient(partial(logistic, beta=0.3), logprobs, reference=logprobs, aggregation=aggregation)
    pairs = gradient(partial(two_grpo, **OFF), logprobs, aggregation=aggregation)
    np.testing.assert_allclose(dpo, 0.3 * pairs, rtol=1e-5)


def test_at_the_reference_ipo_is_two_grpo():
    """The slope of (h - 1/(2 tau))^2 at h = 0 is -1/tau, for each of the two completions: 2/tau times 2-GRPO's."""
    logprobs = arrays()
    ipo = gradient(partial(squared, tau=0.25), logprobs, reference=logprobs)
    np.testing.assert_allclose(ipo, 2 / 0.25 * gradient(partial(two_grpo, **OFF), logprobs), rtol=1e-5)


def test_far_from_the_reference_dpo_lets_go():
    """A pair whose margin is large has little to learn; 2-GRPO learns from it as from any other."""
    logprobs = arrays()
    better = jnp.where(ADVANTAGES[..., None] > 0, logprobs + 5, logprobs - 5)
    at_reference = gradient(partial(logistic, beta=1.0), logprobs, reference=logprobs)
    ahead = gradient(partial(logistic, beta=1.0), better, reference=logprobs)
    assert np.abs(ahead).max() < 1e-3 * np.abs(at_reference).max()


def test_groups_are_all_their_pairs():
    """At the reference N-vs-M and DPO over all pairs agree up to beta / (2 sqrt(p(1-p))), the weight of the prompt."""
    lengths = jnp.array([[2, 3, 1, 4]])
    advantages = jnp.array([[3**0.5, -(3**-0.5), -(3**-0.5), -(3**-0.5)]])  # one right of four
    logprobs = arrays(lengths)
    of = {"lengths": lengths, "advantages": advantages}
    dpo = gradient(partial(logistic, beta=0.3), logprobs, reference=logprobs, **of)
    contrast = gradient(partial(n_vs_m, **OFF), logprobs, **of)
    np.testing.assert_allclose(dpo, 0.3 / (2 * (3 / 16) ** 0.5) * contrast, rtol=1e-5)


@pytest.mark.parametrize("surrogate", [logistic, squared, discriminative])
@pytest.mark.parametrize("advantages", [[[0.0, 0.0]], [[1.0, 1.0]], [[-1.0, -1.0]], [[1.0, 0.0]]])
def test_groups_of_one_kind_say_nothing(surrogate, advantages):
    logprobs, lengths, _ = arrays_by_hand()
    found = gradient(surrogate, logprobs, lengths=lengths, advantages=jnp.array(advantages))
    np.testing.assert_array_equal(found, 0.0)


@pytest.mark.parametrize("name", ["simpo", "disco"])
def test_a_kl_term_does_not_lend_its_reference(name):
    """Objectives without a reference have none beside a KL term either."""
    new, reference = arrays(), arrays(seed=1)
    found = []
    for kl_coef in (0.0, 1e-9):
        made = made_of(name, kl_coef=kl_coef)
        groups = groups_of(
            old=new,
            sampler=new,
            reference=reference if made.needs_reference else None,
            lengths=LENGTHS,
            advantages=ADVANTAGES,
        )
        found.append(jax.jit(jax.grad(lambda x, made=made, groups=groups: made.loss(x, groups).total))(new))
    assert np.abs(found[0]).max() > 0.01
    np.testing.assert_allclose(*found, atol=1e-6)


@pytest.mark.parametrize("name", ["online_dpo", "ipo", "simpo", "disco"])
@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_a_correction_for_the_sampler_weighs_gradients_and_not_margins(name, moved):
    """All tokens half as likely as drawn: half the gradient, though the losses are not linear in the scores."""
    new, reference = arrays(), arrays(seed=1)
    plain, corrected = made_of(name), made_of(name, importance_cap=2.0)
    groups = groups_of(
        old=new + moved,
        sampler=new + moved + math.log(2.0),
        reference=reference if plain.needs_reference else None,
        lengths=LENGTHS,
        advantages=ADVANTAGES,
    )
    whole = jax.jit(jax.grad(lambda x: plain.loss(x, groups).total))(new)
    half = jax.jit(jax.grad(lambda x: corrected.loss(x, groups).total))(new)
    assert np.abs(whole).max() > 0.01
    np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-4, atol=1e-7)
