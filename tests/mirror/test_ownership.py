"""Only one process at a time writes under an address."""

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.mirror import ownership
from grpo_jax.mirror.ownership import Ownership, newest_owner


@pytest.fixture
def take(remote):
    """Return a function that takes the address, and calls a function in each pause of its waiting."""

    def take(name, meanwhile=lambda: None):
        return Ownership.take(remote, name, newest_owner(remote), lambda text: None, lambda seconds: meanwhile())

    return take


def test_an_owner_that_has_ended_is_followed_at_once(take, remote):
    take("first").sign(ended=True)
    take("second", meanwhile=lambda: pytest.fail("waited"))
    assert newest_owner(remote).owner.id == "second"


def test_an_owner_that_gives_signs_keeps_others_out(take, remote):
    first = take("first")
    with pytest.raises(ConfigError, match="is working in it; wait for it, or name another address"):
        take("second", meanwhile=first.sign)
    assert newest_owner(remote).owner.id == "first"


def test_a_silent_owner_is_followed_and_told(take, monkeypatch):
    monkeypatch.setattr(ownership, "ASK_SECONDS", 0.0)
    first = take("first")
    assert first.successor() is None
    second = take("second")
    assert first.successor().id == "second"
    assert second.successor() is None


@pytest.mark.parametrize("exclusive", [True, False])
def test_of_two_that_come_at_once_one_gives_way(take, remote, exclusive, monkeypatch):
    """A store that creates what is new lets one of them do so. In another the later one replaces what is there."""
    monkeypatch.setattr(ownership, "ASK_SECONDS", 0.0)
    owners, write = [], remote.files.pipe_file

    def slowly(path, value, mode="overwrite"):
        remote.files.pipe_file = write
        owners.append(take("faster"))
        write(path, value, mode=mode if exclusive else "overwrite")

    remote.files.pipe_file = slowly
    if exclusive:
        with pytest.raises(ConfigError, match="is working in it"):
            take("slower")
        assert owners[0].successor() is None
    else:
        assert take("slower").successor() is None
        assert owners[0].successor().id == "slower"
