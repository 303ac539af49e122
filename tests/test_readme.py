"""The example of README.md works."""

import re

import jax.numpy as jnp

from grpo_jax.objectives import Outcomes, make_objective
from tests.helpers import ROOT, make_config

(BLOCK,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_objective_of_the_readme(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(BLOCK)
    monkeypatch.syspath_prepend(tmp_path)
    objective = make_objective(make_config(objective__name="mine:STRICT").objective, 2)
    outcomes = Outcomes(rewards=jnp.array([[1.0, 0.0], [0.0, 0.0]], jnp.float32), scored=jnp.ones((2, 2), bool))
    assert objective.advantages(outcomes).tolist() == [[1.0, -2.0], [0.0, 0.0]]
