"""The composed objective: sums and weights, aggregation, unscored completions, KL, importance sampling."""

import dataclasses
import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.objectives import (
    AGGREGATIONS,
    KL_ESTIMATORS,
    OBJECTIVES,
    Objective,
    Outcomes,
    k2,
    k3,
)
from grpo_jax.objectives.advantages import group_normalized
from grpo_jax.objectives.ratios import masked, truncated
from grpo_jax.objectives.surrogates import clipped
from tests.objectives.helpers import groups_of, made_of

LENGTHS = jnp.array([[2, 5], [1, 3]])
ADVANTAGES = jnp.array([[1.0, -1.0], [-1.0, 1.0]])


def objective(**changes) -> Objective:
    parts = {
        "advantages": group_normalized,
        "surrogate": partial(clipped, clip_low=0.2, clip_high=0.28),
        "aggregation": AGGREGATIONS["sequence"],
        "surrogate_needs_reference": False,
        "kl_coef": 0.0,
        "kl": k3,
        "correction": None,
        "after_prefix": False,
    }
    return Objective(**(parts | changes))


def logprobs(seed=0, shape=(2, 2, 5)):
    return jax.random.uniform(jax.random.key(seed), shape, minval=-2.0, maxval=-0.1)


@partial(jax.jit, static_argnums=0)
def loss(made, logprobs, old, sampler, reference, lengths, advantages):
    groups = groups_of(old=old, sampler=sampler, reference=reference, lengths=lengths, advantages=advantages)
    return made.loss(logprobs, groups)


@partial(jax.jit, static_argnums=0)
def advantages_of(made, outcomes):
    return made.advantages(outcomes)


@partial(jax.jit, static_argnums=0)
def gradient(made, logprobs, *arrays):
    return jax.grad(lambda lp: loss(made, lp, *arrays).total)(logprobs)


def on_policy_gradient(made, lengths=LENGTHS, width=5):
    old = logprobs(shape=(*lengths.shape, width))
    total = gradient(made, old, old, old, None, lengths, ADVANTAGES)
    return total / loss(made, old, old, old, None, lengths, ADVANTAGES).weight


@cache
def named(name: str) -> Objective:
    """An objective by its name, whose programs are compiled once."""
    return made_of(name)


def token_weights(lengths, width, weight_of_length):
    return np.array([[[weight_of_length(n) * (t < n) for t in range(width)] for n in row] for row in np.array(lengths)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sequence", lambda n: 1 / n / 4),  # mean over 4 completions of the mean over n tokens
        ("token", lambda n: 1 / 11),  # mean over 11 tokens
        ("constant", lambda n: 1 / 5 / 4),  # over the maximum length, mean over 4 completions
    ],
)
def test_aggregations(name, expected):
    found = on_policy_gradient(objective(aggregation=AGGREGATIONS[name]))
    np.testing.assert_allclose(found, -np.array(ADVANTAGES)[..., None] * token_weights(LENGTHS, 5, expected), atol=1e-7)


@pytest.mark.trap(18)
def test_dr_grpo_divides_by_the_configured_width_not_by_the_longest():
    """Four of the five columns may be empty: the divisor stays 5."""
    short = jnp.ones((2, 2), jnp.int32)
    found = on_policy_gradient(objective(aggregation=AGGREGATIONS["constant"]), lengths=short)
    np.testing.assert_allclose(np.abs(found[..., 0]), 1 / 5 / 4, rtol=1e-6)


@pytest.mark.trap(13)
@pytest.mark.trap(14)
@pytest.mark.parametrize("name", AGGREGATIONS)
def test_parts_add_up_to_the_whole(name):
    """Sums and weights of any split add up to those of the batch: a mean of means would not."""
    made = objective(aggregation=AGGREGATIONS[name])
    new, old = logprobs(1), logprobs(2)
    whole = loss(made, new, old, old, None, LENGTHS, ADVANTAGES)
    parts = [
        loss(made, new[i : i + 1], old[i : i + 1], old[i : i + 1], None, LENGTHS[i : i + 1], ADVANTAGES[i : i + 1])
        for i in range(2)
    ]
    np.testing.assert_allclose(sum(part.total for part in parts), whole.total, rtol=1e-6)
    np.testing.assert_allclose(sum(part.weight for part in parts), whole.weight, rtol=1e-6)


