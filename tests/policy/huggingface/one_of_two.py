"""One of two processes with a device each: loads a checkpoint onto both, writes it out, and says what it saw.

python one_of_two.py PORT PROCESS SOURCE TARGET
"""

import sys
from pathlib import Path

import jax

from grpo_jax.config import ConfigError, MeshConfig, ModelConfig
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import load_checkpoint, read_architecture, save_checkpoint
from grpo_jax.policy.huggingface.tensor_files import Tensor
from grpo_jax.sharding import make_mesh, tree_named


def main() -> None:
    port, process, source, target = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=process)
    mesh = make_mesh(MeshConfig(1, 2, 1))
    for scan_layers in (False, True):
        policy = Policy(read_architecture(source), ModelConfig(scan_layers=scan_layers), mesh)
        read, sizes = Tensor.read, []
        Tensor.read = lambda *args, read=read, sizes=sizes: sizes.append(found := read(*args)) or found
        params = load_checkpoint(source, policy, tree_named(mesh, policy.shapes(), policy.logical_axes()))
        Tensor.read = read
        print("elements", sum(box.size for box in sizes))
        save_checkpoint(target / f"scan{int(scan_layers)}", policy, params, source, "float32", shard_bytes=6000)
    try:
        save_checkpoint(Path("/proc/nowhere"), policy, params, source, "float32")
    except ConfigError as error:
        print("refused", error)


if __name__ == "__main__":
    main()
