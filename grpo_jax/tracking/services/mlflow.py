"""MLflow. Its database and files are in the run's directory, unless MLFLOW_TRACKING_URI is set."""

import os
from collections.abc import Mapping, Sequence

import mlflow
from mlflow.entities import Metric, Param

from grpo_jax.tracking.tracker import Begun, Entry, Pair

AT_ONCE = 100  # parameters in a request, of which MLflow accepts no more
LONGEST = 6000  # characters of a parameter


class MlflowTracker:
    """A run of MLflow, in the experiment MLFLOW_EXPERIMENT_NAME."""

    def __init__(self, begun: Begun):
        """Begin the run, or continue it."""
        local = begun.folder.resolve()
        self._client = mlflow.MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{local / 'mlflow.db'}"))
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "grpo_jax")
        self.id = (
            begun.id or self._client.create_run(self._experiment(name, local.as_uri()), run_name=begun.name).info.run_id
        )
        self._client.update_run(self.id, status="RUNNING")
        # MLflow refuses to change a parameter, which a continued run may do.
        known = self._client.get_run(self.id).data.params
        params = [Param(key, str(value)[:LONGEST]) for key, value in begun.config.items() if key not in known]
        for first in range(0, len(params), AT_ONCE):
            self._client.log_batch(self.id, params=params[first : first + AT_ONCE])

    def log(self, entry: Entry) -> None:
        self._log(entry.numbers, entry.step)

    def pairs(self, step: int, rows: Sequence[Pair]) -> None:
        columns = {name: [getattr(row, name) for row in rows] for name in Pair._fields}
        self._client.log_table(self.id, columns, f"pairs/{step:06d}.json")

    def end(self, summary: Mapping[str, float] | None) -> None:
        self._log({f"summary/{name}": value for name, value in (summary or {}).items()}, 0)
        self._client.set_terminated(self.id, "FINISHED" if summary else "KILLED")

    def _log(self, numbers: Mapping[str, float], step: int) -> None:
        now = mlflow.utils.time.get_current_time_millis()
        metrics = [Metric(name.replace("@", "_at_"), value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def _experiment(self, name: str, files: str) -> str:
        """Return the id of an experiment. It is made if there is none, with its files beside a local database."""
        found = self._client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        local = "MLFLOW_TRACKING_URI" not in os.environ
        return str(self._client.create_experiment(name, artifact_location=f"{files}/files" if local else None))
