"""GPUs as XLA's compiler sees them when there is none: a target config, which takes the place of a device.

Sources: "NVIDIA A100 Tensor Core GPU Architecture" and "NVIDIA H100 Tensor Core GPU Architecture" for multiprocessors,
clocks and caches; "CUDA C++ Programming Guide", technical specifications per compute capability, for all limits.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A GPU's properties that the compiler needs, beside the figures of its chip."""

    description: str  # the device's name in CUDA
    capability: tuple[int, int]
    features: str  # that are specific to the architecture
    multiprocessors: int
    float_units: int  # of each multiprocessor, for float32
    clock_ghz: float
    l2_cache: int  # bytes
    shared_memory: int  # bytes of each multiprocessor


def _hopper(description: str) -> Target:
    return Target(description, (9, 0), "ACCELERATED_FEATURES", 132, 128, 1.98, 50 * 2**20, 228 * 2**10)


TARGETS = {
    "a100": Target("NVIDIA A100-SXM4-80GB", (8, 0), "NONE", 108, 64, 1.41, 40 * 2**20, 164 * 2**10),
    "h100": _hopper("NVIDIA H100 80GB HBM3"),
    "h200": _hopper("NVIDIA H200"),
}


def target_config(target: Target, memory: int, bandwidth: float) -> str:
    """Return a GPU as XLA's GpuTargetConfigProto, in text form.

    Args:
      target: the GPU.
      memory: bytes.
      bandwidth: bytes per second.
    """
    major, minor = target.capability
    return f"""
        platform_name: "CUDA"
        device_description_str: "{target.description}"
        dnn_version_info {{ major: 9 minor: 10 }}
        gpu_device_info {{
          cuda_compute_capability {{ major: {major} minor: {minor} feature_extension: {target.features} }}
          core_count: {target.multiprocessors}
          fpus_per_core: {target.float_units}
          clock_rate_ghz: {target.clock_ghz}
          device_memory_size: {memory}
          memory_bandwidth: {bandwidth:.0f}
          l2_cache_size: {target.l2_cache}
          shared_memory_per_core: {target.shared_memory}
          shared_memory_per_block: {48 * 2**10}
          shared_memory_per_block_optin: {target.shared_memory - 2**10}
          registers_per_core_limit: {2**16}
          registers_per_block_limit: {2**16}
          threads_per_warp: 32
          threads_per_core_limit: 2048
          threads_per_block_limit: 1024
          thread_dim_limit_x: 1024
          thread_dim_limit_y: 1024
          thread_dim_limit_z: 64
          block_dim_limit_x: {2**31 - 1}
          block_dim_limit_y: {2**16 - 1}
          block_dim_limit_z: {2**16 - 1}
        }}
    """
