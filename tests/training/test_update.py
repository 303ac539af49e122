"""The update: the same whatever way the batch is cut, nothing for groups without signal, and safe against NaN."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grpo_jax.data import Split, encode_prompts
from grpo_jax.objectives import Outcomes
from grpo_jax.processes import put
from grpo_jax.sampling import Counter, Stream
from grpo_jax.training.abstract_inputs import abstract_inputs
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.collect import Collected
from grpo_jax.training.experiment import build
from grpo_jax.training.loop import _minibatches
from grpo_jax.training.metrics import results
from grpo_jax.training.programs import make_programs, update_batch_shardings
from grpo_jax.types import StopReason
from tests.helpers import make_config
from tests.policy.full_forward import full_forward

ONE_DEVICE = jax.devices()[:1]


@cache
def experiment(**changes):
    return build(make_config(**changes), ONE_DEVICE)


def sampler(made, programs=None):
    """The jitted sampler of a run's training steps."""
    rollout = made.config.rollout
    return (programs or made.programs).sampling.whole(rollout.sampling, rollout.group_size, rollout.noise)


@cache
def rollouts(group_size=2):
    """A batch of rollouts of a fresh policy, and advantages of which some are zero, made up."""
    made = experiment(rollout__group_size=group_size, objective__name="grpo")
    problems = made.task.problems(Split.TRAIN, 8)
    prompts = encode_prompts(made.task, problems)
    params = made.programs.init_params(jax.random.key(0))
    found = jax.device_get(
        sampler(made)(made.programs.sampling_weights(params), prompts, Counter.of(0, Stream.TRAINING, 1))
    )
    advantages = np.array(
        made.programs.advantages(
            Outcomes(
                rewards=(np.arange(8 * group_size).reshape(8, -1) % 3 == 0) * 1.0, scored=np.ones((8, group_size), bool)
            )
        )
    )
    advantages[[2, 5]] = 0.0
    return params, found, advantages


def batches_of(made, found, advantages, keep=None):
    config = made.config
    keep = (advantages != 0).any(1) if keep is None else keep
    for batch in make_minibatches(
        found,
        advantages,
        keep,
        minibatches=config.train.minibatches,
        microbatch_groups=config.train.microbatch_groups,
        aggregation=made.programs.objective.aggregation,
        denominator=config.objective.denominator,
    ):
        yield put(batch, update_batch_shardings(batch, made.programs.shardings))


def updated(keep=None, shift=0.0, **changes):
    """The state and metrics after one update by the made-up batch; `shift` makes it off-policy."""
    size = changes.get("rollout__group_size", 2)
    params, found, advantages = rollouts(size)
    found = dataclasses.replace(
        found,
        logprobs=found.logprobs + wave(found.logprobs.shape, shift),
    )
    made = experiment(**changes)
    state = made.programs.init_state(params)
    for batch in batches_of(made, found, advantages, keep):
        state, metrics = made.programs.update(state, batch)
    return state, jax.device_get(metrics)


def wave(shape, height):
    return height * np.sin(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)


def shifts(height):
    """By how much the sampler's log-probabilities are raised, of every token that is learned from."""
    _, found, advantages = rollouts()
    groups = (advantages != 0).any(1)
    mask = np.arange(found.logprobs.shape[-1]) < found.completion_lengths[groups][..., None]
    return wave(found.logprobs.shape, height)[groups][mask]


def assert_same_gradient(first, second):
    """Compare the first moments of two states after one step, which are their gradients but for a factor.

    Parameters would not do. Adam divides each entry of the first gradient by its own size, so it hides a wrong scale,
    and an entry that is nothing but an error of rounding moves as far as any other.
    """
    one, other = (jax.device_get(optax.tree.get(state.opt_state, "mu")) for state in (first, second))
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(one))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * largest), one, other)


@pytest.mark.slow
@pytest.mark.trap(13)
@pytest.mark.trap(14)
@pytest.mark.parametrize("aggregation", ["sequence", "token", "constant"])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_microbatches_do_not_change_the_update(groups, aggregation):
    whole, whole_metrics = updated(train__microbatch_groups=4, objective__aggregation=aggregation, shift=0.3)
    cut, cut_metrics = updated(train__microbatch_groups=groups, objective__aggregation=aggregation, shift=0.3)
    assert_same_gradient(whole, cut)
    for name in whole_metrics:
        if name.startswith("noise/"):
            continue  # estimated from how micro-batches differ: tests/training/test_measurements.py
        for one, other in zip(*map(jax.tree.leaves, (cut_metrics[name], whole_metrics[name])), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cut_metrics["loss"].weight, whole_metrics["loss"].weight, rtol=1e-6)


