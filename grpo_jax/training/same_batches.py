"""The check that all processes are about to learn from the same batches.

If they were not, the policy would learn from a mixture that nobody sampled, or the processes would wait for each other
for ever, because the number of filled micro-batches decides how often an update's programs communicate.
"""

import zlib
from collections.abc import Sequence

import jax
import numpy as np

from grpo_jax.config import Config, digest, to_dict
from grpo_jax.runs.agreement import check_alike
from grpo_jax.types import UpdateBatch

FEW = 8  # numbers: an array of up to this many is compared as it is, a larger one by its checksum


def check_same_batches(config: Config, batches: Sequence[UpdateBatch], step: int) -> None:
    """Check that all processes have these minibatches, as host arrays, and this configuration.

    Raises:
      TrainingError: on every process, with the names of what differs and the values of each process.
    """
    if jax.process_count() > 1:
        check_alike(f"step {step}", {"the configuration": digest(to_dict(config)), **contents(batches)})


def contents(batches: Sequence[UpdateBatch]) -> dict[str, str]:
    """Return the number of minibatches, and their arrays by name: small ones as they are, others as checksums."""
    return {
        "the number of minibatches": str(len(batches)),
        **{
            f"{jax.tree_util.keystr(path, simple=True, separator='.')} of minibatch {number}": _value(leaf)
            for number, batch in enumerate(batches, start=1)
            for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
        },
    }


def _value(array: np.ndarray) -> str:  # a text, because NaN equals itself there
    return str(array.tolist()) if array.size <= FEW else f"{zlib.crc32(array.tobytes()):08x}"
