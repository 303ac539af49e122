"""The shipped trackers, with the real packages in their offline modes. `make test-trackers` installs these.

Each is skipped where its package is not installed. The run that they follow was killed, and continued from a step that
it had taken before.
"""

import importlib.util
import json
import sqlite3
import struct
from collections import defaultdict

import pytest

from grpo_jax.tracking.tracker import SERVICES
from tests.tracking.test_trackers import follow

HEADER = struct.Struct("<IHB")  # of a fragment in LevelDB's log: checksum, length, type
BLOCK = 1 << 15


def mlflow_runs(folder):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert [one.info.status for one in found] == ["KILLED"]
    assert found[0].data.params["objective.name"] == "two_grpo"
    assert [path.path for path in client.list_artifacts(found[0].info.run_id, "pairs")] == ["pairs/000002.json"]
    return {
        one.info.run_id: [metric.step for metric in client.get_metric_history(one.info.run_id, "train/reward")]
        for one in found
    }


def trackio_runs(folder):
    runs = defaultdict(list)
    with sqlite3.connect(folder / "grpo_jax.db") as database:
        for name, step, text in database.execute("select run_name, step, metrics from metrics order by id"):
            numbers = json.loads(text)
            runs[name] += [step] if "train/reward" in numbers else []
    return runs


def wandb_runs(folder):
    from wandb.proto import wandb_internal_pb2

    runs = defaultdict(list)
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        records = [wandb_internal_pb2.Record.FromString(text) for text in logged(path)]
        (name,) = {record.run.run_id for record in records if record.HasField("run")}
        for record in records:
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            runs[name] += [json.loads(items["train/step"])] if "train/step" in items else []
    return runs


def logged(path):
    """Yield the records of a file of wandb: a header of seven bytes, and then LevelDB's log in blocks."""
    content, place, record = path.read_bytes(), 7, b""
    while place + HEADER.size <= len(content):
        if BLOCK - place % BLOCK < HEADER.size:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(content, place)
        place += HEADER.size + length
        record += content[place - length : place]
        if kind in (1, 4):  # whole, or its last fragment
            yield record
            record = b""


RUNS = {"wandb": wandb_runs, "trackio": trackio_runs, "mlflow": mlflow_runs}  # the training steps of each run there


@pytest.mark.filterwarnings("ignore")  # of the packages
@pytest.mark.parametrize("name", SERVICES)
def test_a_run_that_is_killed_and_continued_is_one_run_there(name, run):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    assert follow(run, name) == []
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "train"][-1]
    with open(run / "metrics.jsonl", "a") as file:
        file.writelines(json.dumps({**last, "step": step}) + "\n" for step in (last["step"], last["step"] + 1))
    assert follow(run, name) == []
    ((known, steps),) = RUNS[name](run / "tracking" / name).items()
    assert known == json.loads((run / "tracking" / f"{name}.json").read_text())["id"]
    assert steps == list(range(1, last["step"] + 2))
