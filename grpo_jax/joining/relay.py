"""A way to the first process that never closes under JAX.

JAX ends a process with a C++ trace as soon as its connection to the first process breaks. Python cannot prevent that.
So JAX connects to a relay in its own process. If the first process, its machine or the network is gone, the relay keeps
JAX's connection open and silent. Then `grpo_jax.runs.together` notices that nobody answers, and ends the process with a
sentence, before JAX's heartbeats do.
"""

import os
import socket
import threading
import time
from contextlib import suppress

HERE = "127.0.0.1"
NO_PROXY = "no_grpc_proxy"  # a variable with the hosts that gRPC reaches without the proxy of a cluster
CHUNK = 65536  # bytes
RETRY_SECONDS = 0.1


def start_relay(first: tuple[str, int]) -> str:
    """Start to pass on connections to the first process, and return the address HOST:PORT to connect to.

    Args:
      first: the host and port of the first process, which need not listen yet.
    """
    listener = socket.create_server((HERE, 0))
    threading.Thread(target=_serve, args=(listener, first), name="relay", daemon=True).start()
    exempt = os.environ.get(NO_PROXY, os.environ.get("no_proxy", ""))  # gRPC reads the second if the first is not set
    os.environ[NO_PROXY] = ",".join([*filter(None, [exempt]), HERE])
    return f"{HERE}:{listener.getsockname()[1]}"


def _serve(listener: socket.socket, first: tuple[str, int]) -> None:
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_connect, args=(near, first), name="relay", daemon=True).start()


def _connect(near: socket.socket, first: tuple[str, int]) -> None:
    """Pass on a connection, until its near end is closed."""
    with near, _reach(first) as far:
        for connection in (near, far):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = threading.Thread(target=_pass_on, args=(far, near), name="relay", daemon=True)
        answers.start()
        _pass_on(near, far)
        with suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)
        answers.join()


def _reach(first: tuple[str, int]) -> socket.socket:
    while True:  # JAX gives up at its own time
        with suppress(OSError):
            return socket.create_connection(first)
        time.sleep(RETRY_SECONDS)


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    """Pass on bytes until their source is closed. If the other connection is closed, they are lost without a report."""
    with suppress(OSError):
        while data := source.recv(CHUNK):
            with suppress(OSError):
                to.sendall(data)
