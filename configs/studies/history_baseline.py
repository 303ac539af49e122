"""Pairs whose baseline joins the partner's reward with the prompt's earlier results, against plain pairs.

    python launch/study.py --study=configs/studies/history_baseline.py --workdir=studies/history_baseline

38,400 rollouts of 2,048 problems. With the history pairs that came out level carry signal, too, so nearly every pair
enters the update: at equal rollouts an update costs more. "half" lets half of the earlier completions count, and
"forgetting" halves their count every 50 steps instead of every 200. "prior alone" forgets at once: its baseline joins
the partner's reward with .5 for every prompt, and shows what is not due to the history. All arms, 2-GRPO too, sum over
tokens: with a mean over the tokens of each completion a wrong history would bias the gradient. The gradient's norm is
not clipped, because the arms' gradients differ in their norms.
"""

import unclipped_pairs


def get_study():
    """Return the study."""
    history = {"objective.name": "history_baseline"}
    return unclipped_pairs.against_two_grpo(
        "Does a baseline that knows the prompt's earlier results help pairs, also by pairs that came out level?",
        {
            "history": history,
            "history, half": {**history, "objective.parameters.trust": 0.5},
            "history, forgetting": {**history, "rollout.success_half_life": 50.0},
            "prior alone": {**history, "rollout.success_half_life": 0.01},
        },
        {**unclipped_pairs.FEW_PROBLEMS, "objective.aggregation": "sum"},
    )
