"""A run: everything that the training loop works with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from grpo_jax.config import Config
from grpo_jax.data import Problem, Split
from grpo_jax.runs.checkpoints import Checkpoints
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.ending import StopRequest
from grpo_jax.tracking import Trackers
from grpo_jax.training.clock import Clock
from grpo_jax.training.display import Display
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.profiler import Profiler


@dataclass(frozen=True)
class Run:
    """An experiment, its problems, and what a run writes, shows and obeys."""

    experiment: Experiment
    problems: Mapping[Split, Sequence[Problem]]
    directory: RunDirectory
    checkpoints: Checkpoints
    clock: Clock
    stop: StopRequest
    display: Display
    compiled: Callable[[str], None] = lambda name: None  # waits for programs; see `compiling_ahead`
    profiler: Profiler = field(default_factory=Profiler)
    trackers: Trackers = field(default_factory=Trackers)

    @property
    def config(self) -> Config:
        return self.experiment.config
