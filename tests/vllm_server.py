"""A server on the loopback that answers as vLLM does, with completions by this project's own sampler.

The seed of a request tells which completion it asks for. So a run with this server equals one with `JaxEngine`.
"""

import dataclasses
import json
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jax
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from grpo_jax.config import SamplingConfig
from grpo_jax.data import encode_prompts
from grpo_jax.policy.huggingface import describe, load_checkpoint, save_checkpoint
from grpo_jax.processes import fetch, put
from grpo_jax.randomness import TextStream, spread_seed
from tests.loopback import served

Fault = Callable[["Handler", Callable[[], Any]], None]


class VllmServer:
    """Samples from what /collective_rpc has read, once /reset_prefix_cache was called. `faults` make it misbehave.

    A request that names adapters gets a completion by these on the model that the server was started with.
    """

    def __init__(self, experiment):
        self.experiment = experiment
        programs = experiment.programs
        self.model = programs.init_params(jax.random.key(99))  # what it is started with
        self.max_lora_rank = 16  # --enable-lora --max-lora-rank; 0: started without these
        self.faults: dict[str, Iterator[Fault]] = {}  # by path; the next request meets the next one
        self.asked: list[str] = []  # the paths of all requests
        self.loaded: list[str] = []  # the directories of weights that were read
        self.read: list[str] = []  # those of adapters
        self.released = threading.Event()  # ends faults that wait
        self._lock = threading.RLock()
        self._known: dict[int, tuple[Any, Any, int, int]] = {}
        self.restart()

    def restart(self) -> None:
        """Forget everything that a new process would not know. It samples from the model that it is started with."""
        self.take_over("default")
        self._adapters: dict[str, Any] = {}
        self._newest = self._weights  # what the adapters that were read last make of the model
        self.paused = self.deaf = False

    def take_over(self, label: str) -> None:
        """Take other weights than those of its client."""
        with self._lock:
            self.label, self._groups = label, {}
            self._read = self._weights = self.experiment.programs.policy_weights(self.model)

    def begin_with(self, model) -> None:
        """Start again, with this model."""
        self.model = model
        self.restart()

    def knows(self, problems, *requests) -> None:
        """Learn the seeds of the completions of these problems in these requests."""
        prompts = encode_prompts(self.experiment.task, problems)
        for request in requests:
            numbers = [int(number) for number in dataclasses.astuple(request.counter)]
            for row, prompt in enumerate(prompts.ids.tolist()):
                one = jax.tree.map(lambda array, row=row: array[row : row + 1], prompts)
                for sample in range(request.group_size):
                    seed = spread_seed(TextStream.SERVED, *numbers, prompt, sample)
                    self._known[seed] = one, request.counter, request.group_size, sample

    def answer(self, path: str, query: str, body: Any) -> Any:
        """Return the answer to a request."""
        with self._lock:
            return getattr(self, path.strip("/").replace("/", "_"))(query, body)

    def weight_info(self, query, body):
        return {"weight_version": self.label}

    def update_weight_version(self, query, body):
        self.label = body["new_version"]
        return {"success": True, "new_version": self.label}

    def pause(self, query, body):
        assert query == "mode=abort"
        self.paused = True
        return {"status": "paused"}

    def resume(self, query, body):
        self.paused = False
        return {"status": "resumed"}

    def collective_rpc(self, query, body):
        assert body["method"] == "reload_weights"
        assert body["kwargs"]["is_checkpoint_format"] is True
        self.loaded.append(body["kwargs"]["weights_path"])
        weights = self._load(Path(self.loaded[-1]))
        if not self.deaf:
            self._read = weights
        return {"results": [None]}

    def _load(self, directory):
        programs = self.experiment.programs
        dtypes = jax.tree.map(lambda leaf: leaf.dtype, programs.policy.shapes())
        return programs.policy_weights(load_checkpoint(directory, programs.policy, programs.shardings.params, dtypes))

    def v1_unload_lora_adapter(self, query, body):
        name = body["lora_name"]
        if self._adapters.pop(name, None) is None:
            raise Refusal(404, f"The lora adapter '{name}' cannot be found.")
        return Text(f"Success: LoRA adapter '{name}' removed successfully.")

    def v1_load_lora_adapter(self, query, body):
        name, path = body["lora_name"], Path(body["lora_path"])
        if name in self._adapters:
            raise Refusal(400, f"The lora adapter '{name}' has already been loaded.")
        assert not body.get("load_inplace")  # with which vLLM reads the files in every pass
        self.read.append(str(path))
        if not (path / "adapter_config.json").exists():
            raise Refusal(404, f"Loading lora {name} failed: No adapter found for <path>")
        try:
            found = self._with_adapters(path)
        except (ValueError, SafetensorError) as error:
            raise Refusal(500, f"Call to add_lora method failed: Worker failed with error '{error}'") from error
        if not self.deaf:
            self._newest = found
        self._adapters[name] = self._newest
        return Text(f"Success: LoRA adapter '{name}' added successfully.")

    def _with_adapters(self, path):
        """The model that it is started with, with PEFT's adapters added to the tensors of its checkpoint."""
        values = json.loads((path / "adapter_config.json").read_text())
        if not self.max_lora_rank:
            raise ValueError("LoRA is not enabled. Use --enable-lora to enable LoRA.")
        if values["r"] > self.max_lora_rank:
            raise ValueError(f"LoRA rank {values['r']} is greater than max_lora_rank {self.max_lora_rank}.")
        policy = self.experiment.programs.policy
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "model"
            save_checkpoint(checkpoint, policy, self.model, describe(policy.architecture, 64), "float32")
            tensors = load_file(checkpoint / "model.safetensors")
            adapters = load_file(path / "adapter_model.safetensors")
            for a in [name for name in adapters if name.endswith(".lora_A.weight")]:
                module, b = a.removesuffix(".lora_A.weight"), a.replace("lora_A", "lora_B")
                assert module.split(".")[-1] in values["target_modules"]
                change = values["lora_alpha"] / values["r"] * adapters[b] @ adapters[a]
                tensors[f"{module.removeprefix('base_model.model.')}.weight"] += change
            save_file(tensors, checkpoint / "model.safetensors")
            return self._load(checkpoint)

    def reset_prefix_cache(self, query, body):
        assert query == "reset_running_requests=true"  # without it the cache stays if anything runs
        self._weights, self._groups = self._read, {}
        return {"success": True}

    def inference_v1_generate(self, query, body):
        assert not self.paused
        asked = body["sampling_params"]
        assert asked["ignore_eos"] is True
        assert sorted(asked["stop_token_ids"]) == sorted(self.experiment.task.stop_tokens)
        assert (asked["n"], asked["logprobs"]) == (1, 0)
        prompt, counter, group_size, sample = self._known[asked["seed"]]
        assert body["token_ids"] == prompt.tokens[0, : prompt.lengths[0]].tolist()
        sampling = SamplingConfig(**{name: asked[name] for name in ("temperature", "top_k", "top_p", "min_p")})
        name = body.get("model")
        if name is not None and name not in self._adapters:
            raise Refusal(404, f"The model `{name}` does not exist.")
        group = self._group(prompt, counter, group_size, sampling, name)
        length = min(int(group.completion_lengths[0, sample]), asked["max_tokens"])
        tokens = group.completion_tokens[0, sample, :length].tolist()
        logprobs = group.logprobs[0, sample, :length].tolist()
        entries = [
            {"token_id": token, "logprob": logprob, "rank": None, "top_logprobs": []}
            for token, logprob in zip(tokens, logprobs, strict=True)
        ]
        reason = "stop" if tokens[-1] in self.experiment.task.stop_tokens else "length"
        choice = {"index": 0, "token_ids": tokens, "logprobs": {"content": entries}, "finish_reason": reason}
        spans = [{"version": self.label, "start": 0, "end": length}]
        return {"request_id": "1", "choices": [choice | {"weight_versions": spans}]}

    def _group(self, prompt, counter, group_size, sampling, adapters):
        key = int(prompt.ids[0]), *map(int, dataclasses.astuple(counter)), group_size, sampling, adapters
        if key not in self._groups:
            programs = self.experiment.programs
            sample = programs.sampling.whole(sampling, group_size, "independent")
            on_devices = put(prompt, programs.shardings.batch), put(counter, programs.shardings.replicated)
            weights = self._weights if adapters is None else self._adapters[adapters]
            self._groups[key] = fetch(sample(weights, *on_devices))
        return self._groups[key]


