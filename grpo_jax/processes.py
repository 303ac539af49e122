"""Operations that all processes of a run perform together. On a TPU pod or a GPU cluster each host runs one process.

All processes must make the same calls in the same order. A single process has nobody to wait for.

* `on_any_process(flag)`: whether a flag is set anywhere.
* `of_first(value)`, `arrays_of_first(tree, shapes)`: what the first process has.
* `by_first(act, failed)`: what `act` returns on the first process; every process raises if it raises there.
* `by_all(act, failed)`: what `act` returns on each process; every process raises if it raises on any.
* `unlike_on_processes(values)`: which values differ between processes.
* `on_all(act)`, `on_first(act)` in `grpo_jax.runs.agreement`: the same for functions that may raise ConfigError.

Small values go through the store of the service that joined the processes, not through the devices. There they would
wait for what the devices are doing, which is often the sampling of the next batch.
"""

import itertools
import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # the only way to the store; JAX has no public one
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

EXCHANGES = "grpo_jax/exchanges"  # where values are in the store, by the number of their exchange
EXCHANGE_MS = 7 * 24 * 3600 * 1000  # milliseconds to wait for a process; those that are gone are noticed otherwise

_exchanges = itertools.count()
_waited = 0.0  # seconds
_wait_by_process: list[float] = []  # seconds of each process before the newest exchange


def process_index_and_count() -> tuple[int, int]:
    """Return the index of this process, and how many there are. JAX's own functions wait for the devices of all."""
    joined = distributed.global_state
    return joined.process_id, joined.num_processes


def store() -> Any:
    """Return the store that all processes of a run share: texts by key. Its methods are those of JAX's client.

    Raises:
      RuntimeError: if there are several processes, but nobody has joined them.
    """
    client = distributed.global_state.client
    if client is None:
        raise RuntimeError("there are several processes, but they have not joined; call jax.distributed.initialize")
    return client


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


def gather(tree: Any) -> Any:
    """Return global arrays of one mesh whole on every process, as soon as the devices get to this operation.

    A single process has them anyway.
    """
    if jax.process_count() == 1:
        return tree
    meshes = [leaf.sharding.mesh for leaf in jax.tree.leaves(tree) if not leaf.is_fully_replicated]
    return _gathering(meshes[0])(tree) if meshes else tree


@cache
def _gathering(mesh: Mesh) -> Callable[[Any], Any]:
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, PartitionSpec()))


def fetch(tree: Any) -> Any:
    """Return global arrays as whole host arrays, on every process.

    On several processes, those that are not gathered yet wait for everything that the devices have been given to do.
    """
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return jax.tree.map(lambda leaf: jax.device_get(gather(leaf)), tree)  # one by one, to take little memory


def barrier(name: str) -> None:
    """Wait until every process has made this call."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def on_any_process(flag: bool) -> bool:
    """Return whether the flag is set on at least one process."""
    return flag if jax.process_count() == 1 else any(_everywhere("a flag", bool(flag)))


def of_first(value: Any) -> Any:
    """Return the first process's value, on every process.

    Use it for facts that may look different on each process, such as the files of a shared disk.

    Args:
      value: of a type that JSON has. Only the first process's value counts; the others may pass None.
    """
    if jax.process_count() == 1:
        return value
    return _everywhere("a value", value if jax.process_index() == 0 else None)[0]


def by_first(act: Callable[[], Any], failed: type[Exception]) -> Any:
    """Let the first process act, and return its result on every process.

    Args:
      act: called by the first process alone. Returns a value of a type that JSON has.
      failed: the error of the other processes if `act` raises anything. It says what `act` has raised.
    """
    return by_all(act if jax.process_index() == 0 else lambda: None, failed)[0]


def by_all(act: Callable[[], Any], failed: type[Exception]) -> list[Any]:
    """Let every process act, and return the results of all, in the order of the processes, on every process.

    Args:
      act: returns a value of a type that JSON has.
      failed: the error of processes on which `act` raises nothing, if it does on others. It says what it has raised.
    """
    if jax.process_count() == 1:
        return [act()]
    result, problem = None, None
    try:
        result = act()
    except Exception as error:
        problem = error
    words = "" if problem is None else _words(problem, failed)
    everywhere = _everywhere("a result", [words, result])
    for process, (theirs, _) in enumerate(everywhere):
        if theirs:
            raise problem or failed(f"process {process}: {theirs}")
    return [made for _, made in everywhere]


def _words(error: Exception, plain: type[Exception]) -> str:
    """Return an error's text, after its type unless it is a `plain` error, whose text is a sentence."""
    return f"{error}" if isinstance(error, plain) and str(error) else f"{type(error).__name__}: {error}"


def unlike_on_processes(values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the names whose values differ between processes, each with the value of every process, None for none.

    Args:
      values: small ones, of types that JSON has.
    """
    if jax.process_count() == 1:
        return {}
    everywhere = _everywhere("a comparison", dict(values))
    names = dict.fromkeys(name for theirs in everywhere for name in theirs)
    of_name = {name: [theirs.get(name) for theirs in everywhere] for name in names}
    return {name: theirs for name, theirs in of_name.items() if any(one != theirs[0] for one in theirs)}


def waited() -> float:
    """Return for how many seconds this process has waited for others in exchanges. The slowest waits the least."""
    return _waited


def wait_by_process() -> list[float]:
    """Return what `waited` was on each process before the newest exchange, which has told it; none before the first."""
    return _wait_by_process


def _everywhere(what: str, value: Any) -> list[Any]:
    """Return the values that all processes pass, in the order of the processes.

    The first process collects them and puts the whole list into the store. So every process makes few requests, however
    many processes there are.

    Args:
      what: says what is exchanged; the same on all processes.

    Raises:
      RuntimeError: if a process exchanges something else.
    """
    global _waited, _wait_by_process
    shared, number, index = store(), next(_exchanges), jax.process_index()
    key = f"{EXCHANGES}/{number}"
    shared.key_value_set(f"{key}/{index}", json.dumps([what, value, _waited]))
    began = time.monotonic()
    if index == 0:
        values = [shared.blocking_key_value_get(f"{key}/{other}", EXCHANGE_MS) for other in range(jax.process_count())]
        shared.key_value_set(f"{key}/all", f"[{', '.join(values)}]")
        if number:  # everybody has passed a value to this exchange, so nobody reads the one before it any more
            shared.key_value_delete(f"{EXCHANGES}/{number - 1}")
    everywhere = json.loads(shared.blocking_key_value_get(f"{key}/all", EXCHANGE_MS))
    _waited += time.monotonic() - began
    exchanged = [theirs for theirs, _, _ in everywhere]
    if any(theirs != what for theirs in exchanged):
        raise RuntimeError(f"the processes are at different places: they exchange {', '.join(exchanged)}")
    _wait_by_process = [seconds for _, _, seconds in everywhere]
    return [one for _, one, _ in everywhere]


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
