"""2-GRPO with and without resampling: groups without signal replaced by fresh prompts, up to 512 rollouts a step.

    python launch/study.py --study=configs/studies/resampling.py --workdir=studies/resampling

Both make at most 300 updates of 32 groups; with resampling every one of these has signal at first, and more rollouts
are sampled for it. Curves are compared at equal rollouts too. Cost on two cores: about ten minutes.
"""


def get_study():
    """The study; see the module."""
    arm = {"config": "configs/two_grpo.py"}
    return {
        "question": "Is it worth sampling more prompts until every pair of an update carries signal?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "off",
        "matched": "rollouts",
        "comparisons": {"rollouts": (6400, 12800, 25600), "updates": (100, 200, 300)},
        "targets": (0.7, 0.9),
        "shared": {"evaluation.every": 25},
        "arms": {
            "off": {**arm, "overrides": {"train.steps": 1200}},
            "on": {**arm, "overrides": {"rollout.max_rollouts": 512, "train.steps": 300}},
        },
    }
