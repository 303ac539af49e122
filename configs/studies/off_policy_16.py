"""Groups of sixteen from the newest policy against groups from one that is a step or two older; see off_policy.py.

    python launch/study.py --study=configs/studies/off_policy_16.py --workdir=studies/off_policy_16

docs/findings.md has the result. Cost on two cores: about a quarter of an hour.
"""

import off_policy


def get_study():
    """Return the study."""
    return off_policy.study("configs/grpo_16.py", {"evaluation.every": 5, "checkpoint.every": 50})
