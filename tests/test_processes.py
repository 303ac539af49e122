"""The messages between processes, as if there were two of them; tests/commands/test_distributed.py has two."""

import json

import numpy as np
import pytest

from grpo_jax import processes
from grpo_jax.config import ConfigError
from grpo_jax.evaluation import evaluate, judge_rollouts
from grpo_jax.rewards import Verdict
from grpo_jax.runs import agreement
from grpo_jax.runs.claim import check_hosts
from tests.evaluation.test_evaluate import PROBLEMS, REQUEST, TASK, right_and_wrong, rollouts_of
from tests.helpers import evaluation_line
from tests.runs.test_claim import INPUTS, start


@pytest.fixture
def two(monkeypatch):
    """This process is the second of two. What the first one says is in the list, as its digests and its bytes."""
    said = []
    monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes.jax, "process_index", lambda: 1)
    utils = processes.multihost_utils
    monkeypatch.setattr(utils, "broadcast_one_to_all", lambda tree: said.pop(0))
    monkeypatch.setattr(utils, "process_allgather", lambda array: np.stack([said.pop(0), array]))
    return said


def test_the_first_ones_value_is_everybodys(two):
    text = np.frombuffer(b'{"a": [1, null]}', np.uint8)
    two += [np.int32(text.size), text]
    assert processes.of_first(None) == {"a": [1, None]}
    assert two == []


def test_hosts_are_compared_before_they_compute(two, monkeypatch):
    ours, mine = {"seed": 1}, start()
    seen = []

    def remembered(values):
        seen.append(values)
        return []

    monkeypatch.setattr("grpo_jax.runs.claim.unlike_on_processes", remembered)
    check_hosts(ours, INPUTS, mine)
    monkeypatch.undo()
    assert {"the configuration", "the training problems", "the model's files", "your own code"} <= set(seen[0])

    monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
    for name in seen[0]:
        theirs = dict.fromkeys(seen[0]) | {name: "another"}
        of_first = processes_digests(dict.fromkeys(seen[0]))
        monkeypatch.setattr(
            processes.multihost_utils, "process_allgather", lambda array, first=of_first: np.stack([first, array])
        )
        assert processes.unlike_on_processes(theirs) == [name]
        with pytest.raises(ConfigError, match="the hosts differ in"):
            check_hosts(ours, INPUTS, mine)


def processes_digests(values):
    """Return the digests that the first process would send of its values."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        gather = lambda array: found.append(array) or np.stack([array, array])  # noqa: E731
        patch.setattr(processes.multihost_utils, "process_allgather", gather)
        assert processes.unlike_on_processes(values) == []
    return found[0]


def test_where_one_must_stop_all_do(monkeypatch):
    def refuse():
        raise ConfigError("no such file.")

    monkeypatch.setattr(agreement, "on_any_process", lambda flag: True)  # as another says
    with pytest.raises(ConfigError, match="another host cannot go on; see its message"):
        agreement.on_all(lambda: 1)
    with pytest.raises(ConfigError, match="no such file"):
        agreement.on_all(refuse)


def said_by_first(value):
    """Return the messages of `by_first`: that nothing was raised, and the result as bytes."""
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    return [np.array(False), np.int32(text.size), text]


def test_what_the_first_host_judges_all_learn_from(two, monkeypatch):
    """Whatever another one would have said, as of a worker that it had to kill. So do they of what is summed up."""
    two += said_by_first([[1.0, "7", True, True, {}], [0.5, None, False, None, {"short": 0.25}]])
    (judged,) = judge_rollouts(TASK, PROBLEMS[:1], rollouts_of([["1", "1"]]))
    verdict, other = (one.verdict for one in judged.completions)
    assert verdict == Verdict(1.0, "7", right=True)
    assert other == Verdict(0.5, None, scored=False)
    assert other.terms == {"short": 0.25}
    two += said_by_first([[0.0, None, True, False, {}]] * 2)
    scores = evaluation_line(0, 0.5).scores
    two += said_by_first(scores.to_json())
    assert evaluate(right_and_wrong(), TASK, PROBLEMS[:1], REQUEST, bootstrap=10).scores == scores
    assert two == []


def test_where_the_first_host_fails_the_others_end(two, monkeypatch):
    def fail():
        raise OSError("no such file")

    two.append(np.array(True))
    with pytest.raises(ConfigError, match="the first host cannot go on; see its message"):
        agreement.on_first(fail)  # which only the first one does
    monkeypatch.setattr(processes.jax, "process_index", lambda: 0)
    two.append(np.array(False))
    with pytest.raises(OSError, match="no such file"):
        agreement.on_first(fail)
    assert two == []
