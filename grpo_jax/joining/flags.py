"""The flags by which the processes of a run on several hosts join each other."""

import argparse
import os
import re
from collections.abc import Callable

from grpo_jax.config import ConfigError
from grpo_jax.joining.meeting import NotJoined, Place, meet
from grpo_jax.joining.relay import start_relay

JOIN_SECONDS = 300  # JAX's default
MET_SECONDS = 60  # after which processes that have met must have joined: one may have ended in between
HEARTBEAT_SECONDS = 100  # JAX's default; `grpo_jax.runs.together` must notice a silent process before JAX does

PLACE = ("coordinator", "processes", "process")
OTHERS = ("local_devices", "join_seconds", "heartbeat_seconds")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of runs on several hosts to a command's parser."""
    group = parser.add_argument_group(
        "several hosts", "Run the same command on each, with --distributed or with the three flags after it."
    )
    group.add_argument(
        "--distributed",
        action="store_true",
        help="join the other processes of a TPU pod, or of a job of SLURM, Open MPI or Kubernetes",
    )
    group.add_argument(
        "--coordinator", type=_address, metavar="HOST:PORT", help="elsewhere: the host of process 0, and a free port"
    )
    group.add_argument("--processes", type=_at_least(1), metavar="N", help="elsewhere: how many processes there are")
    group.add_argument("--process", type=_at_least(0), metavar="I", help="elsewhere: which of them this is, from 0")
    group.add_argument(
        "--local-devices",
        type=_devices,
        metavar="I,J,...",
        help="which GPUs of its host this process uses, or all; default: all, or one each if several share a node",
    )
    group.add_argument(
        "--join-seconds",
        type=_at_least(1),
        metavar="S",
        help=f"seconds to wait for the others; default: {JOIN_SECONDS}",
    )
    group.add_argument(
        "--heartbeat-seconds",
        type=_at_least(1),
        metavar="S",
        help="seconds without a sign of a process after which JAX ends the others with a trace; usually the run ends "
        f"them before, within half a minute and with a sentence; default: {HEARTBEAT_SECONDS}",
    )


def join(arguments: argparse.Namespace) -> None:
    """Join the other processes if the flags ask for it; see `join_at`.

    Raises:
      ConfigError: if flags are missing or contradict each other, here or between processes; if there is no cluster.
      NotJoined: if another process does not come in time.
    """
    if several_hosts(arguments):
        seconds = arguments.join_seconds or JOIN_SECONDS
        join_at(place_of(arguments, seconds), seconds, arguments.heartbeat_seconds or HEARTBEAT_SECONDS)


def join_at(place: Place, seconds: int = JOIN_SECONDS, heartbeat_seconds: int = HEARTBEAT_SECONDS) -> None:
    """Join the other processes. Nothing may have used JAX's devices before.

    Args:
      place: of this process.
      seconds: to wait for the others.
      heartbeat_seconds: a process that is silent for this long counts as dead.

    Raises:
      ConfigError: if the processes contradict each other, or the first cannot listen on the coordinator's port.
      NotJoined: if another process does not come in time.
    """
    import jax  # before the meeting, so that all are there a moment after it

    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM, which is for `StopRequest`
    meet(place, seconds)
    coordinator = place.coordinator
    if place.process:
        coordinator = start_relay(place.address)
        jax.config.update("jax_check_proxy_envs", False)  # it warns of proxies, which do not lie on this way
    try:
        jax.distributed.initialize(
            coordinator,
            place.processes,
            place.process,
            place.local_devices,
            cluster_detection_method="deactivate",  # the place is known
            initialization_timeout=min(seconds, MET_SECONDS),
            heartbeat_timeout_seconds=heartbeat_seconds,
        )
    except (RuntimeError, ValueError) as error:
        raise NotJoined(f"{place.coordinator}: the other processes cannot be joined ({error}).") from error


def several_hosts(arguments: argparse.Namespace) -> bool:
    """Return whether the flags ask for several processes.

    Raises:
      ConfigError: if flags are missing or contradict each other.
    """
    check_flags(arguments)
    return arguments.distributed or arguments.coordinator is not None


def check_flags(arguments: argparse.Namespace) -> None:
    """Raise ConfigError if flags are missing or contradict each other."""
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    flags = {name: f"--{name.replace('_', '-')}" for name in (*PLACE, *OTHERS)}
    missing = [flags[name] for name in PLACE if name not in given]
    named = [flags[name] for name in PLACE if name in given]
    if missing and named:
        raise ConfigError(f"{', '.join(named)}: no effect without {' and '.join(missing)}; give all three.")
    if missing and not arguments.distributed:
        for name in OTHERS:
            if name in given:
                raise ConfigError(f"{flags[name]}: is for several hosts; add --distributed, or {', '.join(missing)}.")
    if not missing and arguments.process >= arguments.processes:
        raise ConfigError(
            f"--process={arguments.process}: must be below --processes={arguments.processes}; they count from 0."
        )


def place_of(arguments: argparse.Namespace, seconds: int) -> Place:
    """Return the place that the flags give this process, or else the cluster.

    Raises:
      ConfigError: if there is no cluster that JAX knows.
      NotJoined: if the cluster does not say where its processes are.
    """
    devices = arguments.local_devices
    if arguments.coordinator is not None:
        return Place(arguments.coordinator, arguments.processes, arguments.process, devices or ())
    if devices is None and "JAX_LOCAL_DEVICE_IDS" in os.environ:
        devices = _devices(os.environ["JAX_LOCAL_DEVICE_IDS"])
    if devices is None and os.environ.get("SLURM_NTASKS", "") == os.environ.get("SLURM_STEP_NUM_NODES"):
        devices = ()  # JAX would give the only process of a node a single GPU
    # The public function connects as soon as it knows the place.
    from jax._src.clusters import ClusterEnv

    try:
        coordinator, processes, process, devices = ClusterEnv.auto_detect_unset_distributed_params(
            os.environ.get("JAX_COORDINATOR_ADDRESS"), None, None, devices, None, seconds
        )
    except Exception as error:  # each kind of cluster has errors of its own
        raise NotJoined(f"--distributed: the cluster does not say where its processes are ({error}).") from error
    if coordinator is None or processes is None or process is None:
        raise ConfigError(
            "--distributed: the other processes cannot be joined, since this is neither a TPU pod nor a job of SLURM, "
            "Open MPI or Kubernetes; name them by --coordinator, --processes and --process, or leave the flag out."
        )
    return Place(coordinator, processes, process, tuple(devices or ()))


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return whole_number


def _address(text: str) -> str:
    if not re.fullmatch(r"(\[[^\]\s]+\]|[^:\s]+):\d{1,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, the host of process 0 and a free port there")
    return text


def _devices(text: str) -> tuple[int, ...]:
    if text == "all":
        return ()
    numbers = text.split(",")
    if not all(number.isdecimal() for number in numbers) or len({*numbers}) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is neither all nor different numbers such as 0,1")
    return tuple(map(int, numbers))
