"""Which process the others wait for."""

import threading

from grpo_jax.training import slowest
from grpo_jax.training.slowest import Slowest
from tests.several_processes import several

# Seconds that three processes have waited so far: at the start, after one step, and after two.
WAITED = ([5.0, 5.0, 9.0], [7.0, 5.25, 10.0], [7.0, 7.0, 11.0])


def test_the_process_that_waits_least_in_a_step_is_the_slowest(monkeypatch):
    this = threading.local()
    monkeypatch.setattr(slowest, "waited", lambda: WAITED[this.step][this.index])

    def steps(index):
        this.index, this.step = index, 0
        compared, found = Slowest(), []
        for this.step in (1, 2):
            found.append(compared.since_last())
        return found

    first = {"slowest_process": 1, "slowest_process/seconds": 1.75}
    second = {"slowest_process": 0, "slowest_process/seconds": 1.75}
    with several(3) as everywhere:
        assert everywhere(steps) == [[first, second]] * 3


def test_a_single_process_has_nobody_to_compare_with():
    assert Slowest().since_last() == {}
