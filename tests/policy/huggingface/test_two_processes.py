"""Two processes, as on two hosts: each reads what its device needs, one writes, and both hear of a failure."""

import socket

import pytest
from safetensors.numpy import load_file

from tests.helpers import start
from tests.policy.huggingface.checkpoints import random_tensors, write


@pytest.mark.slow
def test_each_reads_its_half_and_the_first_writes(tmp_path):
    tensors = random_tensors("qwen2")
    source = write(tmp_path / "source", "qwen2", tensors)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    script, environment = "tests/policy/huggingface/one_of_two.py", {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    processes = [
        start(script, port, str(process), str(source), str(tmp_path / "target"), **environment) for process in range(2)
    ]
    told = [process.communicate() for process in processes]
    assert not any(process.returncode for process in processes), told
    whole = sum(tensor.size for tensor in tensors.values())
    for out, _ in told:
        lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith(("elements", "refused"))]
        assert [kind for kind, _ in lines] == ["elements", "elements", "refused"]
        assert all(whole / 2 <= int(size) < 0.6 * whole for _, size in lines[:2])  # vectors of a head are not cut
        assert lines[2][1].startswith("/proc/nowhere: cannot be written")
    for scan in range(2):
        written = [load_file(file) for file in (tmp_path / "target" / f"scan{scan}").glob("*.safetensors")]
        assert len(written) > 2
        again = {key: tensor.tobytes() for part in written for key, tensor in part.items()}
        assert again == {key: tensor.tobytes() for key, tensor in tensors.items()}
