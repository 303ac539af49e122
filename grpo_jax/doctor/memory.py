"""Checks of the memory that the programs of a step need on the present devices, as their compiler reports it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import jax

from grpo_jax.config import Config
from grpo_jax.doctor.findings import Check, Finding, error, note
from grpo_jax.planning.memory import sample_memory, update_memory
from grpo_jax.planning.plan import advice, peak_bytes
from grpo_jax.training.abstract_inputs import abstract_inputs, scored
from grpo_jax.training.experiment import Experiment

UNITS: Mapping[str, int] = {"GiB": 2**30, "MiB": 2**20}


@dataclass(frozen=True)
class Needs:
    """The peak memory of each program on a device, and what the device has."""

    config: Config
    peaks: Mapping[str, int]  # bytes
    limit: int | None  # bytes; None: the device does not say


def needs_of(experiment: Experiment) -> Needs:
    """Compile the programs of a step, and return the memory that they need.

    If a server samples, there is no sampler to compile.
    """
    config, programs, rollout = experiment.config, experiment.programs, experiment.config.rollout
    longest = experiment.task.max_prompt_tokens
    inputs = abstract_inputs(programs, config, longest)
    update = programs.update.lower(inputs.state, scored(inputs.batch, config)).compile()  # type: ignore[attr-defined]
    peaks = {"update": update_memory(peak_bytes(update), inputs, config).peak}
    if rollout.engine is None:
        samplers, sampling = experiment.samplers, experiment.samplers.sampling
        given = abstract_inputs(samplers, config, longest)
        lanes = sampling.lanes(rollout.prompts_per_step, rollout.prompts_per_batch, rollout.group_size, longest)
        sampler = sampling.whole(rollout.sampling, rollout.group_size, rollout.noise, lanes)
        sample = sampler.lower(given.weights, given.prompts, given.counter, *given.earlier).compile()  # type: ignore[attr-defined]
        own = peak_bytes(sample)  # all that devices hold if they only sample
        architecture = programs.policy.architecture
        shared = samplers is programs
        peaks["sample"] = sample_memory(own, inputs, config, architecture, lanes).peak if shared else own
    return Needs(config, peaks, _limit(programs.mesh.local_devices))


def _limit(devices: Sequence[jax.Device]) -> int | None:
    """Return the memory of the smallest device, in bytes. The devices of a CPU share that of the machine."""
    if devices[0].platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(devices)
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
    return min((limit for limit in limits if limit is not None), default=None)


def _fits(n: Needs) -> Iterator[Finding]:
    too_large = [name for name, peak in n.peaks.items() if n.limit is not None and peak > n.limit]
    needed = " and ".join(f"{_size(peak)} to {name}" for name, peak in n.peaks.items())
    there = "an unknown amount" if n.limit is None else _size(n.limit)
    if too_large:
        yield error(
            f"mesh: a device needs {needed}, and has {there}; change {'; or '.join(advice(n.config, too_large))}."
        )
    else:
        yield note(f"A device needs {needed}, and has {there}.")


def _size(number: int) -> str:
    name, unit = next(((name, unit) for name, unit in UNITS.items() if number >= unit), ("bytes", 1))
    return f"{number / unit:,.3g} {name}"


CHECKS: Sequence[Check[Needs]] = (Check("whether a step fits into memory", _fits),)
