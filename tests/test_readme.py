"""What README.md shows can be done as it stands there."""

import re
import runpy

import jax.numpy as jnp

from tests.helpers import ROOT, make_config

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_objective_of_the_readme(tmp_path):
    """Its two blocks, put where the text says."""
    definition, entry = BLOCKS
    source = (ROOT / "grpo_jax" / "objectives" / "objective.py").read_text()
    table = re.search(r"^OBJECTIVES: .* = {\n", source, re.MULTILINE)
    changed = source[: table.start()] + definition + "\n\n" + table.group() + entry + source[table.end() :]
    (tmp_path / "objective.py").write_text(changed)
    make_objective = runpy.run_path(str(tmp_path / "objective.py"))["make_objective"]
    objective = make_objective(make_config(objective__name="cautious").objective)
    rewards = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    assert objective.advantages(rewards, jnp.ones((2, 2), bool)).tolist() == [[1.0, -2.0], [0.0, 0.0]]