@pytest.mark.trap(7)
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in OBJECTIVES),
        *(("grpo", {"aggregation": name}) for name in AGGREGATIONS),
        *(("grpo", {"kl_coef": 0.1, "kl_estimator": name}) for name in KL_ESTIMATORS),
    ],
)
def test_padding_counts_nowhere(name, changes):
    made = made_of(name, **changes)
    new, old = logprobs(1), logprobs(2)
    reference = logprobs(3) if made.needs_reference else None
    alone = loss(made, new, old, old, reference, LENGTHS, ADVANTAGES)
    nothing = jnp.full((1, 2, 5), jnp.nan)

    def padded(array):
        return None if array is None else jnp.concatenate([array, nothing])

    arrays = (padded(new), padded(old), padded(old), padded(reference))
    lengths = jnp.concatenate([LENGTHS, jnp.zeros((1, 2), jnp.int32)])
    advantages = jnp.concatenate([ADVANTAGES, jnp.zeros((1, 2))])
    found = loss(made, *arrays, lengths, advantages)
    np.testing.assert_allclose(found.total, alone.total, rtol=1e-5)
    np.testing.assert_allclose(found.weight, alone.weight, rtol=1e-6)
    assert np.isfinite(gradient(made, *arrays, lengths, advantages)).all()


@pytest.mark.trap(7)
def test_a_surrogate_finds_zeros_after_the_end_of_a_completion():
    """One of the user's own may sum over all positions."""
    made = objective(
        surrogate=lambda terms: (terms.logprobs + terms.log_ratio + terms.reference_logprobs).sum(),
        surrogate_needs_reference=True,
    )
    within = np.arange(5) < np.array(LENGTHS)[..., None]
    new, old, reference = (jnp.where(within, logprobs(seed), jnp.nan) for seed in (1, 2, 3))
    found = loss(made, new, old, old, reference, LENGTHS, ADVANTAGES)
    np.testing.assert_allclose(found.total, (2 * new - old + reference)[within].sum(), rtol=1e-5)


