"""`python -m grpo_jax.tracking NAME DIR` follows a run for a tracker, until its standard input ends.

Runs start it. Its output goes to DIR/tracking/NAME.log. It sends nothing anywhere and asks nothing at the terminal,
unless variables of the environment say so (docs/tracking.md).
"""

import os
import sys
from pathlib import Path

from grpo_jax.tracking.following import follow

# Libraries that trackers use report how they are used, unless these say no.
SILENT = {
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}

if __name__ == "__main__":
    for variable, value in SILENT.items():
        os.environ.setdefault(variable, value)
    os.nice(10)  # training comes first
    run = os.dup(sys.stdin.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())  # nothing that a tracker uses can ask here
    follow(sys.argv[1], Path(sys.argv[2]), run)
