"""A configuration scaled down is one that runs, with what decides whether it fits left as it is."""

import dataclasses

import pytest

from grpo_jax.config import check, load, smoke
from grpo_jax.rewards import Attempt, make_reward
from grpo_jax.training.experiment import check_batches
from tests.helpers import CONFIGS

FILES = [path for path in sorted(CONFIGS.glob("**/*.py")) if path.parent.name != "studies"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_config_file_can_be_scaled_down(path):
    config = load(path)
    # The mesh that it is for: the paper's share a batch between 32.
    shards = max(config.mesh.fsdp, 1)
    small = smoke(config, shards)
    check(small)
    check_batches(small, shards)
    assert smoke(small, shards) == small
    assert small.rollout.prompts_per_step <= 16 * shards
    for field in ("seed", "model", "mesh", "objective", "warm_start"):
        assert getattr(small, field) == getattr(config, field)
    assert small.rollout.group_size == config.rollout.group_size


@pytest.mark.parametrize("minibatches", [1, 3, 4])
@pytest.mark.parametrize("shards", [1, 8])
def test_whatever_its_batches_are(minibatches, shards):
    flags = {"train.minibatches": minibatches, "rollout.prompts_per_step": 96, "rollout.prompts_per_batch": 24}
    flags |= {"train.microbatch_groups": 8, "rollout.max_rollouts": 480, "optimizer.warmup_updates": 20}
    config = load(CONFIGS / "two_grpo.py", [(field, str(value)) for field, value in flags.items()])
    small = smoke(config, shards)
    check(small)
    check_batches(small, shards)
    assert small.train.steps == 3
    assert small.rollout.prompts_per_step <= 24


def test_completions_that_are_equally_wrong_still_differ():
    """Or there would be no update to try."""
    task = smoke(load(CONFIGS / "my_questions.py"), 1).task
    ties = {name: weight for name, weight in task.reward.terms.items() if ":" in name}
    judge = make_reward(dataclasses.replace(task.reward, terms={"exact": 1.0, **ties}), 32).judge
    wrong, other, right = judge([Attempt("1+1", "2", rf"\boxed{{{text}}}", True, 3) for text in ("3", "4", "2")])
    assert 0 <= wrong.reward < 1e-3
    assert wrong.reward != other.reward
    assert 1 <= right.reward < 1.001
    assert (wrong.right, right.right) == (False, True)
