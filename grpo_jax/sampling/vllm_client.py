"""The client of a vLLM server: its requests, when it repeats them, and which answers it accepts.

The paths and fields are those of vLLM 0.32, started as docs/engines.md says.
"""

import json
import math
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from grpo_jax.config import SamplingConfig, VllmConfig, counted
from grpo_jax.json_requests import NoAnswer, Refused, Unanswered, check_status, repeated, values_of
from grpo_jax.sampling.engine import EngineError

T = TypeVar("T")

LOAD_ADAPTERS = "/v1/load_lora_adapter"
STOPPED, CUT_OFF = "stop", "length"  # the finish reasons of a whole completion
UNKNOWN = -9999.0  # stands for a log-probability that vLLM does not have
UNUSABLE = "add_lora"  # vLLM's word with status 500 for adapters that it cannot use; its own sentence follows
ROUNDING = 1e-4  # how far above 0 a log-probability may be


class Answer(NamedTuple):
    """A completion."""

    tokens: Sequence[int]  # the stop token included
    logprobs: Sequence[float]  # of these tokens
    stopped: bool  # by a stop token; False: it was cut off at the maximum length
    label: str  # of the weights that sampled it; "" if they changed meanwhile


NO_ADAPTERS = Answer((), (), stopped=False, label="")  # the server was restarted, and no longer knows the adapters


