"""How the tests compile: quickly, and once for all their processes. Imports nothing that imports JAX."""

from importlib.metadata import version
from pathlib import Path

# Tests compile many programs and run each for a moment. LLVM without optimization compiles them in two thirds of the
# time, and XLA's older emitters, which jaxlib had until 0.10, in a quarter of it. These programs are too small to be
# cut into parts that are compiled by several threads: that costs a third more.
OLDER_EMITTERS = tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11)
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false" * OLDER_EMITTERS

# All processes share what one has compiled.
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent.parent / ".pytest_cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