class Refusal(Exception):
    """An answer with a status and vLLM's words."""


class Text(str):
    """An answer that is no JSON."""


class Handler(BaseHTTPRequestHandler):
    """Gives a request to the server behind it, through the next fault."""

    behind: VllmServer

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path, _, query = self.path.partition("?")
        self.behind.asked.append(path)
        fault = next(self.behind.faults.get(path, iter(())), honest)
        fault(self, lambda: self.behind.answer(path, query, body))

    def do_GET(self):
        self.behind.asked.append(self.path)
        fault = next(self.behind.faults.get(self.path, iter(())), honest)
        fault(self, lambda: self.behind.answer(self.path, "", None))

    def reply(self, status: int, values: Any, missing: int = 0) -> None:
        """Send an answer, or all but its last bytes."""
        words = values if isinstance(values, Text) else json.dumps(values)
        content = words.encode() if values is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - missing])

    def log_message(self, *arguments):
        pass


def honest(handler: Handler, answer: Callable[[], Any]) -> None:
    try:
        handler.reply(200, answer())
    except Refusal as refusal:
        status, message = refusal.args
        handler.reply(status, {"error": {"message": message, "code": status}})
    except AssertionError as error:
        handler.reply(400, {"error": {"message": f"not as vLLM expects: {error!r}"}})


