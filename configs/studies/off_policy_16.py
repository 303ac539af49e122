"""Groups of sixteen from the newest policy against groups from one that is a step or two older; see off_policy.py.

    python launch/study.py --study=configs/studies/off_policy_16.py --workdir=studies/off_policy_16

It has not been run; docs/findings.md has the result of off_policy.py.
"""

import off_policy


def get_study():
    """Return the study."""
    return off_policy.study("configs/grpo_16.py", {"evaluation.every": 5, "checkpoint.every": 50})