@pytest.mark.trap(25)
def test_on_policy_the_loss_is_zero_and_its_gradient_is_not():
    made, old = objective(), logprobs()
    assert float(loss(made, old, old, old, None, LENGTHS, ADVANTAGES).total) == pytest.approx(0.0, abs=1e-6)
    assert np.abs(on_policy_gradient(made)).max() > 0.01


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_groups_weight_multiplies_its_loss(name):
    """And so its gradient, those of its KL term included, but not its part of the denominator."""
    made, new, old = made_of(name, kl_coef=0.1), logprobs(1), logprobs(2)
    groups = groups_of(old=old, sampler=old, reference=logprobs(3), lengths=LENGTHS, advantages=ADVANTAGES)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def of(logprobs, weights):
        return made.loss(logprobs, dataclasses.replace(groups, prompt_weights=weights))

    (first, weight), of_first = of(new, jnp.array([1.0, 0.0]))
    (second, _), of_second = of(new, jnp.array([0.0, 1.0]))
    (both, weight_of_both), found = of(new, jnp.array([3.0, 0.5]))
    np.testing.assert_allclose(both, 3 * first + 0.5 * second, rtol=1e-5)
    np.testing.assert_allclose(found, 3 * of_first + 0.5 * of_second, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(of_first[1], 0.0)
    assert weight_of_both == weight


@pytest.mark.trap(14)
def test_kl_is_added_with_its_coefficient():
    new, old, reference = logprobs(1), logprobs(2), logprobs(3)
    without = loss(objective(), new, old, old, None, LENGTHS, ADVANTAGES)
    with_kl = loss(objective(kl_coef=0.3, kl=k2), new, old, old, reference, LENGTHS, ADVANTAGES)
    weights = token_weights(LENGTHS, 5, lambda n: 1 / n)
    expected = 0.3 * (weights * np.array(k2(new, reference))).sum()
    np.testing.assert_allclose(with_kl.total - without.total, expected, rtol=1e-4)


@pytest.mark.trap(26)
def test_truncated_importance_sampling_weights_tokens():
    """A token that the sampler drew twice as often as the old policy would counts half; none more than the cap."""
    old = logprobs(2)
    sampler = old + jnp.log(2.0)
    plain = gradient(objective(), old, old, sampler, None, LENGTHS, ADVANTAGES)
    corrected = objective(correction=partial(truncated, limit=1.5))
    halved = gradient(corrected, old, old, sampler, None, LENGTHS, ADVANTAGES)
    np.testing.assert_allclose(halved, 0.5 * plain, rtol=1e-5)
    rare = old - jnp.log(9.0)
    capped = gradient(corrected, old, old, rare, None, LENGTHS, ADVANTAGES)
    np.testing.assert_allclose(capped, 1.5 * plain, rtol=1e-5)


@pytest.mark.trap(21)
def test_importance_sampling_undoes_a_cut_vocabulary():
    """Tokens drawn with top-p have the cut distribution's log-probs; the weight is the mass that was kept."""
    logits = jnp.array([2.0, 1.0, 0.0, -1.0])
    full = jax.nn.log_softmax(logits)
    kept = jnp.exp(full[:2]).sum()
    cut = full[:2] - jnp.log(kept)
    assert not np.allclose(cut, full[:2])
    made = objective(correction=partial(truncated, limit=2.0))
    old, sampler = full[0].reshape(1, 1, 1), cut[0].reshape(1, 1, 1)
    lengths, advantages = jnp.ones((1, 1), jnp.int32), jnp.ones((1, 1))
    found = gradient(made, old, old, sampler, None, lengths, advantages)
    np.testing.assert_allclose(found, -kept.reshape(1, 1, 1), rtol=1e-6)


@pytest.mark.trap(16)
@pytest.mark.parametrize("name", [name for name, recipe in OBJECTIVES.items() if recipe.group_size is None])
def test_an_unscored_completion_gets_no_gradient(name):
    made = made_of(name, group_size=4)
    lengths = jnp.array([[2, 3, 5, 4]])
    outcomes = Outcomes(
        rewards=jnp.array([[1.0, 0.0, 0.0, 1.0]]),
        scored=jnp.array([[True, True, False, True]]),
        lengths=lengths,
        expected=jnp.array([0.4]),
        success=jnp.array([0.4]),
        evidence=jnp.array([3.0]),
    )
    old = logprobs(shape=(1, 4, 5))
    found = gradient(made, old, old, old, old if made.needs_reference else None, lengths, advantages_of(made, outcomes))
    assert np.abs(found[0, [0, 1, 3]]).max() > 0.01
    np.testing.assert_array_equal(found[0, 2], 0.0)


ONE_SIDED = {"psr": (True, False), "nsr": (False, True)}  # whether the better is raised, the worse lowered


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("pair", [(1.0, 0.0), (0.0, 1.0), (0.7, 0.2)])
def test_every_named_objective_prefers_the_better_completion(name, pair):
    """This holds for binary rewards and for partial credit."""
    if name in (*ONE_SIDED, "w_reinforce") and 0.7 in pair:
        return  # without a baseline, partial credit says nothing of better and worse
    made = named(name)
    old, lengths = logprobs(shape=(1, 2, 5)), jnp.full((1, 2), 5)
    outcomes = Outcomes(
        rewards=jnp.array([pair]),
        scored=jnp.ones((1, 2), bool),
        lengths=lengths,
        expected=jnp.array([0.4]),
        success=jnp.array([0.4]),
        evidence=jnp.array([3.0]),
    )
    found = gradient(made, old, old, old, old if made.needs_reference else None, lengths, advantages_of(made, outcomes))
    better = int(np.argmax(pair))
    raised, lowered = ONE_SIDED.get(name, (True, True))
    assert (found[0, better] < 0).all() == raised
    assert (found[0, 1 - better] > 0).all() == lowered


@pytest.mark.trap(26)
def test_masked_importance_sampling_lets_tokens_go_that_are_far_off():
    old = logprobs(2)
    plain = gradient(objective(), old, old, old, None, LENGTHS, ADVANTAGES)
    made = objective(correction=partial(masked, limit=2.0))
    for factor, weight in ((1.5, 1.5), (0.6, 0.6), (2.5, 0.0), (0.4, 0.0)):
        found = gradient(made, old, old, old - jnp.log(factor), None, LENGTHS, ADVANTAGES)
        np.testing.assert_allclose(found, weight * plain, rtol=1e-5)


def test_an_unknown_objective_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"objective.name='two_gpro': unknown; did you mean two_grpo\?"):
        made_of("two_gpro")


def test_pairs_are_not_groups_of_four():
    with pytest.raises(ConfigError, match=r"rollout.group_size=4: the objective two_grpo is defined on groups of 2"):
        made_of("two_grpo", group_size=4)


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("online_dpo", {"betta": 1.0}, r"objective.parameters.betta=1.0: is not a parameter of online_dpo; did you"),
        ("grpo", {"beta": 1.0}, r"objective.parameters.beta=1.0: is not a parameter of grpo; it has none"),
        ("grpo", {"clip_low": 1.0}, r"objective.parameters.clip_low=1.0: is not a parameter of grpo"),  # it is a field
        ("no.such:THING", {}, r"objective.name='no.such:THING': cannot be imported"),
        ("grpo_jax.objectives:tokens", {}, r"objective.name='grpo_jax.objectives:tokens': is not a Recipe"),
    ],
)
def test_what_cannot_be_made_is_refused(name, parameters, sentence):
    with pytest.raises(ConfigError, match=sentence):
        made_of(name, parameters=parameters)


