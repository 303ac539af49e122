"""What processes tell one another, as if there were two of them; tests/launch/test_distributed.py has two."""

import numpy as np
import pytest

from grpo_jax import processes
from grpo_jax.config import ConfigError
from grpo_jax.training import agreement
from grpo_jax.training.claim import check_hosts
from tests.training.test_claim import INPUTS, start


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

    monkeypatch.setattr("grpo_jax.training.claim.unlike_on_processes", remembered)
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
        with pytest.raises(ConfigError, match="the hosts do not have the same before them, they differ in"):
            check_hosts(ours, INPUTS, mine)


def processes_digests(values):
    """What the first process would say of its values."""
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
