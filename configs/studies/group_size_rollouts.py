"""Groups of 2, 4, 8 and 16 with equally many rollouts.

    python launch/study.py --study=configs/studies/group_size_rollouts.py --workdir=studies/group_size_rollouts

38,400 rollouts, from 19,200, 9,600, 4,800 and 2,400 prompts. Cost on two cores: about a quarter of an hour.
"""

import group_sizes


def get_study():
    """Return the study."""
    return {
        "question": "Which group size learns most from as many rollouts?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "G = 16",
        "matched": "rollouts",
        "comparisons": {"rollouts": (4800, 9600, 19200, 38400)},
        "targets": (0.7, 0.9),
        "shared": {},
        "arms": group_sizes.arms(rollouts=38400),
    }
