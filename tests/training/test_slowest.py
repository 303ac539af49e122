"""Which process the others wait for."""

from grpo_jax.training import slowest
from grpo_jax.training.slowest import Slowest

# Seconds that three processes have waited so far: at the start, after one step, and after two.
WAITED = ([5.0, 5.0, 9.0], [7.0, 5.25, 10.0], [7.0, 7.0, 11.0])


def test_the_process_that_waits_least_in_a_step_is_the_slowest(monkeypatch):
    monkeypatch.setattr(slowest, "wait_by_process", iter(WAITED).__next__)
    compared = Slowest()
    assert compared.since_last() == {"slowest_process": 1, "slowest_process/seconds": 1.75}
    assert compared.since_last() == {"slowest_process": 0, "slowest_process/seconds": 1.75}


def test_a_single_process_has_nobody_to_compare_with():
    assert Slowest().since_last() == {}
