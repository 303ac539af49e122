"""That processes learn from the same batches."""

import dataclasses

import numpy as np
import pytest

from grpo_jax.runs.ending import TrainingError
from grpo_jax.training.same_batches import check_same_batches
from grpo_jax.types import Groups, UpdateBatch
from tests.helpers import make_config
from tests.several_processes import several


def batch(**changes):
    groups = Groups.without_texts(
        completion_lengths=np.full((2, 3, 2), 4, np.int32),
        advantages=np.ones((2, 3, 2), np.float32),
        sampler_logprobs=np.zeros((2, 3, 2, 5), np.float32),
    )
    filled = changes.pop("filled", [1, 0])
    return UpdateBatch(dataclasses.replace(groups, **changes), np.array(filled, np.int32), np.float32(0.5))


def other_advantages():
    advantages = np.ones((2, 3, 2), np.float32)
    advantages[1, 2, 0] = np.nextafter(np.float32(1), np.float32(2))
    return batch(advantages=advantages)


@pytest.mark.parametrize(
    ("theirs", "sentence"),
    [
        ([batch(), other_advantages()], "groups.advantages of minibatch 2"),
        ([batch(filled=[2, 0]), batch()], r"filled of minibatch 1 \(\[1, 0\] on process 0, \[2, 0\] on process 1\)"),
        ([batch()], r"the number of minibatches \(2 on process 0, 1 on process 1\)"),
    ],
)
def test_a_difference_ends_the_run_and_is_named(theirs, sentence):
    config = make_config()
    unknown = dataclasses.replace(batch(), dropped_weight=np.float32("nan"))  # is the same everywhere, too
    with several(2) as everywhere:
        errors = everywhere(lambda index: check_same_batches(config, theirs if index else [batch(), batch()], 5))
        assert everywhere(lambda index: check_same_batches(config, [batch(), unknown], 5)) == [None, None]
    for error in errors:
        assert isinstance(error, TrainingError)
        with pytest.raises(TrainingError, match=f"^step 5: the processes differ in .*{sentence}"):
            raise error