@pytest.mark.trap(13)
@pytest.mark.trap(14)
@pytest.mark.parametrize(
    ("name", "aggregation"),
    [
        ("two_grpo", "sequence"), ("two_grpo", "token"), ("two_grpo", "constant"), ("n_vs_m", "token"),
        ("grpo", "sequence"), ("rloo", "constant"), ("dr_grpo", "token"),
    ],
)  # fmt: skip
def test_groups_without_signal_can_be_left_out(name, aggregation):
    """With denominator "sampled" the update is what it would be if they had been computed; and it costs less."""
    everything = np.ones(8, bool)
    settings = {"objective__name": name, "objective__aggregation": aggregation, "train__microbatch_groups": 2}
    without, metrics = updated(**settings)
    with_them, all_metrics = updated(keep=everything, **settings)
    assert_same_gradient(without, with_them)
    np.testing.assert_allclose(metrics["grad_norm"].total, all_metrics["grad_norm"].total, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"].weight, all_metrics["loss"].weight, rtol=1e-6)


@pytest.mark.trap(1)
def test_an_end_with_the_id_of_the_padding_counts():
    found = rollouts()[1]
    assert (found.stop_reasons == StopReason.STOP).any()
    _, metrics = updated(objective__aggregation="token")
    assert metrics["loss"].weight == found.completion_lengths.sum()


@pytest.mark.trap(25)
def test_an_update_whose_loss_is_zero_is_made():
    """On-policy the loss of a pair is always 0, but for the rounding of its ratios, which are 1."""
    state, metrics = updated()
    loss = float(metrics["loss"].total / metrics["loss"].weight)
    assert loss == pytest.approx(0.0, abs=float(np.finfo(np.float32).eps))
    assert metrics["grad_norm"].total > 1e-3
    assert int(state.updates) == 1
    moved = jax.tree.map(lambda new, old: float(np.abs(new - old).max()), state.params, rollouts()[0])
    assert min(jax.tree.leaves(moved)) > 0


@pytest.mark.trap(15)
def test_denominator_valid_averages_over_what_is_left():
    _, sampled = updated()
    _, valid = updated(objective__denominator="valid")
    assert sampled["loss"].weight == 16  # 8 groups of 2
    assert valid["loss"].weight == 2 * (rollouts()[2] != 0).any(1).sum()
    np.testing.assert_allclose(
        valid["grad_norm"].total * valid["loss"].weight, sampled["grad_norm"].total * 16, rtol=1e-4
    )


def test_the_gradient_is_the_objectives():
    """Against autodiff of the paper's formula, written out for one batch on plain arrays."""
    params, found, advantages = rollouts()
    made = experiment()
    _, metrics = updated(shift=0.3)
    old = found.logprobs + 0.3 * np.sin(np.arange(found.logprobs.size)).reshape(found.logprobs.shape)

    def loss(params):
        total = 0.0
        for g in range(2):
            logprobs = full_forward(
                made.programs.policy,
                params,
                found.prompt_tokens,
                found.prompt_lengths,
                found.completion_tokens[:, g, None],
            )[:, 0]
            for n in range(8):
                length, a = int(found.completion_lengths[n, g]), float(advantages[n, g])
                ratio = jnp.exp(logprobs[n, :length] - old[n, g, :length])
                total -= jnp.minimum(ratio * a, jnp.clip(ratio, 0.8, 1.28) * a).mean() / 16
        return total

    gradient = jax.jit(jax.grad(loss))(params)
    norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradient)))
    assert float(metrics["grad_norm"].total) == pytest.approx(norm, rel=1e-4)


