"""What the processes of a run do together. On a TPU pod or a GPU cluster each host runs the program as one of them.

All of them must come to each of these calls, in the same order. Alone, a process has nothing to wait for.
"""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding


def put(tree: Any, shardings: Any) -> Any:
    """Host arrays, the same on every process, as global arrays with these shardings (a tree, or one for all)."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    if isinstance(shardings, NamedSharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    with jax.transfer_guard("allow"):  # these are explicit transfers; JAX cannot know
        return jax.tree.map(
            lambda leaf, to: jax.make_array_from_callback(np.shape(leaf), to, lambda index: np.asarray(leaf)[index]),
            tree,
            shardings,
        )


def fetch(tree: Any) -> Any:
    """Global arrays as whole host arrays, on every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    with jax.transfer_guard("allow"):
        return multihost_utils.process_allgather(tree, tiled=True)


def barrier(name: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def on_any_process(flag: bool) -> bool:
    """Whether it is so on at least one process."""
    return flag if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(flag)).any())
