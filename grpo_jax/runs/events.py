"""TensorBoard event files, written by the thread that has the numbers.

tensorboardX's own writer has a thread and a queue. On a full disk the thread dies, the queue fills, and the next event
waits for ever. Here an error is raised where it happens.
"""

import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

FLUSH_SECONDS = 10.0  # between flushes of events to the disk, which take longer than writing a line


class Events:
    """An event file."""

    def __init__(self, folder: Path, first_step: int):
        """Start a file in a folder. It voids events of later steps that a killed process left in earlier files."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = RecordWriter(str(folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"))
        self._flushed = time.monotonic()
        self._write(Event(step=first_step, file_version="brain.Event:2"))
        self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step, which are finite, as one event. Raise OSError if that is not possible."""
        self._write(Event(step=step, summary=Summary(value=[scalar(*one).value[0] for one in values.items()])))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush all events to the disk. Raise OSError if that is not possible; the file is closed nevertheless."""
        try:
            self._file.flush()
        finally:
            self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._file.write(event.SerializeToString())
