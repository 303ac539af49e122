"""The relay between JAX and the first process."""

import os
import socket

import pytest

from grpo_jax.joining import relay
from grpo_jax.joining.relay import start_relay


@pytest.fixture
def ends(monkeypatch):
    """The near and the far end of a connection through a relay, which began before the first process listened."""
    monkeypatch.setattr(relay, "RETRY_SECONDS", 0.01)
    monkeypatch.delenv(relay.NO_PROXY, raising=False)
    monkeypatch.setenv("no_proxy", "rewards.internal")
    with socket.socket() as listener, socket.socket() as near:
        listener.bind(("127.0.0.1", 0))
        host, _, port = start_relay(listener.getsockname()).partition(":")
        assert os.environ[relay.NO_PROXY] == f"rewards.internal,{host}"
        near.settimeout(10)
        near.connect((host, int(port)))
        near.sendall(b"a question")
        listener.listen()
        listener.settimeout(10)
        far, _ = listener.accept()
        with far:
            far.settimeout(10)
            yield near, far


def test_words_pass_both_ways(ends):
    near, far = ends
    assert far.recv(99) == b"a question"
    far.sendall(b"an answer")
    assert near.recv(99) == b"an answer"


def test_the_near_end_does_not_notice_that_the_far_one_is_closed(ends):
    near, far = ends
    far.close()
    near.settimeout(0.2)
    for _ in range(3):  # the first bytes make the other end answer that it is closed
        with pytest.raises(TimeoutError):
            near.recv(1)
        near.sendall(b"more")


def test_the_far_end_notices_that_the_near_one_is_closed(ends):
    near, far = ends
    assert far.recv(99) == b"a question"
    near.close()
    assert far.recv(99) == b""
