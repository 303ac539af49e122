"""What processes tell each other; here they are threads. tests/commands/test_distributed.py has real ones."""

import dataclasses
from collections import Counter

import jax
import numpy as np
import pytest

from grpo_jax import processes
from grpo_jax.config import ConfigError, MeshConfig
from grpo_jax.evaluation import evaluate, judge_rollouts, rewards_of, unscored_of
from grpo_jax.evaluation.judging import share_of
from grpo_jax.rewards import Verdict, WorkerError
from grpo_jax.runs import agreement
from grpo_jax.runs.claim import check_hosts
from grpo_jax.runs.ending import TrainingError
from grpo_jax.sharding import make_mesh, named
from tests.evaluation.test_evaluate import PROBLEMS, REQUEST, TASK, right_and_wrong, rollouts_of
from tests.runs.test_claim import INPUTS, start
from tests.several_processes import several


@pytest.fixture
def three():
    with several(3) as everywhere:
        yield everywhere


def test_small_values_are_exchanged(three):
    def exchange(index):
        return (
            processes.of_first({"a": [index, None]}),
            processes.on_any_process(index == 2),
            processes.on_any_process(False),
            processes.by_all(lambda: index, OSError),
            processes.by_first(lambda: index, OSError),
        )

    assert three(exchange) == [({"a": [0, None]}, True, False, [0, 1, 2], 0)] * 3
    assert len(processes.store().texts) == 4  # earlier exchanges leave nothing behind
    assert len(processes.wait_by_process()) == 3  # which each of them has told


def test_processes_at_different_places_do_not_take_each_others_values(three):
    for error in three(lambda index: processes.of_first(1) if index else processes.on_any_process(True)):
        assert "at different places" in str(error)


def test_an_error_on_one_process_is_raised_on_all(three):
    def act(index):
        return processes.by_all(lambda: [1][index % 2], OSError)

    first, second, third = three(act)
    assert isinstance(second, IndexError)
    assert isinstance(first, OSError)
    assert str(first) == str(third) == "process 1: IndexError: list index out of range"

    def fail():
        raise ConfigError("no such file.")

    first, second, _ = three(lambda index: agreement.on_all(fail if index == 0 else int))
    assert str(first) == "no such file."
    assert str(second) == "process 0: no such file."
    first, second, _ = three(lambda index: agreement.on_first(fail))
    assert str(first) == "no such file."
    assert str(second) == "process 0: no such file."


def test_hosts_are_compared_before_they_compute(three):
    def check(index):
        ours, inputs, mine = {"seed": 1}, INPUTS, start()
        if index == 1:
            ours, inputs = {"seed": 2}, dataclasses.replace(INPUTS, policy={"model.safetensors": "other"})
            inputs = dataclasses.replace(inputs, code={"mine:reward": {"mine": "y"}}, problems={})
            mine = start(digest="f" * 16)
        return check_hosts(ours, inputs, mine)

    for error in three(check):
        assert isinstance(error, ConfigError)
        for name in ("the configuration", "the training problems", "the model's files", "your own code", "the source"):
            assert name in str(error)
        assert "the tokenizer" not in str(error)
    assert three(lambda index: check_hosts({"seed": 1}, INPUTS, start())) == [None] * 3


def test_a_difference_is_named_with_the_values_of_the_processes(three):
    def check(index):
        agreement.check_alike("step 7", {"the seed": 1, "rewards": [index % 2, 5]})

    for error in three(check):
        assert isinstance(error, TrainingError)
        assert str(error).startswith(
            "step 7: the processes differ in rewards ([0, 5] on process 0 and 2, [1, 5] on process 1). Nothing"
        )


def test_every_group_is_judged_by_one_process():
    for groups in range(9):
        shares = [share_of(groups, process, 4) for process in range(4)]
        assert [place for first, last in shares for place in range(first, last)] == list(range(groups))
        assert max(last - first for first, last in shares) <= -(-groups // 4)


class OfItsProcess:
    """A reward that depends on the process that judges, as a random one does. It remembers what it was asked."""

    def __init__(self, index):
        self.index, self.asked = index, []
        self.unscored = Counter({"killed": index})

    def judge(self, attempts):
        self.asked += [(attempt.prompt, attempt.completion) for attempt in attempts]
        if any(attempt.completion == "9" for attempt in attempts):
            raise WorkerError("no worker starts")
        terms = {"own": float(self.index)}
        return [Verdict(self.index + 0.1 * place, "7", right=None, terms=terms) for place, _ in enumerate(attempts)]


def test_verdicts_are_the_same_on_all_processes(three):
    """Each judges whole groups of its own, whatever another would have said; all get all verdicts."""
    texts = [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"]]
    rewards = [OfItsProcess(index) for index in range(3)]

    def judge(index, texts=texts):
        task = SimpleTask(rewards[index])
        judged = judge_rollouts(task, PROBLEMS[: len(texts)], rollouts_of(texts))
        return judged, unscored_of(task.reward)

    (judged, counts), *others = three(judge)
    assert others == [(judged, counts)] * 2
    assert counts == {"killed": 3}
    assert [[completion for _, completion in reward.asked] for reward in rewards] == [
        ["1", "2"], ["3", "4"], ["5", "6", "7", "8"]
    ]  # fmt: skip
    np.testing.assert_allclose(rewards_of(judged)[0], [[0, 0.1], [1, 1.1], [2, 2.1], [2.2, 2.3]])
    assert [one.text for group in judged for one in group.completions] == list("12345678")
    assert judged[3].completions[0].verdict.terms == {"own": 2.0}

    first, second, third = three(lambda index: judge(index, [["9", "1"]]))  # the last process's share
    assert str(third) == "no worker starts"
    assert str(first) == str(second) == "process 2: no worker starts"


def test_the_first_process_sums_up_an_evaluation_for_all(three):
    def score(index):
        return evaluate(right_and_wrong(), SimpleTask(OfItsProcess(index)), PROBLEMS, REQUEST, bootstrap=10).scores

    scores, *others = three(score)
    assert others == [scores] * 2


class SimpleTask:
    """The embedded task with another reward."""

    def __init__(self, reward):
        self.reward = reward

    def __getattr__(self, name):
        return getattr(TASK, name)


def test_arrays_are_gathered_by_the_devices_and_then_read(monkeypatch):
    """Devices stand for those of several processes. What is whole everywhere is read without another program."""
    mesh = make_mesh(MeshConfig(4, 2, 1), jax.devices())
    numbers = {"tokens": np.arange(16).reshape(8, 2), "lengths": np.arange(8), "loss": np.float32(3.5)}
    tree = {name: jax.device_put(numbers[name], named(mesh, "batch")) for name in ("tokens", "lengths")}
    tree["loss"] = jax.device_put(numbers["loss"], named(mesh))
    assert processes.gather(tree) is tree
    monkeypatch.setattr(jax, "process_count", lambda: 8)
    with jax.transfer_guard("disallow"):
        whole = processes.gather(tree)
        assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(whole))
        assert processes.gather(whole) is whole
        for found in (processes.fetch(whole), processes.fetch(tree)):
            jax.tree.map(np.testing.assert_array_equal, found, numbers)
