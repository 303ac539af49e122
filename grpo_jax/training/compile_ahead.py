"""Compile the programs of the update while the main thread makes, loads or evaluates a policy."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from grpo_jax.training.experiment import Experiment
from grpo_jax.training.programs import abstract_inputs, scored, scores_per_minibatch


@contextmanager
def compiling_ahead(experiment: Experiment) -> Iterator[Callable[[], None]]:
    """Compile what follows the sampling of a step, in other threads, and yield a function that waits for it.

    JAX finds what was compiled for some shapes when it calls the program with arrays of these shapes. If compiling
    fails, the yielded function raises the error.
    """
    config, programs = experiment.config, experiment.programs

    def compile_update() -> None:
        inputs = abstract_inputs(programs, config, experiment.task.max_prompt_tokens)
        programs.update.lower(inputs.state, scored(inputs.batch, config)).compile()  # type: ignore[attr-defined]

    def compile_logprobs() -> None:
        inputs = abstract_inputs(programs, config, experiment.task.max_prompt_tokens)
        programs.logprobs.lower(inputs.state.params, inputs.batch).compile()  # type: ignore[attr-defined]

    def compile_arms() -> None:
        inputs = abstract_inputs(programs, config, experiment.task.max_prompt_tokens)
        batch = scored(inputs.batch, config)
        programs.arms.lower(inputs.state.params, batch).compile()  # type: ignore[attr-defined]

    due = [compile_update]
    due += [compile_logprobs] * bool(scores_per_minibatch(config))
    due += [compile_arms] * bool(config.logging.arms_every)
    pool = ThreadPoolExecutor(len(due), "compile")
    started = [pool.submit(one) for one in due]

    def wait() -> None:
        for one in started:
            one.result()

    try:
        yield wait
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
