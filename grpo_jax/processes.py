"""What the processes of a run do together. On a TPU pod or a GPU cluster each host runs the program as one of them.

All of them must come to each of these calls, in the same order. Alone, a process has nothing to wait for.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
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


def of_first(value: Any) -> Any:
    """The first process's value, on every process: for what each could see differently, as files of a shared disk.

    Args:
      value: whatever JSON can say. Only the first process's counts; the others may give None.
    """
    return value if jax.process_count() == 1 else json.loads(_bytes_of_first(json.dumps(value).encode()))


def by_first(act: Callable[[], Any], failed: Exception) -> Any:
    """What comes of this on the first process, on every process: for what could come to something else on each.

    Args:
      act: done by the first process alone. Returns whatever JSON can say.
      failed: raised on the others if `act` raises anything, so that they do not wait for ever.
    """
    if jax.process_count() == 1:
        return act()
    said, problem = b"", None
    if jax.process_index() == 0:
        try:
            said = json.dumps(act()).encode()
        except Exception as error:
            problem = error
    with jax.transfer_guard("allow"):
        if on_any_process(problem is not None):
            raise problem or failed
        return json.loads(_bytes_of_first(said))


def _bytes_of_first(own: bytes) -> bytes:
    said = np.frombuffer(own, np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(said.size)))
    text = said if jax.process_index() == 0 else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(text), np.uint8).tobytes()


def arrays_of_first(tree: Any, shapes: Any) -> Any:
    """The first process's host arrays, on every process.

    Args:
      tree: of the arrays; None on the other processes.
      shapes: a tree like it, of what has the arrays' shapes and dtypes.
    """
    if jax.process_count() == 1:
        return tree
    if jax.process_index():
        tree = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return multihost_utils.broadcast_one_to_all(tree)


def unlike_on_processes(values: Mapping[str, Any]) -> list[str]:
    """The names whose values are not the same on all processes. All must ask about the same names.

    Args:
      values: whatever JSON can say.
    """
    if jax.process_count() == 1:
        return []
    digests = [hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest() for value in values.values()]
    everywhere = multihost_utils.process_allgather(np.array([list(digest) for digest in digests], np.uint8))
    return [name for place, name in enumerate(values) if (everywhere[:, place] != everywhere[0, place]).any()]
