"""The trackers of a run, seen from its process: checks before it, a process for each, and a bounded wait at its end."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from grpo_jax.config import Config, ConfigError, Mistakes, did_you_mean, imported
from grpo_jax.tracking.tracker import SERVICES, TENSORBOARD

FOLDER = "tracking"  # in the run's directory
FINISH_SECONDS = 20.0  # for trackers to finish after the run; clouds give half a minute's notice
PACKAGES = Path(__file__).parent.parent.parent  # where this package is imported from


def check_trackers(config: Config) -> None:
    """Check that all trackers of a configuration can be used here.

    Raises:
      ConfigError: if one is unknown, is named twice or is not installed.
    """
    names, mistakes = config.logging.trackers, Mistakes()
    for name in names:
        with mistakes:
            if names.count(name) > 1:
                raise ConfigError(f"logging.trackers={names}: names {name} more than once; name each once.")
            if ":" in name:
                imported("logging.trackers", name)
            elif name not in (TENSORBOARD, *SERVICES):
                raise ConfigError(
                    f"logging.trackers={names}: {name} is not a tracker; {did_you_mean(name, [TENSORBOARD, *SERVICES])}"
                )
            elif name in SERVICES and not _installed(name):
                raise ConfigError(
                    f"logging.trackers={names}: {name} is not installed; run `pip install '.[{name}]'`, or leave it "
                    "out."
                )
    mistakes.tell()


class Trackers:
    """The processes that follow a run for its trackers, except for TensorBoard, which needs none."""

    def __init__(
        self,
        names: Sequence[str] = (),
        workdir: Path = Path(),
        note: Callable[[str], None] = lambda text: None,
        patience: float = FINISH_SECONDS,
    ):
        """Start nothing yet.

        Args:
          note: shows a line, from any thread.
          patience: seconds that `close` waits for all of them.
        """
        self._names = [name for name in names if name != TENSORBOARD]
        self._workdir = workdir
        self._note = note
        self._patience = patience
        self._late: set[int] = set()  # processes that had to be ended
        self._running: list[tuple[subprocess.Popen[bytes], threading.Thread]] = []

    def begin(self) -> None:
        """Start the processes. Lines that are in metrics.jsonl now must stay there."""
        for name in self._names:
            log = self._workdir / FOLDER / f"{name}.log"
            try:
                log.parent.mkdir(exist_ok=True)
                with open(log, "ab") as output:
                    process = subprocess.Popen(
                        [sys.executable, "-P", "-m", __package__, name, str(self._workdir)],
                        stdin=subprocess.PIPE,  # its end is that of the run, however that comes about
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGES), *_python_path()])},
                        start_new_session=True,  # Ctrl-C is for the run; what a tracker starts can be ended with it
                    )
            except OSError as error:
                self._note(f"warning: {name} cannot be started ({error}); the run goes on without it")
                continue
            watcher = threading.Thread(target=self._watch, args=(name, log, process), daemon=True)
            watcher.start()
            self._running.append((process, watcher))

    def close(self) -> None:
        """Let all of them finish, and end those that do not within the time that is given to them."""
        running, self._running = self._running, []
        for process, _ in running:
            if process.stdin:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        deadline = time.monotonic() + self._patience
        for process, watcher in running:
            watcher.join(max(0.0, deadline - time.monotonic()))
            if watcher.is_alive():
                self._late.add(process.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                watcher.join()

    def _watch(self, name: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
        """Wait until a process has ended, and warn if it has failed."""
        if process.wait():
            how = "was not done in time" if process.pid in self._late else "failed"
            self._note(f"warning: {name} {how} and does not follow the run any more; {log} may say why")


def _installed(name: str) -> bool:
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None  # a folder such as wandb's own is not a package


def _python_path() -> list[str]:
    return list(filter(None, [os.environ.get("PYTHONPATH")]))