def fails(handler: Handler, answer: Callable[[], Any]) -> None:
    handler.reply(500, {"error": {"message": "out of memory"}})


def is_absent(handler: Handler, answer: Callable[[], Any]) -> None:
    handler.reply(404, {"detail": "Not Found"})


def hangs(handler: Handler, answer: Callable[[], Any]) -> None:
    handler.behind.released.wait(30)


def drops(handler: Handler, answer: Callable[[], Any]) -> None:
    """The connection ends after half of the answer."""
    values = answer()
    handler.reply(200, values, missing=len(json.dumps(values)) // 2)


def restarts(handler: Handler, answer: Callable[[], Any]) -> None:
    """The connection ends, and a new process listens."""
    handler.behind.restart()


def belongs_to_another(handler: Handler, answer: Callable[[], Any]) -> None:
    """Another client gives the server weights."""
    handler.behind.take_over("another")
    honest(handler, answer)


def taken_over_after(completions: int) -> Iterator[Fault]:
    """Whenever the server has got weights and sampled so many completions, another client gives it weights."""
    seen: Counter[str] = Counter()

    def fault(handler: Handler, answer: Callable[[], Any]) -> None:
        seen[handler.behind.label] += 1
        act = belongs_to_another if seen[handler.behind.label] > completions else honest
        act(handler, answer)

    return ever(fault)


def reads_half(handler: Handler, answer: Callable[[], Any]) -> None:
    """The server finds the first half of the adapters' file."""
    file = next(handler.behind.folder.glob("*/adapter_model.safetensors"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    honest(handler, answer)


def finds_nothing(handler: Handler, answer: Callable[[], Any]) -> None:
    """The server sees another directory under the name of the weights."""
    next(handler.behind.folder.glob("*/adapter_config.json")).unlink()
    honest(handler, answer)


def not_yet(handler: Handler, answer: Callable[[], Any]) -> None:
    handler.reply(200, {"success": False})


def gives_up(handler: Handler, answer: Callable[[], Any]) -> None:
    values = answer()
    values["choices"][0]["finish_reason"] = "abort"
    handler.reply(200, values)


def too_few_logprobs(handler: Handler, answer: Callable[[], Any]) -> None:
    values = answer()
    del values["choices"][0]["logprobs"]["content"][-1]
    handler.reply(200, values)


def logprobs_of_others(handler: Handler, answer: Callable[[], Any]) -> None:
    """As of the likeliest tokens, which come first in some servers' lists."""
    values = answer()
    for entry in values["choices"][0]["logprobs"]["content"]:
        entry["token_id"] += 1
    handler.reply(200, values)


def shifted_logprobs(handler: Handler, answer: Callable[[], Any]) -> None:
    """As of another distribution."""
    values = answer()
    for entry in values["choices"][0]["logprobs"]["content"]:
        entry["logprob"] -= 0.25
    handler.reply(200, values)


@contextmanager
def serving(server: VllmServer) -> Iterator[str]:
    """Serve, and yield HOST:PORT."""
    handler = type("Bound", (Handler,), {"behind": server})
    with served(handler) as address:
        try:
            yield address
        finally:
            server.released.set()


def then(*faults: Fault, after: int = 0) -> Iterator[Fault]:
    """Some honest answers, then these faults, then honest answers again."""
    yield from [honest] * after
    yield from faults


def ever(fault: Fault, after: int = 0) -> Iterator[Fault]:
    """Some honest answers, then one fault without end."""
    yield from [honest] * after
    while True:
        yield fault
