"""2-GRPO with and without resampling, which replaces groups without signal, up to 512 rollouts per step.

    python launch/study.py --study=configs/studies/resampling.py --workdir=studies/resampling

Both make at most 600 updates of 32 groups. With resampling nearly all of these carry signal, and up to eight times as
many rollouts are sampled for them. So updates are matched, and the curves are also compared at equal rollouts and
prompts. A run with resampling samples about 290,000 rollouts. Cost on two cores: about a quarter of an hour.
"""


def get_study():
    """Return the study."""
    arm = {"config": "configs/two_grpo.py"}
    return {
        "question": "Is it worth sampling more prompts until every pair of an update carries signal?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "off",
        "matched": "updates",
        "comparisons": {"updates": (100, 200, 400), "rollouts": (6400, 12800, 25600, 38400), "prompts": (6400, 19200)},
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 600},
        "arms": {
            "off": {**arm, "overrides": {"evaluation.every": 20}},
            # Evaluated after about as many rollouts, since a step samples up to eight times as many.
            "on": {**arm, "overrides": {"rollout.max_rollouts": 512, "evaluation.every": 4}},
        },
    }
