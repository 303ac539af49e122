"""Compile the programs of the update while the main thread makes, loads or evaluates a policy."""

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

from grpo_jax.training.experiment import Experiment
from grpo_jax.training.programs import abstract_inputs, scored, scores_per_minibatch
from grpo_jax.types import UpdateBatch

PROGRAMS = 3  # at most: the update, the scorer and the gradient's arms


@contextmanager
def compiling_ahead(experiment: Experiment) -> Iterator[Callable[[], None]]:
    """Compile the programs of the update in other threads, and yield a function that waits for them.

    When a program is called with arrays of the same shapes, JAX finds what was compiled here. If compiling fails, the
    yielded function raises the error. Its first call also returns the compilers' memory to the system.
    """
    config, programs = experiment.config, experiment.programs

    def start() -> list[Future[None]]:
        inputs = abstract_inputs(programs, config, experiment.task.max_prompt_tokens)
        batch = scored(inputs.batch, config)
        due: list[tuple[Any, Any, UpdateBatch]] = [(programs.update, inputs.state, batch)]
        due += [(programs.logprobs, inputs.state.params, inputs.batch)] * bool(scores_per_minibatch(config))
        due += [(programs.arms, inputs.state.params, batch)] * bool(config.logging.arms_every)
        return [pool.submit(_compile, *one) for one in due]

    pool = ThreadPoolExecutor(PROGRAMS, "compile")
    started = pool.submit(start)

    @cache
    def wait() -> None:
        for one in started.result():
            one.result()
        _return_freed_memory()

    try:
        yield wait
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _compile(program: Any, of: Any, batch: UpdateBatch) -> None:
    program.lower(of, batch).compile()


def _return_freed_memory() -> None:
    """Return memory that the compilers have freed from glibc to the system: 1 GB for a model of 60M parameters."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
