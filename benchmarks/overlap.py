"""Measure how much of the host's work passes while the devices sample, on several processes of this machine.

    python benchmarks/overlap.py [--processes=2] [--batches=6] [--repetitions=10] [--config.FIELD=VALUE ...]

A fresh policy samples a request of `--batches` batches on a device of each process, in turn without any work of the
host, and with a wait after each batch that is as long as sampling a batch takes, as for rewards from a server. If work
and sampling wait for each other, the second takes as long as sampling and all waits together. At best every wait but
the last overlaps with the sampling of the next batch.

Prints the medians of the milliseconds, and the share of the time that could overlap that did: its median and quartiles,
as the first process sees them. It is below 0 if the second takes even longer than sampling and waits one after another.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from alternation import several
from fresh_policy import built

from grpo_jax.config import command_line
from grpo_jax.data import Split, encode_prompts
from grpo_jax.processes import of_first
from grpo_jax.training.requests import training_request

CONFIG = Path(__file__).parent.parent / "configs" / "two_grpo.py"


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--repetitions", type=several, default=10)
    parser.add_argument("--join", nargs=2, metavar=("ADDRESS", "PROCESS"), help=argparse.SUPPRESS)
    arguments = command_line.parse(parser, argv)
    if arguments.join:
        address, process = arguments.join
        jax.distributed.initialize(address, arguments.processes, int(process))
        measure(parser, arguments)
        return 0
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    environment = {**os.environ, "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    processes = [
        subprocess.Popen([sys.executable, __file__, *argv, "--join", address, str(index)], env=environment)
        for index in range(arguments.processes)
    ]
    return max(process.wait() for process in processes)


def measure(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Sample in turn without work of the host and with it. Print what the first process measures."""
    experiment = built(parser, arguments)
    config, programs, task, engine = experiment.config, experiment.programs, experiment.task, experiment.engine
    engine.load(programs.sampling_weights(programs.adapt(programs.init_params(jax.random.key(0)))), version=0)
    at_once = config.rollout.prompts_per_batch
    prompts = encode_prompts(task, task.problems(Split.TRAIN, arguments.batches * at_once))

    def sampled(step: int, wait: float) -> float:
        of_first(None)  # all begin together
        began = time.perf_counter()
        for _ in engine.sample(prompts, training_request(config, step)):
            time.sleep(wait)
        return time.perf_counter() - began

    sampled(0, 0.0)  # compiles
    wait = of_first(statistics.median(sampled(0, 0.0) for _ in range(3))) / arguments.batches
    pairs = [(sampled(step, 0.0), sampled(step, wait)) for step in range(arguments.repetitions)]
    if jax.process_index() == 0:
        without, with_work = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
        low, middle, high = statistics.quantiles(
            (alone + arguments.batches * wait - both) / overlapping(alone, wait, arguments.batches)
            for alone, both in pairs
        )
        print(f"{arguments.batches} batches of {at_once} prompts, waits of {1e3 * wait:.0f} ms")
        print(
            f"{without:.0f} ms without, {with_work:.0f} with; {100 * middle:.0f} % overlap, quartiles "
            f"{100 * low:.0f} % and {100 * high:.0f} %"
        )


def overlapping(alone: float, wait: float, batches: int) -> float:
    """Return the seconds of sampling and waiting that overlap at best.

    Args:
      alone: seconds of sampling all batches.
      wait: seconds after each batch.
    """
    return (batches - 1) * min(alone / batches, wait)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