@pytest.mark.slow
def test_cost_falls_with_the_groups_and_nothing_recompiles():
    """The number of loop iterations is that of filled micro-batches; one program serves all."""
    made = experiment(train__microbatch_groups=1)
    params, found, advantages = rollouts()
    state = made.programs.init_state(params)
    before = made.programs.update._cache_size()
    for count in (1, 3, 8):
        (batch,) = batches_of(made, found, advantages, keep=np.arange(8) < count)
        assert int(batch.filled.sum()) == count
        state, metrics = made.programs.update(state, batch)
        tokens = found.completion_lengths[:count].sum()
        assert float(metrics["sampler_difference/mean"].metric.weight) == tokens  # only these were looked at
    assert made.programs.update._cache_size() <= before + 1


def test_rematerialisation_frees_memory():
    """On CPU XLA would start to recompute all layers early, if it were not told to order operations for memory."""

    def temporary(remat):
        made = experiment(
            model__architecture__num_layers=4, model__architecture__mlp_dim=256, model__remat=remat,
            rollout__max_new_tokens=60, rollout__group_size=8, objective__name="grpo",
        )  # fmt: skip
        inputs = abstract_inputs(made.programs, made.config, made.task.max_prompt_tokens)
        compiled = made.programs.update.lower(inputs.state, inputs.batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary("full") < temporary("none") / 2


@pytest.mark.trap(26)
def test_on_policy_the_trainer_agrees_with_the_sampler():
    _, metrics = updated()
    plain = results([metrics])
    assert 0 < plain["sampler_difference"] < 1e-4
    assert plain["sampler_difference/mean"] <= plain["sampler_difference"]
    assert plain["clip_share/high"] == plain["clip_share/low"] == 0.0
    _, shifted = updated(shift=0.3)
    assert results([shifted])["sampler_difference"] == pytest.approx(0.3, rel=0.05)
    less_likely = shifts(0.3)
    assert results([shifted])["sampler_difference/mean"] == pytest.approx(np.abs(less_likely).mean(), rel=0.01)
    of_sampler = (np.exp(-less_likely) + less_likely - 1).mean()
    assert results([shifted])["sampler_difference/kl"] == pytest.approx(of_sampler, rel=0.01)
    assert results([shifted])["clip_share/low"] > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_update_that_is_not_finite_changes_nothing(bad):
    params, found, advantages = rollouts()
    made = experiment(objective__name="grpo")
    before = jax.device_get(made.programs.init_state(params))
    state = made.programs.init_state(params)
    for expected in (1, 2):
        (batch,) = batches_of(made, found, np.where(advantages != 0, np.float32(bad), advantages))
        state, metrics = made.programs.update(state, batch)
        assert int(state.nonfinite_in_a_row) == expected
        assert results([jax.device_get(metrics)])["nonfinite_in_a_row"] == expected
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.params), before.params)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.opt_state), before.opt_state)
    assert int(state.updates) == 0
    (batch,) = batches_of(made, found, advantages)
    state, _ = made.programs.update(state, batch)
    assert (int(state.updates), int(state.nonfinite_in_a_row)) == (1, 0)


@pytest.mark.trap(36)
def test_an_update_leaves_the_reference_alone():
    """The state is donated; the parameters that it was made from are another copy."""
    params, found, advantages = rollouts()
    params = jax.tree.map(jnp.copy, params)  # a NumPy view of the buffers would keep XLA from taking them
    before = jax.device_get(jax.tree.map(jnp.copy, params))
    made = experiment()
    state = made.programs.init_state(params)
    for _ in range(2):
        (batch,) = batches_of(made, found, advantages)
        state, _ = made.programs.update(state, batch)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(params), before)


def test_scores_are_log_probabilities_of_the_filled_microbatches():
    params, found, advantages = rollouts()
    made = experiment(train__microbatch_groups=2)
    (batch,) = batches_of(made, found, advantages)
    scores = np.array(made.programs.logprobs(params, batch))
    assert scores.shape == batch.groups.sampler_logprobs.shape
    valid = np.arange(scores.shape[-1]) < np.array(batch.groups.completion_lengths)[..., None]
    np.testing.assert_allclose(scores[valid], np.array(batch.groups.sampler_logprobs)[valid], atol=1e-4)
    assert (scores[int(batch.filled.sum()) :] == 0).all()


