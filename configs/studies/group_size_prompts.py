"""Groups of 2, 4, 8 and 16 with equally many prompts.

    python launch/study.py --study=configs/studies/group_size_prompts.py --workdir=studies/group_size_prompts

4,800 prompts, and 9,600, 19,200, 38,400 and 76,800 rollouts from them. Cost on two cores: about a quarter of an hour.
"""

import group_sizes


def get_study():
    """Return the study."""
    return {
        "question": "What do more completions of the same prompts bring?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "G = 16",
        "matched": "prompts",
        "comparisons": {"prompts": (1200, 2400, 4800), "rollouts": (9600,)},
        "targets": (0.7, 0.9),
        "shared": {},
        "arms": group_sizes.arms(prompts=4800),
    }
