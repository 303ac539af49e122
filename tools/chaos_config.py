"""The run that tools/chaos.py disturbs: tiny, and with a verifier process that every verdict needs.

The task is that of configs/two_grpo.py, with one operation. The last value of a completion is compared with the answer
by the processes that compare mathematical answers.
"""

from collections import Counter
from collections.abc import Sequence

from ml_collections import ConfigDict

from grpo_jax.config import ModularExpressionsConfig, with_defaults
from grpo_jax.data.tasks import ModularExpressions
from grpo_jax.rewards import Attempt, Verdict
from grpo_jax.rewards.mathematics.pool import Pool


class Compared:
    """A reward whose verdicts come from a worker."""

    def __init__(self) -> None:
        self.unscored: Counter[str] = Counter()
        self._pool = Pool(workers=1, seconds=10.0, memory_mb=2048)

    def judge(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        values = [attempt.completion.rpartition("=")[2] for attempt in attempts]
        outcomes = self._pool.outcomes([(attempt.gold, value) for attempt, value in zip(attempts, values, strict=True)])
        rights = [attempt.stopped and outcome == "right" for attempt, outcome in zip(attempts, outcomes, strict=True)]
        return [Verdict(float(right), value, right=right) for right, value in zip(rights, values, strict=True)]

    def warm(self) -> None:
        self._pool.warm()

    def close(self) -> None:
        self._pool.close()


class OneOperation(ModularExpressions):
    """`3*4=` is 2."""

    def __init__(self) -> None:
        super().__init__(
            ModularExpressionsConfig("modular_expressions", operations=1, operators="+-*", train_problems=40)
        )
        self.reward = Compared()


def get_config() -> ConfigDict:
    """Return the configuration."""
    return with_defaults(
        {
            "task": {"name": "own", "factory": "chaos_config:OneOperation"},
            "model": {
                "architecture": {
                    "embed_dim": 16,
                    "num_layers": 1,
                    "num_heads": 4,
                    "num_kv_heads": 2,
                    "head_dim": 8,
                    "mlp_dim": 32,
                    "qk_norm": True,
                    "tied_head": True,
                },
            },
            "warm_start": {
                "full_steps": 40,
                "skip_steps": 10,
                "batch_size": 32,
                "full_learning_rate": 1e-2,
                "checkpoint_every": 10,
            },
            "rollout": {"prompts_per_step": 8, "prompts_per_batch": 8, "max_new_tokens": 4},
            "optimizer": {"learning_rate": 2e-4},
            "train": {"steps": 40},
            "evaluation": {
                "every": 10,
                "validation_problems": 8,
                "validation_samples": 2,
                "test_problems": 8,
                "test_samples": 2,
                "prompts_per_batch": 8,
                "bootstrap": 20,
            },
            "checkpoint": {"every": 5, "keep_best": 0},
        }
    )
