"""Prompts selected by their chance of a signal, with and without weights that keep the gradient unbiased.

    python launch/study.py --study=configs/studies/selection.py --workdir=studies/selection

38,400 rollouts of 2,048 problems. "weighted" samples one of four candidates, and "weighted, 16" one of sixteen, with
chances that are proportional to sqrt(2p(1-p) / tokens) above a floor; each pair weighs the inverse of its prompt's
chance. "biased" has the same chances and no weights. The two differ only in the bias, and both differ from 2-GRPO in
the variance. "skipping" is the rule of GRESO with a fixed chance: no weights either. (DAPO's filter, which resamples
after the fact, spends more rollouts; resampling.py compares it at equal updates.) The gradient's norm is not clipped,
because clipping would cut pairs of large weight.
"""

import unclipped_pairs


def get_study():
    """Return the study."""
    weighted = {"rollout.selection.name": "weighted"}
    return unclipped_pairs.against_two_grpo(
        "Does it pay to sample prompts by their chance of a signal, and what do the weights that remove its bias cost?",
        {
            "weighted": weighted,
            "weighted, 16": {**weighted, "rollout.selection.candidates": 16},
            "biased": {**weighted, "rollout.selection.unbiased": False},
            "skipping": {"rollout.selection.name": "skipping"},
        },
        unclipped_pairs.FEW_PROBLEMS,
    )
