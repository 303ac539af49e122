"""Processes that meet on this machine, each in a thread."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.joining import NotJoined, Place, meet


@pytest.fixture
def coordinator():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def outcome(place, seconds):
    """Return what a process says if it did not join; None if it did."""
    try:
        return meet(place, seconds)
    except (NotJoined, ConfigError) as error:
        return f"{type(error).__name__}: {error}"


def outcomes(*places, seconds=20.0):
    """Return the outcome of each place, started at about the same time in this order."""
    with ThreadPoolExecutor(len(places)) as threads:
        return list(threads.map(lambda place: outcome(place, seconds), places))


def test_all_come_in_any_order(coordinator):
    places = [Place(coordinator, 3, process) for process in (2, 0, 1)]
    assert outcomes(*places) == [None, None, None]
    assert outcomes(*reversed(places)) == [None, None, None]  # the port is free again at once
    assert outcome(Place("nowhere.invalid:1", 1, 0), 0) is None  # who is alone waits for nobody


def test_everybody_names_those_that_are_missing(coordinator):
    said = outcomes(Place(coordinator, 5, 0), Place(coordinator, 5, 2), seconds=0.5)
    assert len(set(said)) == 1
    assert said[0].startswith(f"NotJoined: 3 of 5 processes did not come to {coordinator} within 0.5 s: 1, 3, 4 ")
    assert ": 0 (counted from 0)" in outcome(Place(coordinator, 2, 1), 0.3)


def test_processes_that_contradict_each_other(coordinator):
    said = outcomes(Place(coordinator, 4, 0), Place(coordinator, 3, 1))
    assert len(set(said)) == 1
    assert "ConfigError: --processes=3 on " in said[0]
    assert "but 4 on " in said[0]
    said = outcomes(Place(coordinator, 4, 0), Place(coordinator, 4, 1), Place(coordinator, 4, 1))
    assert len(set(said)) == 1
    assert "ConfigError: --process=1: is given twice" in said[0]


def test_who_leaves_may_come_again_and_strangers_are_sent_away(coordinator):
    host, port = coordinator.split(":")

    def come_and_go(line):
        while True:
            try:
                with socket.create_connection((host, int(port)), timeout=20) as connection:
                    connection.sendall(line)
                    connection.shutdown(socket.SHUT_WR)
                    return connection.recv(1)
            except ConnectionRefusedError:
                continue

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(outcome, Place(coordinator, 2, 0), 20.0)
        assert come_and_go(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == b""  # JAX says this
        assert come_and_go(b"") == b""
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b'{"process": 1, "proc')  # this one ends in the middle of its word
        assert outcome(Place(coordinator, 2, 1), 20.0) is None
        assert first.result() is None


def test_a_process_that_has_left_is_missing(coordinator):
    host, port = coordinator.split(":")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(outcome, Place(coordinator, 3, 0), 2.0)
        while True:
            try:
                with socket.create_connection((host, int(port)), timeout=20) as connection:
                    connection.sendall(json.dumps({"process": 1, "processes": 3, "host": "a"}).encode() + b"\n")
                break
            except ConnectionRefusedError:
                continue
        assert ": 1, 2 (counted from 0)" in first.result()


def test_a_port_that_is_taken(coordinator):
    port = int(coordinator.rpartition(":")[2])
    with socket.create_server(("", port), family=socket.AF_INET):
        assert "the first process cannot listen on this port (Address already in use)" in outcome(
            Place(coordinator, 2, 0), 1.0
        )


def test_addresses():
    assert Place("[::1]:80", 2, 0).address == ("::1", 80)
    assert Place("host-0.service:8476", 2, 0).address == ("host-0.service", 8476)
