"""Compile the programs of a step while the main thread makes, loads or evaluates a policy."""

import ctypes
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

import jax

from grpo_jax.data import Problem, Split
from grpo_jax.sampling import JaxEngine
from grpo_jax.training.abstract_inputs import abstract_inputs, abstract_policy_weights, scored, scores_per_minibatch
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.requests import evaluation_request, training_request

UPDATE, ARMS = "update", "arms"
PROGRAMS = 4  # compiled at a time, at most
FROM_CACHE = 1.0  # seconds: a program that takes less comes from the cache, or is compiled as quickly

Due: TypeAlias = tuple[str, Any, tuple[Any, ...]]  # the name to wait by, a program, and its inputs' shapes


@contextmanager
def compiling_ahead(
    experiment: Experiment, problems: Mapping[Split, Sequence[Problem]], *, continued: bool = False
) -> Iterator[Callable[[str], None]]:
    """Compile the programs of a step in other threads, and yield a function that waits for the programs of a name.

    The name of a split stands for its sampler of whole batches, `UPDATE` for all that follows the sampling of a step,
    and `ARMS` for the gradient's arms. When a program is called with arrays of the same shapes, JAX finds what was
    compiled here. The yielded function raises an error if compiling failed, and returns the compilers' memory to the
    system.

    Few steps measure the arms. If the other programs come from the cache, the first step is near, and compiling the
    program of the arms would delay it. In that case it is compiled after the update's has been waited for.

    Args:
      problems: those of each split that is sampled.
      continued: whether the run trains at once, and does not evaluate the base policy first.
    """
    # Python runs one thread at a time, so one traces all programs, in the order in which they are needed.
    tracer, compiler = ThreadPoolExecutor(1, "trace"), ThreadPoolExecutor(PROGRAMS, "compile")
    first_step: Future[None] = Future()

    def compiled(program: Any, inputs: tuple[Any, ...]) -> Future[float]:
        return compiler.submit(_compile, program.lower(*inputs))

    def arms(others: Sequence[Future[Future[float]]]) -> Future[float]:
        if max(one.result().result() for one in others) < FROM_CACHE:
            first_step.result()
        return compiled(*_arms(experiment))

    def start() -> Mapping[str, Sequence[Future[Future[float]]]]:
        due = [*_samplers(experiment, problems), *_updates(experiment)]
        by_name, made = defaultdict(list), dict[tuple[Any, ...], Future[Future[float]]]()
        for name, program, inputs in reversed(due) if continued else due:
            same = (program, *jax.tree.leaves(inputs))  # splits may share a sampler
            if same not in made:
                made[same] = tracer.submit(compiled, program, inputs)
            by_name[name].append(made[same])
        if experiment.config.logging.arms_every:
            by_name[ARMS].append(tracer.submit(arms, list(made.values())))
        return by_name

    started = tracer.submit(start)

    @cache
    def wait(name: str) -> None:
        for one in started.result().get(name, ()):
            one.result().result()
        if name == UPDATE:
            first_step.set_result(None)
        _return_freed_memory()

    try:
        yield wait
    finally:
        first_step.cancel()
        for pool in (tracer, compiler):
            pool.shutdown(wait=False, cancel_futures=True)


def _samplers(experiment: Experiment, problems: Mapping[Split, Sequence[Problem]]) -> Iterator[Due]:
    """Yield the samplers of whole batches, in the order in which a new run needs them."""
    config, engine, width = experiment.config, experiment.engine, experiment.task.max_prompt_tokens
    if not isinstance(engine, JaxEngine):
        return
    inputs, trained = abstract_inputs(experiment.samplers, config, width), abstract_policy_weights(experiment.samplers)
    for split in (Split.TEST, Split.VALIDATION, Split.TRAIN):
        if split not in problems:
            continue
        training = split is Split.TRAIN
        request = training_request(config, step=1) if training else evaluation_request(config, split)
        number = config.rollout.prompts_per_step if training else len(problems[split])
        size = request.prompts_per_batch
        if program := engine.whole(request, number, width):
            batch = jax.tree.map(lambda leaf, size=size: leaf.update(shape=(size, *leaf.shape[1:])), inputs.prompts)
            yield split.name, program, (inputs.weights if training else trained, batch, inputs.counter)


def _updates(experiment: Experiment) -> Iterator[Due]:
    """Yield what follows the sampling of a step: the update, and the scorer if one is needed."""
    programs, config = experiment.programs, experiment.config
    inputs = abstract_inputs(programs, config, experiment.task.max_prompt_tokens)
    yield UPDATE, programs.update, (inputs.state, scored(inputs.batch, config))
    if scores_per_minibatch(config):
        yield UPDATE, programs.logprobs, (inputs.state.params, inputs.batch)


def _arms(experiment: Experiment) -> tuple[Any, tuple[Any, ...]]:
    programs, config = experiment.programs, experiment.config
    inputs = abstract_inputs(programs, config, experiment.task.max_prompt_tokens)
    return programs.arms, (inputs.state.params, scored(inputs.batch, config))


def _compile(lowered: Any) -> float:
    """Return how many seconds it took to compile a program, or to load it from the cache."""
    began = time.monotonic()
    lowered.compile()
    return time.monotonic() - began


def _return_freed_memory() -> None:
    """Return memory that the compilers have freed from glibc to the system: 1 GB for a model of 60M parameters."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
