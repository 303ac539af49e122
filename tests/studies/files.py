"""Study files that tests write."""

from pathlib import Path

from grpo_jax.studies import Study, load_study
from tests.helpers import TINY

ARMS = {
    "2-GRPO": {"config": "configs/two_grpo.py", "overrides": {"logging.tensorboard": False}},
    "G = 4": {
        "config": "configs/two_grpo.py",
        "overrides": {"objective.name": "grpo", "rollout.group_size": 4, "train.microbatch_groups": 2},
    },
}
STUDY = {
    "question": "Does it run?",
    "seeds": (0, 1),
    "baseline": "2-GRPO",
    "matched": "prompts",
    "comparisons": {"prompts": (64, 96), "seconds": (1.5,)},
    "targets": (0.5,),
    "shared": TINY,
    "arms": ARMS,
}


def write(directory: Path, **changes: object) -> Path:
    """Write a tiny study file. `changes` replace its fields; None leaves one out."""
    values = {name: value for name, value in (STUDY | changes).items() if value is not None}
    path = directory / "tiny.py"
    path.write_text(f"def get_study():\n    return {values!r}\n")
    return path


def make(directory: Path, **changes: object) -> Study:
    return load_study(write(directory, **changes))


def arms(**overrides: object) -> dict[str, object]:
    """Return the two arms, with more overrides of the second; `__` stands for dots."""
    changes = {field.replace("__", "."): value for field, value in overrides.items()}
    second = {**ARMS["G = 4"], "overrides": {**ARMS["G = 4"]["overrides"], **changes}}
    return {**ARMS, "G = 4": second}
