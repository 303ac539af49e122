"""TPU chips and GPUs: their published figures, and the compilers' view of machines that are not there."""

import importlib.metadata
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grpo_jax.config import ConfigError
from grpo_jax.json_record import JsonRecord
from grpo_jax.planning.gpus import TARGETS, target_config

TPU_RESERVED = 256 * 2**20  # bytes: v5e's compiler stops at 15.75 GiB
GPU_RESERVED = 3 * 2**30  # bytes for CUDA's context and the buffers of its libraries: an assumption


@dataclass(frozen=True)
class Chip(JsonRecord):
    """One TPU chip or GPU."""

    name: str
    platform: str  # JAX's name
    flops: float  # the peak of bfloat16 operations per second
    hbm: int  # bytes
    reserved: int  # bytes of HBM that programs cannot use
    link_bandwidth: float  # bytes per second in each direction, over one link of a TPU or all links of a GPU
    links: int  # that a ring uses at once
    flops_per_cycle: int = 0  # of all matrix units; 0: the compiler estimates no cycles, and HBM's bandwidth is needed
    hbm_bandwidth: float = 0.0  # bytes per second
    node: int = 0  # how many chips the links join; 0: all of them
    network_bandwidth: float = 0.0  # of a chip's share of the network between nodes, in each direction

    @property
    def clock(self) -> float:
        """The cycles per second, as the peak and the matrix units imply."""
        return self.flops / self.flops_per_cycle

    def ring_bandwidth(self, members: Sequence[int]) -> float:
        """Return the bytes per second that pass each place of a ring over these chips, which are numbered by node."""
        linked = self.link_bandwidth * min(self.links, len(members) - 1)
        nodes = len({member // self.node for member in members}) if self.node else 1
        return linked if nodes == 1 else min(linked, self.network_bandwidth * len(members) / nodes)


def _tpu(name: str, flops: float, gib: int, link: float, flops_per_cycle: int) -> Chip:
    return Chip(name, "tpu", flops, gib * 2**30, TPU_RESERVED, link, links=2, flops_per_cycle=flops_per_cycle)


def _gpu(name: str, flops: float, hbm: int, bandwidth: float, links: float, network: float) -> Chip:
    return Chip(
        name, "gpu", flops, hbm, GPU_RESERVED, links, links=1, hbm_bandwidth=bandwidth, network_bandwidth=network
    )


# TPUs. Peaks and HBM: cloud.google.com/tpu/docs/v5e, /v5p and /v6e. Links: jax-ml.github.io/scaling-book, chapter 2.
# Matrix units: 4 of 128 x 128 per core, with one core (v5e) or two (v5p); v6e does 2^19 operations a cycle at 1.75 GHz.
# GPUs, the SXM modules. Peaks without sparsity, bandwidths and NVLink: NVIDIA's data sheets of the A100 80GB, the H100
# and the H200. HBM: as CUDA reports it, from the target configs of XLA. Network: eight cards for eight GPUs, of 200
# Gb/s each in a DGX A100 and of 400 Gb/s each in a DGX H100 or H200 (their user guides).
CHIPS = {
    "v5e": _tpu("v5e", 197e12, 16, 45e9, 2**17),
    "v5p": _tpu("v5p", 459e12, 95, 90e9, 2**18),
    "v6e": _tpu("v6e", 918e12, 32, 90e9, 2**19),
    "a100": _gpu("a100", 312e12, 85_100_068_864, 2.039e12, 300e9, 25e9),
    "h100": _gpu("h100", 989e12, 84_942_979_072, 3.352e12, 450e9, 50e9),
    "h200": _gpu("h200", 989e12, 151_397_597_184, 4.8e12, 450e9, 50e9),
}


@dataclass(frozen=True)
class Compiler:
    """A compiler that runs without its chips."""

    shape: str  # a pattern of what follows the chip's name in a topology
    wheels: tuple[str, ...]  # what it is installed from
    pinned: tuple[str, ...]  # those of them whose version must be jaxlib's
    options: Mapping[str, Any]


# By JAX's name of the platform. The compiler for GPUs tries kernels of Triton on a GPU before it chooses one. Without a
# GPU it must do without them.
COMPILERS = {
    "tpu": Compiler(r"[1-9]\d*(x[1-9]\d*)+", ("libtpu",), pinned=(), options={}),
    "gpu": Compiler(
        r"[1-9]\d*(x[1-9]\d*)?",  # GPUs of a node x nodes
        ("jax-cuda13-pjrt", "jax-cuda13-plugin", "nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cudnn-cu13"),
        pinned=("jax-cuda13-pjrt", "jax-cuda13-plugin"),
        options={"xla_gpu_enable_triton_gemm": False},
    ),
}

EXAMPLES = (
    "v5e:2x2 v5e:4x4 v5e:8x8 v5e:8x16 v5e:16x16 v5p:2x2x1 v5p:2x2x4 v5p:4x4x4 v6e:2x2 v6e:4x4 v6e:8x8 a100:8 h100:8 "
    "h100:8x2 h200:8"
)

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
    """Return the chip of a slice such as "v5e:8x8", or of GPUs such as "h100:8x2": two nodes of eight.

    Raises:
      ConfigError: if the chip is unknown, if the text names no topology, or if there is no compiler for it.
    """
    kind, _, shape = topology.partition(":")
    chip = CHIPS.get(kind)
    if chip is None or not re.fullmatch(COMPILERS[chip.platform].shape, shape):
        raise ConfigError(f"--topology={topology}: is unknown; name one such as {EXAMPLES}.")
    if missing := missing_wheels(chip.platform):
        raise ConfigError(f"the compiler for {kind} is not installed; on Linux x86-64: pip install {missing}")
    return replace(chip, node=int(shape.partition("x")[0])) if chip.platform == "gpu" else chip


def missing_wheels(platform: str) -> str:
    """Return what pip must install so that programs for this platform can be compiled: requirements, in a line."""
    compiler = COMPILERS[platform]
    asked = dict.fromkeys(compiler.wheels) | dict.fromkeys(compiler.pinned, importlib.metadata.version("jaxlib"))
    return " ".join(
        wheel if version is None else f"{wheel}=={version}"
        for wheel, version in asked.items()
        if (found := _installed(wheel)) is None or found != (version or found)
    )


def find(topology: str) -> tuple[Chip, list[Any]]:
    """Return the chip of a topology as in `chip_of`, and a JAX device for each of its chips.

    Raises:
      ConfigError: if there is no such topology, or no compiler for it.
    """
    chip = chip_of(topology)
    from jax.experimental import topologies

    if chip.platform == "gpu":
        nodes = topology.partition("x")[2] or "1"
        described = topologies.get_topology_desc(
            platform="cuda",
            target_config=target_config(TARGETS[chip.name], chip.hbm, chip.hbm_bandwidth),
            topology=f"1x{nodes}x{chip.node}",
        )
        return chip, list(described.devices)
    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except Exception as error:  # libtpu raises errors of several kinds, with texts as long as a page
        raise ConfigError(f"--topology={topology}: there is no such slice; name one such as {EXAMPLES}.") from error
    return chip, list(described.devices)


def _installed(wheel: str) -> str | None:
    try:
        return importlib.metadata.version(wheel)
    except importlib.metadata.PackageNotFoundError:
        return None
