"""2-GRPO with its advantage divided by an estimate of sqrt(p(1-p)), which weights prompts as large groups do.

    python launch/study.py --study=configs/studies/rescaled.py --workdir=studies/rescaled

38,400 rollouts. The gradient's norm is not clipped, because clipping would undo the factor in some updates and not in
others. Cost on two cores: about five minutes.
"""

import unclipped_pairs


def get_study():
    """Return the study."""
    rescaled = {"objective.name": "two_grpo_rescaled"}
    return unclipped_pairs.against_two_grpo(
        "Does the factor 1/sqrt(p(1-p)), which pairs lack and large groups have, help pairs?",
        {"rescaled": rescaled, "rescaled, floor .2": {**rescaled, "objective.parameters.floor": 0.2}},
    )
