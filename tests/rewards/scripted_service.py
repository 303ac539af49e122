"""A service on this machine that answers as a test says, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import served


class Scripted:
    """Answers with what a function of the request returns: JSON values, a status, bytes, or None for no answer."""

    def __init__(self, answer: Callable[[Any], Any]):
        self._answer = answer
        self._lock = threading.Lock()
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []

    def reply(self, request: Any, headers: dict[str, str]) -> Any:
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            return self._answer(request)

    def serving(self) -> AbstractContextManager[str]:
        """Serve, and yield the address."""
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = scripted.reply(body, dict(self.headers))
                if reply is None:  # the connection is dropped
                    return
                self.send_response(reply if isinstance(reply, int) else 200)
                self.end_headers()
                if not isinstance(reply, int):
                    self.wfile.write(reply if isinstance(reply, bytes) else json.dumps(reply).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        return served(Handler)