@pytest.mark.trap(19)
def test_policy_and_scores_are_at_the_sampling_temperature():
    made = experiment(rollout__sampling__temperature=0.5)
    params, _, advantages = rollouts()
    prompts = encode_prompts(made.task, made.task.problems(Split.TRAIN, 8))
    found = jax.device_get(
        sampler(made)(made.programs.sampling_weights(params), prompts, Counter.of(0, Stream.TRAINING, 1))
    )
    (batch,) = batches_of(made, found, advantages, keep=np.ones(8, bool))
    scores = np.array(made.programs.logprobs(params, batch)).reshape(found.logprobs.shape)
    valid = np.arange(scores.shape[-1]) < found.completion_lengths[..., None]
    np.testing.assert_allclose(scores[valid], found.logprobs[valid], atol=1e-4)
    _, metrics = made.programs.update(made.programs.init_state(params), batch)
    assert results([jax.device_get(metrics)])["sampler_difference"] < 1e-4


@pytest.mark.trap(4)
def test_a_run_knows_every_stop_token_of_its_task():
    made = experiment()
    ends = (made.task.stop_tokens[0], made.task.tokenizer.token_to_id("="))
    programs = make_programs(made.config, made.programs.mesh, made.programs.adapted, ends)
    prompts = encode_prompts(made.task, made.task.problems(Split.TRAIN, 8))
    weights = programs.sampling_weights(rollouts()[0])
    seen = set()
    for step in range(8):
        found = jax.device_get(sampler(made, programs)(weights, prompts, Counter.of(0, Stream.TRAINING, step)))
        last = np.take_along_axis(found.completion_tokens, found.completion_lengths[..., None] - 1, axis=-1)[..., 0]
        stopped = found.stop_reasons == StopReason.STOP
        np.testing.assert_array_equal(np.isin(last, ends), stopped)
        seen |= set(last[stopped].tolist())
    assert seen == set(ends)


@pytest.mark.trap(26)
def test_the_trainers_old_logprobs_are_not_the_samplers():
    """Where they are asked for; with the sampler's as they are, nobody would see the difference."""
    params, found, advantages = rollouts()
    made = experiment(objective__old_logprobs="trainer")
    outcomes = Outcomes(rewards=np.ones(advantages.shape, np.float32), scored=np.ones(advantages.shape, bool))
    off = dataclasses.replace(found, logprobs=found.logprobs - np.float32(0.3))
    chosen, weights = np.ones(8, bool), np.arange(1, 9, dtype=np.float32)
    collected = Collected([], off, outcomes, advantages, chosen, weights, consumed=8, version=0)
    (batch,) = _minibatches(made, params, None, collected, step=1)
    carrying = set(weights[collected.signal].tolist())
    assert set(np.array(batch.groups.prompt_weights).ravel().tolist()) - {0} == carrying
    count, old = int(collected.signal.sum()), np.array(batch.groups.old_logprobs)
    old = old.reshape(found.logprobs.shape)[:count]
    expected, lengths = found.logprobs[collected.signal], found.completion_lengths[collected.signal]
    valid = np.arange(old.shape[-1]) < lengths[..., None]
    np.testing.assert_allclose(old[valid], expected[valid], atol=1e-4)


@pytest.mark.trap(35)
def test_the_schedule_ends_with_the_last_optimizer_step():
    """However many micro-batches each of them has."""
    params, found, advantages = rollouts()
    made = experiment(optimizer__schedule="cosine", train__microbatch_groups=2)
    state = dataclasses.replace(made.programs.init_state(params), updates=jnp.int32(made.config.train.steps))
    (batch,) = batches_of(made, found, advantages)
    _, metrics = made.programs.update(state, batch)
    assert float(metrics["learning_rate"].total) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
def test_a_kl_term_pulls_towards_the_reference():
    params, found, advantages = rollouts()
    made = experiment(objective__kl_coef=5.0)
    away = jax.tree.map(lambda leaf: leaf + 0.05 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), params)
    state = made.programs.init_state(away)
    divergences = []
    for _ in range(25):
        (batch,) = batches_of(made, found, 0 * advantages, keep=np.ones(8, bool))
        batch = dataclasses.replace(
            batch,
            groups=dataclasses.replace(
                batch.groups,
                reference_logprobs=made.programs.logprobs(params, batch),
                old_logprobs=made.programs.logprobs(state.params, batch),
            ),
        )
        state, metrics = made.programs.update(state, batch)
        divergences.append(results([jax.device_get(metrics)])["reference_kl"])
    assert divergences[-1] < 0.5 * divergences[0]
