"""Learning rates for paper.py, chosen on the validation split with seeds that no other study uses.

    python launch/study.py --study=configs/studies/learning_rates.py --workdir=studies/learning_rates

76,800 rollouts each. Cost on two cores: about a quarter of an hour.
"""


def get_study():
    """Return the study."""
    pairs = {"config": "configs/two_grpo.py"}
    sixteen = {"config": "configs/grpo_16.py"}
    rate, often = "optimizer.learning_rate", {"evaluation.every": 20}
    return {
        "question": "Which learning rates do 2-GRPO and 16-GRPO want?",
        "seeds": (11, 12),
        "baseline": "2-GRPO, 2e-4",
        "matched": "rollouts",
        "comparisons": {"rollouts": (6400, 19200, 38400, 76800)},
        "targets": (0.7, 0.9),
        "shared": {"evaluation.test_problems": 128},
        "arms": {
            "2-GRPO, 1e-4": {**pairs, "overrides": {rate: 1e-4, **often}},
            "2-GRPO, 2e-4": {**pairs, "overrides": {**often}},
            "2-GRPO, 4e-4": {**pairs, "overrides": {rate: 4e-4, **often}},
            "16-GRPO, 4e-4": {**sixteen, "overrides": {rate: 4e-4}},
            "16-GRPO, 8e-4": {**sixteen, "overrides": {}},
            "16-GRPO, 1.6e-3": {**sixteen, "overrides": {rate: 1.6e-3}},
        },
    }
