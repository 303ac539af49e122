"""Processes of a run as threads of this one, which share a store. tests/commands/test_distributed.py has real ones."""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import pytest

from grpo_jax import processes


class Store:
    """Texts by key, as in the service that joins processes: nothing is overwritten by accident."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._changed = threading.Condition()

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        with self._changed:
            if key in self.texts and not allow_overwrite:
                raise jax.errors.JaxRuntimeError(f"ALREADY_EXISTS: {key}")
            self.texts[key] = value
            self._changed.notify_all()

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str:
        with self._changed:
            if not self._changed.wait_for(lambda: key in self.texts, min(timeout_in_ms / 1000, 10)):
                raise jax.errors.JaxRuntimeError(f"DEADLINE_EXCEEDED: {key}")
            return self.texts[key]

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        with self._changed:
            return [(name, text) for name, text in self.texts.items() if name.startswith(f"{key.rstrip('/')}/")]

    def key_value_delete(self, key: str) -> None:
        with self._changed:
            for name in [name for name in self.texts if name == key or name.startswith(f"{key}/")]:
                del self.texts[name]


class _Process(threading.local):
    """The index of the process that a thread is."""

    index = 0


class _Joined:
    """What JAX knows of the processes that have joined."""

    def __init__(self, process: _Process, number: int, client: Store) -> None:
        self._process = process
        self.num_processes, self.client = number, client

    @property
    def process_id(self) -> int:
        return self._process.index


class _Exchanges:
    """How many exchanges each process has made."""

    def __init__(self, process: _Process) -> None:
        self._process = process
        self._counts: defaultdict[int, Iterator[int]] = defaultdict(itertools.count)

    def __next__(self) -> int:
        return next(self._counts[self._process.index])


@contextmanager
def several(number: int) -> Iterator[Callable[[Callable[[int], Any]], list[Any]]]:
    """Yield a function that calls another one on every process, with its index, and returns the results.

    Where it raises, the error is the result.
    """
    process, store = _Process(), Store()

    def everywhere(act: Callable[[int], Any]) -> list[Any]:
        def on_process(index: int) -> Any:
            process.index = index
            try:
                return act(index)
            except (Exception, KeyboardInterrupt) as error:
                return error

        with ThreadPoolExecutor(number) as pool:
            # Without a barrier one thread could take the work of two.
            ready = threading.Barrier(number)
            return list(pool.map(lambda index: ready.wait() >= 0 and on_process(index), range(number)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes.distributed, "global_state", _Joined(process, number, store))
        patch.setattr(processes, "_exchanges", _Exchanges(process))
        patch.setattr(processes, "_wait_by_process", [])  # and what the exchanges leave there is forgotten afterwards
        patch.setattr(jax, "process_count", lambda: number)
        patch.setattr(jax, "process_index", lambda: process.index)
        yield everywhere
