"""The environment of a plan."""

import subprocess
import sys

from tests.helpers import ROOT


def test_the_environment_is_prepared_before_jax_is_there():
    """libtpu and JAX read the environment when they are imported."""
    program = "import sys, grpo_jax.commands.plan; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
