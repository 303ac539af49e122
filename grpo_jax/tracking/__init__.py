"""Trackers: a run's metrics in Weights & Biases, trackio, MLflow, or a program of your own.

Each tracker is fed by a process of its own, which follows the files of the run's directory (`following.py`). Training
starts these processes and waits a moment for them at its end (`trackers.py`). It gives them nothing and asks them
nothing, so no tracker can stop or slow it. Nothing here imports JAX.
"""

from grpo_jax.tracking.tracker import TENSORBOARD, Begun, Entry, Pair, Tracker
from grpo_jax.tracking.trackers import Trackers, check_trackers

__all__ = ["TENSORBOARD", "Begun", "Entry", "Pair", "Tracker", "Trackers", "check_trackers"]
