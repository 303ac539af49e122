"""Pairs from the policy that learns against pairs from its copy with weights in int8.

    python launch/study.py --study=configs/studies/quantised.py --workdir=studies/quantised

The copy is made anew for every step. The ratio is then to the trainer's policy, and each token is weighed by its
probability under that policy, divided by the copy's, at most 2 (docs/objectives.md). Evaluations sample from the policy
itself in both arms. There is no arm without these weights, because such a run is refused. 38,400 rollouts. Cost on two
cores: about ten minutes.
"""

WEIGHTS = {"objective.old_logprobs": "trainer", "objective.importance_cap": 2.0}


def get_study():
    """Return the study."""
    return {
        "question": "What is lost if completions are sampled from weights in int8?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "float32",
        "matched": "rollouts",
        "comparisons": {"rollouts": (6400, 12800, 25600, 38400)},
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 600, "evaluation.every": 20},
        "arms": {
            "float32": {"config": "configs/two_grpo.py", "overrides": {}},
            "int8": {"config": "configs/two_grpo.py", "overrides": {"rollout.quantization": "int8", **WEIGHTS}},
        },
    }
