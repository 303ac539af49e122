"""`make equivalences` prints identities that hold, and would fail if they did not."""

import dataclasses

import pytest

from tools import equivalences


@pytest.mark.slow
def test_every_identity_holds(capsys):
    assert equivalences.main() == 0
    printed = capsys.readouterr().out
    assert "2-GRPO = RLOO on pairs" in printed
    assert "0.242" in printed  # w_2 at p = .412


@pytest.mark.slow
def test_a_wrong_scale_is_noticed(monkeypatch):
    made = equivalences.make_objective
    monkeypatch.setattr(
        equivalences, "make_objective", lambda config, size: made(dataclasses.replace(config, std_ddof=1), size)
    )
    assert equivalences.main() == 1
