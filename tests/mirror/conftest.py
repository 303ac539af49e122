"""An object store in memory, and machines that use it."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from grpo_jax.mirror.remote import Remote


@pytest.fixture
def remote():
    """An address in a store of its own."""
    return Remote("memory://b/run", "/b/run", MemoryFileSystem(global_store=False, skip_instance_cache=True))


@pytest.fixture
def address():
    """An address in the store that all code of this process sees as memory://."""
    yield "memory://b/run"
    MemoryFileSystem.store.clear()
