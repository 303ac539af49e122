"""The chips of a plan, their compilers, and the environment."""

import importlib.metadata
import subprocess
import sys
from dataclasses import replace

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.planning import chips
from grpo_jax.planning.chips import CHIPS, COMPILERS, chip_of, missing_wheels
from grpo_jax.planning.gpus import TARGETS
from tests.helpers import ROOT

JAXLIB = importlib.metadata.version("jaxlib")
ALL = dict.fromkeys(COMPILERS["gpu"].wheels, JAXLIB)


def test_the_environment_is_prepared_before_jax_is_there():
    """libtpu and JAX read the environment when they are imported."""
    program = "import sys, grpo_jax.commands.plan; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_every_gpu_has_a_target():
    assert set(TARGETS) == {name for name, chip in CHIPS.items() if chip.platform == "gpu"}


@pytest.mark.parametrize(
    ("installed", "asked"),
    [
        (ALL, ""),
        (ALL | {"nvidia-nvvm": "13.1"}, ""),
        ({name: version for name, version in ALL.items() if name != "nvidia-nvvm"}, "nvidia-nvvm"),
        (ALL | {"jax-cuda13-plugin": "0.1"}, f"jax-cuda13-plugin=={JAXLIB}"),
        (
            {},
            f"jax-cuda13-pjrt=={JAXLIB} jax-cuda13-plugin=={JAXLIB} nvidia-cuda-nvcc nvidia-nvvm nvidia-cudnn-cu13",
        ),
    ],
)
def test_what_must_be_installed_for_gpus(installed, asked, monkeypatch):
    monkeypatch.setattr(chips, "_installed", installed.get)
    assert missing_wheels("gpu") == asked
    if asked:
        with pytest.raises(ConfigError, match=f"the compiler for h100 is not installed; .*: pip install {asked}$"):
            chip_of("h100:8")
    else:
        assert chip_of("h100:8x2").node == 8


@pytest.mark.parametrize(
    ("chip", "members", "bandwidth"),
    [
        (CHIPS["v5e"], range(2), 45e9),  # one link
        (CHIPS["v5e"], range(4), 90e9),  # both directions of a ring
        (replace(CHIPS["h100"], node=8), range(8), 450e9),
        (replace(CHIPS["h100"], node=8), (0, 8), 50e9),  # each through one network card
        (replace(CHIPS["h100"], node=8), range(16), 400e9),  # eight cards at once
        (replace(CHIPS["a100"], node=8), range(4, 12), 100e9),
    ],
)
def test_a_ring_is_as_fast_as_its_slowest_part(chip, members, bandwidth):
    assert chip.ring_bandwidth(tuple(members)) == bandwidth
