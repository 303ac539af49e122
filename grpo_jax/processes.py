"""Operations that all processes of a run perform together. On a TPU pod or a GPU cluster each host runs one process.

All processes must make the same calls in the same order. A single process has nobody to wait for.

* `on_any_process(flag)`: whether a flag is set anywhere.
* `of_first(value)`, `arrays_of_first(tree, shapes)`: what the first process has.
* `by_first(act, failed)`: what `act` returns on the first process; every process raises if it raises there.
* `on_all(act)`, `on_first(act)` in `grpo_jax.runs.agreement`: the same for functions that may raise ConfigError.
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
    """Return host arrays, equal on all processes, as global arrays with these shardings (a tree, or one for all)."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    if isinstance(shardings, NamedSharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    with jax.transfer_guard("allow"):  # these transfers are explicit, which JAX cannot know
        return jax.tree.map(
            lambda leaf, to: jax.make_array_from_callback(np.shape(leaf), to, lambda index: np.asarray(leaf)[index]),
            tree,
            shardings,
        )


def fetch(tree: Any) -> Any:
    """Return global arrays as whole host arrays, on every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    with jax.transfer_guard("allow"):
        return multihost_utils.process_allgather(tree, tiled=True)


def barrier(name: str) -> None:
    """Wait until every process has made this call."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def on_any_process(flag: bool) -> bool:
    """Return whether the flag is set on at least one process."""
    return flag if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(flag)).any())


def of_first(value: Any) -> Any:
    """Return the first process's value, on every process.

    Use it for facts that may look different on each process, such as the files of a shared disk.

    Args:
      value: of a type that JSON has. Only the first process's value counts; the others may pass None.
    """
    return value if jax.process_count() == 1 else json.loads(_bytes_of_first(json.dumps(value).encode()))


def by_first(act: Callable[[], Any], failed: Exception) -> Any:
    """Let the first process act, and return its result on every process.

    Args:
      act: called by the first process alone. Returns a value of a type that JSON has.
      failed: raised by the other processes if `act` raises anything, so that they do not wait for ever.
    """
    if jax.process_count() == 1:
        return act()
    result, problem = b"", None
    if jax.process_index() == 0:
        try:
            result = json.dumps(act()).encode()
        except Exception as error:
            problem = error
    with jax.transfer_guard("allow"):
        if on_any_process(problem is not None):
            raise problem or failed
        return json.loads(_bytes_of_first(result))


def _bytes_of_first(own: bytes) -> bytes:
    mine = np.frombuffer(own, np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(mine.size)))
    text = mine if jax.process_index() == 0 else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(text), np.uint8).tobytes()


def arrays_of_first(tree: Any, shapes: Any) -> Any:
    """Return the first process's host arrays, on every process.

    Args:
      tree: the arrays; None on the other processes.
      shapes: a tree of the same structure, whose leaves have the arrays' shapes and dtypes.
    """
    if jax.process_count() == 1:
        return tree
    if jax.process_index():
        tree = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return multihost_utils.broadcast_one_to_all(tree)


def unlike_on_processes(values: Mapping[str, Any]) -> list[str]:
    """Return the names whose values differ between processes. All processes must ask about the same names.

    Args:
      values: of types that JSON has.
    """
    if jax.process_count() == 1:
        return []
    digests = [hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest() for value in values.values()]
    everywhere = multihost_utils.process_allgather(np.array([list(digest) for digest in digests], np.uint8))
    return [name for place, name in enumerate(values) if (everywhere[:, place] != everywhere[0, place]).any()]
