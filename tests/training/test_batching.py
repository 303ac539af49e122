"""Minibatches: which groups reach the update, whole, and what they leave in the denominator."""

import numpy as np
import pytest

from grpo_jax.objectives import AGGREGATIONS
from grpo_jax.training.batching import make_minibatches
from grpo_jax.types import Rollouts

N, G, C = 8, 3, 5


def rollouts():
    """Every number says which group and completion it belongs to."""
    group = np.arange(1, N + 1, dtype=np.int32)
    completion = 10 * group[:, None] + np.arange(G, dtype=np.int32)
    return Rollouts(
        prompt_tokens=np.repeat(group[:, None], 4, axis=1),
        prompt_lengths=group,
        completion_tokens=np.repeat(completion[..., None], C, axis=2),
        completion_lengths=np.clip(completion % 7, 1, C),
        logprobs=np.repeat(-completion[..., None], C, axis=2).astype(np.float32),
        stop_reasons=np.ones((N, G), np.int32),
    )


def make(keep, minibatches=1, microbatch_groups=2, aggregation="sequence", denominator="sampled"):
    made = rollouts()
    return list(
        make_minibatches(
            made,
            made.completion_tokens[..., 0].astype(np.float32),
            np.array(keep, bool),
            minibatches=minibatches,
            microbatch_groups=microbatch_groups,
            aggregation=AGGREGATIONS[aggregation],
            denominator=denominator,
            prompt_weights=made.prompt_lengths / np.float32(4),
        )
    )


@pytest.mark.trap(17)
@pytest.mark.parametrize("minibatches", [1, 2, 4])
def test_groups_stay_whole_and_belong_together(minibatches):
    keep = [1, 0, 1, 1, 0, 0, 1, 1]
    seen = []
    for batch in make(keep, minibatches):
        groups = batch.groups
        for k, m in np.ndindex(groups.prompt_lengths.shape):
            if not groups.completion_lengths[k, m].any():
                continue  # padding
            number = groups.prompt_lengths[k, m]
            seen.append(number - 1)
            expected = 10 * number + np.arange(G)
            assert (groups.prompt_tokens[k, m] == number).all()
            np.testing.assert_array_equal(groups.completion_tokens[k, m, :, 0], expected)
            np.testing.assert_array_equal(groups.advantages[k, m], expected)
            assert groups.prompt_weights[k, m] == number / 4
            np.testing.assert_array_equal(groups.sampler_logprobs[k, m, :, 0], -expected)
    assert seen == [index for index, kept in enumerate(keep) if kept]


@pytest.mark.trap(2)
@pytest.mark.trap(17)
def test_every_token_of_every_completion_of_a_group_is_there():
    """Stop tokens too, and completions whose advantage is 0: what is filtered are groups."""
    made = rollouts()
    (batch,) = make_minibatches(
        made,
        np.tile(np.array([1.0, 0.0, -1.0], np.float32), (N, 1)),
        np.ones(N, bool),
        minibatches=1,
        microbatch_groups=2,
        aggregation=AGGREGATIONS["sequence"],
        denominator="sampled",
    )
    np.testing.assert_array_equal(batch.groups.completion_lengths.reshape(N, G), made.completion_lengths)


def test_only_the_needed_microbatches_are_filled():
    for count in range(1, N + 1):
        (batch,) = make([index < count for index in range(N)])
        assert batch.filled.tolist() == [-(-count // 2)]
        assert batch.groups.prompt_tokens.shape == (4, 2, 4)  # the same for all: nothing recompiles
        filled = batch.groups.completion_lengths.any(axis=(1, 2))
        assert filled.tolist() == [index < batch.filled[0] for index in range(4)]


def test_a_minibatch_without_a_wanted_group_is_none():
    assert len(make([1, 0, 0, 0, 0, 0, 0, 0], minibatches=4)) == 1
    assert make([0] * N, minibatches=2) == []


def test_prompts_of_padding_are_not_empty():
    (batch,) = make([1] + [0] * 7)
    assert batch.groups.prompt_lengths.min() == 1


@pytest.mark.trap(15)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_what_the_dropped_groups_leave_in_the_denominator(aggregation):
    keep = np.array([1, 0, 1, 1, 0, 0, 1, 1], bool)
    dropped = rollouts().completion_lengths[~keep]
    expected = dropped.sum() if aggregation == "token" else dropped.size
    assert make(keep, aggregation=aggregation)[0].dropped_weight == expected
    assert make(keep, aggregation=aggregation, denominator="valid")[0].dropped_weight == 0
