"""Pairs whose shared prefix carries no gradient, with one and with four updates per batch.

    python launch/study.py --study=configs/studies/prefix_credit.py --workdir=studies/prefix_credit

38,400 rollouts. With one update per batch the prefix cancels, except for a remainder where the two lengths differ
(2-GRPO divides by a completion's length). With four updates, the clip leaves a remainder, too
(grpo_jax/objectives/credit.py). Both are removed. Under "sum" and with one update there is no remainder, so no arm
tests that. With four updates a batch of 32 pairs gives four updates of 8 pairs each.
"""

import unclipped_pairs


def get_study():
    """Return the study."""
    after_prefix, four = {"objective.credit": "after_prefix"}, {"train.minibatches": 4}
    return unclipped_pairs.against_two_grpo(
        "Do pairs learn better if the tokens with which both completions begin carry no gradient?",
        {"after the prefix": after_prefix, "4 updates": four, "4 updates, after the prefix": {**four, **after_prefix}},
    )
