"""TPU chips and slices: their published figures, and the compiler's view of a slice that is not there."""

import importlib.util
import os
import re
from dataclasses import dataclass
from typing import Any

from grpo_jax.config import ConfigError
from grpo_jax.json_record import JsonRecord

RESERVED = 256 * 2**20  # bytes of HBM that programs cannot use: v5e's compiler stops at 15.75 GiB


@dataclass(frozen=True)
class Chip(JsonRecord):
    """One TPU chip."""

    name: str
    flops: float  # the peak of bfloat16 operations per second
    hbm: int  # bytes
    link_bandwidth: float  # bytes per second over one link between chips, in each direction
    flops_per_cycle: int  # of all matrix units
    reserved: int  # bytes of HBM that programs cannot use

    @property
    def clock(self) -> float:
        """The cycles per second, as the peak and the matrix units imply."""
        return self.flops / self.flops_per_cycle


# Peaks and HBM: cloud.google.com/tpu/docs/v5e, /v5p and /v6e. Links: jax-ml.github.io/scaling-book, chapter 2.
# Matrix units: 4 of 128 x 128 per core, with one core (v5e) or two (v5p); v6e does 2^19 operations a cycle at 1.75 GHz.
CHIPS = {
    "v5e": Chip("v5e", 197e12, 16 * 2**30, 45e9, 2**17, RESERVED),
    "v5p": Chip("v5p", 459e12, 95 * 2**30, 90e9, 2**18, RESERVED),
    "v6e": Chip("v6e", 918e12, 32 * 2**30, 90e9, 2**19, RESERVED),
}

EXAMPLES = "v5e:2x2 v5e:4x4 v5e:8x8 v5e:8x16 v5e:16x16 v5p:2x2x1 v5p:2x2x4 v5p:4x4x4 v6e:2x2 v6e:4x4 v6e:8x8"

# Without these, libtpu looks for a TPU. JAX must compute on the CPU.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_MIN_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def prepare_environment() -> None:
    """Set the environment variables for a plan. Call this before JAX is imported."""
    os.environ.update(ENVIRONMENT)


def chip_of(topology: str) -> Chip:
    """Return the chip of a slice such as "v5e:8x8".

    Raises:
      ConfigError: if the chip is unknown, if the text names no slice, or if there is no compiler for it.
    """
    kind, _, shape = topology.partition(":")
    if kind not in CHIPS or not re.fullmatch(r"\d+(x\d+)+", shape):
        raise ConfigError(f"--topology={topology}: is unknown; name one such as {EXAMPLES}.")
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError("libtpu, the TPU compiler, is not installed; on Linux x86-64: pip install libtpu")
    return CHIPS[kind]


def find(topology: str) -> tuple[Chip, list[Any]]:
    """Return the chip of a slice such as "v5e:8x8", and a JAX device for each of its chips.

    Raises:
      ConfigError: if there is no such slice, or no compiler for it.
    """
    chip = chip_of(topology)
    from jax.experimental import topologies

    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except Exception as error:  # libtpu raises errors of several kinds, with texts as long as a page
        raise ConfigError(f"--topology={topology}: there is no such slice; name one such as {EXAMPLES}.") from error
    return chip, list(described.devices)
