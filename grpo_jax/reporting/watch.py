"""A small server for this machine alone: a page of runs that go on, and the JSON that the page asks for.

GET / is the page. GET /lines?run=0&after=TOKEN has the lines that metrics.jsonl has gained since the token was given,
and how the run is doing. GET /groups?run=0 has the sample of its groups. There are no other pages, and no path leads to
a file.
"""

import contextlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from grpo_jax.config import ConfigError
from grpo_jax.json_record import JsonRecord, plain
from grpo_jax.reporting.curves import Curves
from grpo_jax.reporting.page import policy, watch_page
from grpo_jax.reporting.sample_groups import sample_groups
from grpo_jax.runs.directory import METRICS_FILE, RunDirectory
from grpo_jax.runs.lines import RunMetrics
from grpo_jax.runs.state import Condition, State, state_of

LOCAL = ("127.0.0.1", "localhost", "::1")
MARK = 64  # bytes before an offset, by whose checksum a file that was taken back is recognised


@dataclass(frozen=True)
class News(JsonRecord):
    """The news of a run since the page last asked."""

    state: State
    after: str  # the token to ask with next
    again: bool  # the curves begin anew: the run was taken back to a checkpoint, or the page asks for the first time
    curves: Curves | None  # None if there is nothing new


def news(workdir: Path, after: str) -> News:
    """Return the new lines of a run's metrics, without a last one that is not whole yet.

    Args:
      after: the token of the previous answer, or "" for the first. It holds an offset and a checksum of the bytes
        before it. If these have changed, the run was continued from a checkpoint, and all lines are given again.

    Raises:
      ConfigError: if a file of the run is damaged.
    """
    state, path = state_of(RunDirectory(workdir)), workdir / METRICS_FILE
    if not path.exists():
        return News(state, "", True, None)
    with open(path, "rb") as file:
        begin = _offset(after)
        if again := not begin or _token(file, begin) != after:
            begin = 0
        file.seek(begin)
        text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        token = _token(file, begin + len(whole))
    try:
        metrics = RunMetrics.from_json(json.loads(line) for line in whole.splitlines())
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: a line is damaged ({error!r}); restore the file.") from error
    return News(state, token, again, Curves.of(metrics) if metrics.training or metrics.evaluations else None)


def _offset(token: str) -> int:
    number = token.partition("-")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 20 else 0


def _token(file: Any, offset: int) -> str:
    """Return a token for an offset: itself, and the checksum of the bytes before it."""
    file.seek(max(offset - MARK, 0))
    return f"{offset}-{zlib.crc32(file.read(min(offset, MARK))):x}"


def make_server(runs: Sequence[Path], address: str, port: int) -> ThreadingHTTPServer:
    """Return a server of the page of these runs, which answers once `serve_forever` is called.

    Args:
      port: 0 lets the system choose a free one.

    Raises:
      OSError: if nothing can listen on this address and port.
    """
    page = watch_page(runs).encode()

    def lines(query: dict[str, list[str]]) -> bytes:
        return _json(news(_run(query), query.get("after", [""])[0]))

    def groups(query: dict[str, list[str]]) -> bytes:
        run = RunDirectory(_run(query))
        return _json(sample_groups(run) if state_of(run).condition is not Condition.NOT_BEGUN else [])

    def _run(query: dict[str, list[str]]) -> Path:
        return dict(zip(map(str, range(len(runs))), runs, strict=True))[query.get("run", [""])[0]]

    answers: dict[str, tuple[str, Callable[[dict[str, list[str]]], bytes]]] = {
        "/": ("text/html", lambda query: page),
        "/lines": ("application/json", lines),
        "/groups": ("application/json", groups),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            if address in LOCAL and host not in LOCAL:  # a site could read the answers if its name led here
                return self.answer(HTTPStatus.FORBIDDEN, "text/plain", b"ask by the address that grpo watch names\n")
            if parts.path not in answers:
                return self.answer(HTTPStatus.NOT_FOUND, "text/plain", b"no such page\n")
            kind, make = answers[parts.path]
            try:
                content = make(parse_qs(parts.query))
            except KeyError:
                return self.answer(HTTPStatus.NOT_FOUND, "text/plain", b"no such run\n")
            except (ConfigError, OSError) as error:
                return self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{error}\n".encode())
            return self.answer(HTTPStatus.OK, kind, content)

        def answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            with contextlib.suppress(ConnectionError):  # the page was closed meanwhile
                self.send_response(status)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Security-Policy", policy(asks=True))
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the page asks every two seconds."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    return Server((address, port), Handler)


def _json(value: Any) -> bytes:
    return json.dumps(plain(value), allow_nan=False).encode()