class VllmClient:
    """Makes requests, from any number of threads."""

    def __init__(self, settings: VllmConfig):
        self._settings = settings
        self._where = f"the vLLM server at {settings.address}"
        self._open: set[socket.socket] = set()  # a connection forgets its own as soon as an answer has begun
        self._closed = threading.Event()
        self._lock = threading.Lock()  # of the two above

    def generate(
        self,
        prompt: Sequence[int],
        *,
        seed: int,
        sampling: SamplingConfig,
        room: int,
        stop_tokens: Collection[int],
        adapters: str = "",
    ) -> Answer:
        """Return a completion of a prompt, or `NO_ADAPTERS`.

        Args:
          prompt: token ids.
          seed: of its random numbers.
          room: the maximum length in tokens.
          stop_tokens: each of these ends it, and no other.
          adapters: the name under which the server has read them; "": it samples without.

        Raises:
          EngineError: if the server refuses the request, does not answer, or answers with anything but a completion.
        """
        parameters = {
            "n": 1,
            "seed": seed,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "max_tokens": room,
            "stop_token_ids": list(stop_tokens),
            "ignore_eos": True,  # only our stop tokens count, not those of generation_config.json
            "logprobs": 0,  # of the sampled token alone
            "detokenize": False,
        }

        path, body = "/inference/v1/generate", {"token_ids": list(prompt), "sampling_params": parameters}

        def once() -> Answer:
            try:
                values = self._once("POST", path, {**body, "model": adapters} if adapters else body)
                return read_answer(values, room, stop_tokens)
            except Refused as error:
                if _about(adapters, error):
                    return NO_ADAPTERS
                raise
            except ValueError as error:
                raise EngineError(f"{self._where}: its answer cannot be used: {error}; see docs/engines.md.") from error

        return self._repeated(path, once)

    def take_weights(self, directory: Path, label: str, adapters: str = "") -> bool:
        """Let the server sample from the weights in a directory. It gives up what it was sampling.

        The label is set before the weights are read, and read afterwards. The server forgets it when it is restarted,
        and another client overwrites it. So a server that has it has read these weights.

        Args:
          directory: in Hugging Face's format, or in PEFT's.
          label: unlike all earlier ones.
          adapters: the name under which the server then has them, if the directory holds adapters alone; else "".

        Returns:
          Whether the server still has the label.
        """
        self._post("/pause?mode=abort")
        self._post("/update_weight_version", {"new_version": label})
        if adapters:
            self._repeated(LOAD_ADAPTERS, lambda: self._replace_adapters(directory, adapters))
        else:
            self._post(
                "/collective_rpc",
                {
                    "method": "reload_weights",
                    "kwargs": {"weights_path": str(directory), "is_checkpoint_format": True},
                    "timeout": self._settings.seconds,
                },
            )
        self._post("/reset_prefix_cache?reset_running_requests=true", read=_succeeded)
        self._post("/resume")
        return self._repeated(
            "/weight_info", lambda: bool(self._once("GET", "/weight_info") == {"weight_version": label})
        )

    def _replace_adapters(self, directory: Path, name: str) -> None:
        """Let the server read the adapters in a directory, and replace any that have this name.

        These are unloaded first. With `load_inplace` vLLM would read the files again in every pass through the model
        (github.com/vllm-project/vllm/issues/33791).
        """

        def ask(path: str, body: Mapping[str, str]) -> None:
            check_status(*self._send("POST", path, body))  # the answer is not JSON

        try:
            ask("/v1/unload_lora_adapter", {"lora_name": name})
        except Refused as error:
            if error.status != HTTPStatus.NOT_FOUND:  # none have it, or the server has no such path
                raise
        try:
            ask(LOAD_ADAPTERS, {"lora_name": name, "lora_path": str(directory)})
        except Refused as error:
            if not _about(name, error):
                raise
            raise EngineError(
                f"{self._where}: does not find the adapters ({error}); rollout.engine.weights must be a directory that "
                "both sides see under the same name."
            ) from error
        except NoAnswer as error:
            if UNUSABLE not in str(error):
                raise
            raise EngineError(f"{self._where}: cannot use the adapters: {error}; see docs/engines.md.") from error

    def close(self) -> None:
        """End all requests: those who wait for an answer get an EngineError. The server then gives them up, too."""
        with self._lock:
            self._closed.set()
            for each in self._open:
                with suppress(OSError):  # it is at its end already
                    each.shutdown(socket.SHUT_RDWR)

    def _post(
        self, path: str, body: Mapping[str, Any] | None = None, read: Callable[[Any], object] = lambda _: None
    ) -> None:
        self._repeated(path, lambda: read(self._once("POST", path, body or {})))

    def _repeated(self, path: str, once: Callable[[], T]) -> T:
        """Return the result of `once`, which makes a request. It is repeated as often as the settings allow.

        All requests may be repeated: a completion depends on its seed, and the other requests set something to a value.

        Raises:
          EngineError: if the server refuses it, or does not answer.
        """
        retries = self._settings.retries
        try:
            return repeated(once, retries, self._settings.wait, self._pause)
        except Refused as error:
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                raise EngineError(f"{self._where}: has no {path}; start it as docs/engines.md says.") from error
            raise EngineError(f"{self._where}: refuses {path} with {error}; see docs/engines.md.") from error
        except Unanswered as why:
            self._pause(0.0)
            raise EngineError(
                f"{self._where}: {path} failed {counted(retries + 1, 'time')}, the last time with {why}; see its log, "
                "and run the same command again."
            ) from why

    def _pause(self, seconds: float) -> None:
        """Wait. Raise EngineError if requests are given up."""
        if self._closed.wait(seconds):
            raise EngineError(f"{self._where}: the request was given up.")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the answer to a request as JSON values.

        Raises:
          NoAnswer, OSError, HTTPException: if it is worth repeating.
          Refused: if the server refuses it.
          EngineError: if the answer is not JSON.
        """
        answer = self._send(method, path, body)
        try:
            return values_of(*answer)
        except ValueError as error:
            raise EngineError(f"{self._where}: its answer to {path} is not JSON; see docs/engines.md.") from error

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, bytes]:
        """Return the status and the text of the answer to a request."""
        content = None if body is None else json.dumps(body)
        with self._connection() as connection:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                text = response.read()
        return response.status, text

    @contextmanager
    def _connection(self) -> Iterator[HTTPConnection]:
        """Connect for one request. `close` ends it."""
        host, port = self._settings.host_and_port
        connection = HTTPConnection(host, port, timeout=self._settings.seconds)
        connection.connect()
        opened = connection.sock
        try:
            with self._lock:
                if self._closed.is_set():
                    raise NoAnswer("closed")
                self._open.add(opened)
            yield connection
        finally:
            with self._lock:
                self._open.discard(opened)
            connection.close()


def _about(adapters: str, error: Refused) -> bool:
    """Return whether a server refused a request because it knows no adapters of this name."""
    return bool(adapters) and error.status == HTTPStatus.NOT_FOUND and adapters in str(error)


def _succeeded(values: Any) -> None:
    if values != {"success": True}:
        raise NoAnswer(f"answered {values}")


def read_answer(values: Any, room: int, stop_tokens: Collection[int]) -> Answer:
    """Return the completion that an answer of /inference/v1/generate holds.

    Args:
      room: the maximum length that was asked for.
      stop_tokens: the tokens that end a completion.

    Raises:
      NoAnswer: if the server gave the completion up before its end.
      ValueError: with a clause, if the answer holds no whole completion with a log-probability for each token and the
        label of the weights.
    """
    try:
        (choice,) = values["choices"]
        reason, tokens = choice["finish_reason"], [int(token) for token in choice["token_ids"]]
        entries = choice["logprobs"]["content"]
        named, logprobs = [entry["token_id"] for entry in entries], [float(entry["logprob"]) for entry in entries]
        labels = [str(span["version"]) for span in choice["weight_versions"]]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"it lacks a part of a completion, as of vLLM 0.32 ({error!r})") from error
    if reason not in (STOPPED, CUT_OFF):
        raise NoAnswer(f"the completion was given up ({reason!r})")
    if len(logprobs) != len(tokens):
        raise ValueError(f"it has {len(logprobs)} log-probabilities for {counted(len(tokens), 'token')}")
    if named != tokens:
        raise ValueError("its log-probabilities are those of other tokens")
    if not all(math.isfinite(each) and UNKNOWN < each <= ROUNDING for each in logprobs):
        raise ValueError("it lacks the log-probability of a token")
    if not 0 < len(tokens) <= room:
        raise ValueError(f"it has {counted(len(tokens), 'token')}, and 1 to {room} were asked for")
    if any(token in stop_tokens for token in tokens[:-1]):
        raise ValueError("it goes on after a stop token")
    stopped = tokens[-1] in stop_tokens
    if reason == STOPPED and not stopped:
        raise ValueError(f"it stops at the token {tokens[-1]}, which is not a stop token")
    if not stopped and len(tokens) < room:
        raise ValueError(
            f"it was cut off after {counted(len(tokens), 'token')} of {room}; raise the server's --max-model-len"
        )
    return Answer(tokens, logprobs, stopped, labels[0] if len(labels) == 1 else "")
