"""Hard prompts: only a full derivation is right, and the base policy writes one in about thirty completions (.030).

    python launch/study.py --study=configs/studies/hard_prompts.py --workdir=studies/hard_prompts

The paper's Proposition 5.4: with the same number of rollouts, pairs see more prompts, and the chance that some rollout
is right is the same. 38,400 rollouts. Cost on two cores: about ten minutes.
"""

import group_sizes


def get_study():
    """Return the study."""
    return {
        "question": "Do pairs fail where right completions are rare?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "G = 16",
        "matched": "rollouts",
        "comparisons": {"rollouts": (4800, 9600, 19200, 38400)},
        "targets": (0.7, 0.9),
        "shared": {"task.right": "derivation"},
        "arms": group_sizes.arms(rollouts=38400, evaluations=40),
    }