def test_parameters_reach_their_parts():
    plain, sharper = made_of("online_dpo"), made_of("online_dpo", parameters={"beta": 0.2})
    old = logprobs()
    once, twice = (gradient(made, old, old, old, old, LENGTHS, ADVANTAGES) for made in (plain, sharper))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)


def test_what_is_cut_is_what_the_surrogate_clips():
    """Tokens one by one (PPO), those that a dual clip lets go, whole completions (GSPO); never what has no clip."""
    old, lengths, advantages = logprobs(2, (1, 2, 2)), jnp.array([[2, 1]]), jnp.array([[1.0, -1.0]])
    groups = groups_of(old=old, sampler=old, reference=None, lengths=lengths, advantages=advantages)
    ratios = jnp.array([[[1.4, 0.7], [4.0, 1.0]]])  # of the second completion only the first is a token
    expected = {
        "grpo": [[True, False], [False, False]],
        "grpo_dual_clip": [[True, False], [True, False]],
        "gspo": [[False, False], [False, False]],  # its ratio is the geometric mean, .99
        "sapo": [[False, False], [False, False]],
        "gpg": [[False, False], [False, False]],
        "simpo": [[False, False], [False, False]],
    }
    for name, cut in expected.items():
        found = jax.jit(made_of(name).clipped_tokens)(old + jnp.log(ratios), groups)
        np.testing.assert_array_equal(found[0], cut, err_msg=name)
    tighter = made_of("gspo", clip_low=3e-4, clip_high=4e-4)
    up = old + jnp.log(jnp.array([[[1.4, 0.9], [0.5, 1.0]]]))  # geometric means 1.12 and .5
    np.testing.assert_array_equal(jax.jit(tighter.clipped_tokens)(up, groups)[0], [[True, True], [True, False]])


@pytest.mark.parametrize(
    ("name", "parameter", "value", "allowed"),
    [
        ("grpo_dual_clip", "dual_clip", 0.5, "above 1"),
        ("two_grpo_rescaled", "floor", 0.0, "at least 1e-06 and at most 0.5"),
        ("two_grpo_rescaled", "floor", 0.7, "at least 1e-06 and at most 0.5"),
        ("disco", "temperature", 0.0, "at least 1e-12"),
        ("sapo", "positive_temperature", 0.0, "at least 1e-12"),
        ("ipo", "tau", 0.0, "at least 1e-12"),
        ("simpo", "beta", -1.0, "at least 1e-12"),
        ("f_grpo", "gamma", math.nan, "0, or at least 1e-12"),
    ],
)
def test_parameters_have_ranges(name, parameter, value, allowed):
    with pytest.raises(ConfigError, match=rf"objective\.parameters\.{parameter}={value}: must be {allowed}"):
        made_of(name, parameters={parameter: value})


def test_group_token_is_the_mean_over_groups_of_the_mean_over_their_tokens():
    lengths = jnp.array([[1, 3], [2, 0], [5, 5]])
    found = AGGREGATIONS["group_token"].weight(lengths, 8) / AGGREGATIONS["group_token"].denominator(lengths).sum()
    np.testing.assert_allclose(found[:, 0], np.array([2 / 4, 2 / 2, 2 / 10]) / 5, rtol=1e-6)
    assert found[1, 1] == 0


def test_group_token_has_the_gradient_of_dapos_equation_8():
    """Against the equation as loops over groups, completions and tokens write it; the last group is padding."""
    lengths = [[1, 3], [2, 4], [5, 5], [0, 0]]
    advantages = jnp.array([[1.0, -1.0], [0.5, -0.5], [-1.0, 1.0], [0.0, 0.0]])
    new, old = logprobs(1, (4, 2, 5)), logprobs(2, (4, 2, 5))

    def equation_8(new):
        means = []
        for group, of_group in enumerate(lengths[:3]):
            gains = [
                jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - 0.2, 1 + 0.28) * advantage)
                for completion, length in enumerate(of_group)
                for ratio in jnp.exp(new[group, completion, :length] - old[group, completion, :length])
                for advantage in [advantages[group, completion]]
            ]
            means.append(sum(gains) / sum(of_group))
        return -sum(means) / len(means)

    made, arrays = objective(aggregation=AGGREGATIONS["group_token"]), (old, old, None, jnp.array(lengths), advantages)
    found = gradient(made, new, *arrays) / loss(made, new, *arrays).weight
    expected = jax.jit(jax.grad(equation_8))(new)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
