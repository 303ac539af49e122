"""Objectives on pairs: online DPO, IPO, SimPO and RLOO against 2-GRPO.

    python launch/study.py --study=configs/studies/objectives.py --workdir=studies/objectives

38,400 rollouts, all at the learning rate that was chosen for 2-GRPO. Adam removes a constant factor of the gradient,
and the gradient's norm is not clipped, so the arms differ only in how they weight each pair. Cost on two cores: about
ten minutes.
"""

import unclipped_pairs


def get_study():
    """Return the study."""
    names = {"RLOO": "rloo", "online DPO": "online_dpo", "IPO": "ipo", "SimPO": "simpo"}
    return unclipped_pairs.against_two_grpo(
        "Is 2-GRPO more than online preference learning on valid pairs?",
        {name: {"objective.name": key} for name, key in names.items()},
    )
