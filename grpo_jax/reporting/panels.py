"""The panels of a run's pages: which curves of the training each shows.

`figures` draws them for pages without a script, and page.js draws the numbers that `curves` gives it. Nothing here
imports JAX or Matplotlib.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from grpo_jax.runs.lines import Measured, TrainLine

Value = Callable[[TrainLine], float]  # of a step; NaN if it has none


def measured(name: Measured) -> Value:
    """Return a function that returns a metric of a step's updates."""
    return lambda line: line.measured.get(name, math.nan)


def term(name: str) -> Value:
    """Return a function that returns the mean of a term of the reward in a step."""
    return lambda line: line.sampled.terms.get(name, math.nan)


@dataclass(frozen=True)
class Panel:
    """A panel with curves of the training."""

    title: str
    curves: Mapping[str, Value]
    caption: str = ""  # "": its title and the names of its curves
    logarithmic: bool = False  # whether its vertical axis is, if all values are positive

    def values(self, training: Sequence[TrainLine]) -> dict[str, list[float]]:
        """Return the values of each curve that has any."""
        values = {label: [value(line) for line in training] for label, value in self.curves.items()}
        return {label: numbers for label, numbers in values.items() if any(map(math.isfinite, numbers))}


# Evaluations are drawn into this one, too.
PASS_AT_1 = Panel(
    "pass@1",
    {"training reward": attrgetter("sampled.reward")},
    "Validation pass@1 (95 % interval over problems), and the training reward.",
)

PANELS = (
    PASS_AT_1,
    Panel(
        "share of groups",
        {
            "with signal": attrgetter("sampled.signal_share"),
            "at equal difficulty": attrgetter("sampled.signal_share_bound"),
            "all right": attrgetter("sampled.all_right"),
            "all wrong": attrgetter("sampled.all_wrong"),
        },
        "Groups with signal, and the share at equal difficulty, 2p(1-p) for pairs.",
    ),
    Panel("tokens a completion", {"mean": attrgetter("sampled.completion_length")}),
    Panel("entropy, nats a token", {"of the sampled tokens": attrgetter("sampled.entropy")}),
    Panel(
        "sampler against trainer, nats",
        {
            "largest difference": measured(Measured.SAMPLER_DIFFERENCE),
            "mean difference": measured(Measured.SAMPLER_DIFFERENCE_MEAN),
            "KL(sampler || trainer)": measured(Measured.SAMPLER_KL),
        },
        logarithmic=True,
    ),
    Panel("tokens a second", {"sampled and learned": attrgetter("tokens_per_second")}),
    Panel("loss", {"of the update": measured(Measured.LOSS)}),
    Panel("gradient norm", {"before clipping": measured(Measured.GRADIENT_NORM)}),
    Panel(
        "tokens clipped",
        {"share below": measured(Measured.CLIPPED_BELOW), "share above": measured(Measured.CLIPPED_ABOVE)},
    ),
    Panel("learning rate", {"of the optimizer": measured(Measured.LEARNING_RATE)}),
)
LOGARITHMIC = tuple(panel.title for panel in PANELS if panel.logarithmic)


def panels_of(training: Sequence[TrainLine]) -> tuple[Panel, ...]:
    """Return all panels of a run, with one for the terms of its reward."""
    terms = sorted({name for line in training for name in line.sampled.terms})
    return (*PANELS, Panel("reward of a term", {name: term(name) for name in terms}))
