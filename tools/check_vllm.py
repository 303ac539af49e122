"""Start a vLLM server, sample with it, and compare its log-probabilities with the trainer's.

    make check-vllm
    python tools/check_vllm.py --python=VENV/bin/python --config=configs/smollm2_135m.py

The policy is the checkpoint of the configuration; then all of its weights are scaled, and the server must sample from
the new ones. If the configuration trains adapters, the server gets these alone: fresh ones, which change nothing, and
then others. Each policy samples the first groups of a training step. docs/engines.md has results.

Exit code 0 if the completions' log-probabilities are the trainer's, 1 if they are not or the server fails.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from grpo_jax.config import Config, load
from grpo_jax.data import Split
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.processes import fetch, put
from grpo_jax.sampling import EngineError
from grpo_jax.training import Experiment, build
from grpo_jax.training.base_policy import read_checkpoint
from grpo_jax.training.requests import training_request
from grpo_jax.types import Params, Rollouts

SCALE = 1.02  # of all weights of the second policy
SHARE = 0.02  # or by how much its adapters change their kernels


@contextmanager
def serving(
    python: Path, config: Config, port: int, longest: int, log: Path, more: Sequence[str] = ()
) -> Iterator[None]:
    """Run a server, and end it."""
    # The command `vllm` does not find the version of vLLM's package for CPUs, which has another name.
    words = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", config.model.checkpoint]
    words += ["--host", "127.0.0.1", "--port", str(port), "--enable-scale-out", "--max-model-len", str(longest)]
    words += ["--dtype", config.model.compute_dtype, "--logprobs-mode", "processed_logprobs", *more]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1"} | os.environ | {"VLLM_SERVER_DEV_MODE": "1"}
    if config.model.lora:
        words += ["--enable-lora", "--max-lora-rank", str(config.model.lora.rank)]
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    with log.open("wb") as file, subprocess.Popen(words, env=environment, stdout=file, stderr=file) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/health", server)
            yield
        finally:
            server.terminate()


def _wait(url: str, server: subprocess.Popen[bytes], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise EngineError("the server did not start")


def _compare(experiment: Experiment, problems: int) -> int:
    """Print how far the server is from the trainer, and return the exit code."""
    programs = experiment.programs
    score = jax.jit(programs.adapted.completion_logprobs)
    params = programs.adapt(read_checkpoint(experiment))
    if experiment.config.model.lora:
        changed = programs.adapted.with_other_adapters(params, SHARE)
    else:
        changed = jax.tree.map(lambda leaf: leaf * SCALE, params)
    policies = [programs.sampling_weights(each) for each in (params, changed)]
    request = training_request(experiment.config, step=1)
    print("policy    tokens   seconds   mean |difference|   largest   under the other policy   again the same")
    for version, weights in enumerate(policies):
        begun = time.monotonic()
        experiment.engine.load(weights, version)
        loaded = time.monotonic() - begun
        first, again = (
            sample_and_judge(
                experiment.engine, experiment.task, experiment.task.problems(Split.TRAIN, problems), request
            ).rollouts
            for _ in range(2)
        )
        seconds = time.monotonic() - begun - loaded
        own, other = (_difference(experiment, score, each, first) for each in (weights, policies[1 - version]))
        same = float((first.completion_tokens == again.completion_tokens).all(axis=-1).mean())
        print(
            f"{version:6} {first.completion_lengths.sum():9} {loaded:5.1f} + {seconds:.1f} {own.mean():12.2e} "
            f"{own.max():17.2e} {other.mean():17.2e} {100 * same:20.0f} %"
        )
    experiment.engine.close()
    return 0


def _difference(experiment: Experiment, score: Any, weights: Params, rollouts: Rollouts) -> np.ndarray:
    """Return the |differences| of all tokens' log-probabilities."""
    read = (rollouts.prompt_tokens, rollouts.prompt_lengths, rollouts.completion_tokens)
    scored = fetch(score(weights, *put(read, experiment.programs.shardings.batch)))
    counted = np.arange(scored.shape[-1]) < rollouts.completion_lengths[..., None]
    differences: np.ndarray = np.abs(scored - rollouts.logprobs)[counted]
    return differences


def untie(checkpoint: Path, to: Path) -> None:
    """Copy a checkpoint whose head is its embedding, with a head of its own that has the same values.

    A reload of weights leaves a tied head behind in some builds of vLLM.
    """
    shutil.copytree(checkpoint, to)
    values = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(values | {"tie_word_embeddings": False}))
    tensors = load_file(to / "model.safetensors")
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, to / "model.safetensors")


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, type=Path, help="the interpreter of vLLM's environment")
    parser.add_argument("--config", default="configs/smollm2_135m.py", help="names a checkpoint")
    parser.add_argument("--port", type=int, default=8321)
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--log", type=Path, default=Path("vllm.log"), help="what the server says")
    parser.add_argument("--untie", action="store_true", help="with a copy of the checkpoint that has a head of its own")
    parser.add_argument("--enforce-eager", action="store_true", help="start the server sooner; it samples more slowly")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "rollout.engine.weights": folder,
            "rollout.engine.address": f"127.0.0.1:{arguments.port}",
            "rollout.engine.tolerance": "1e-3",
            "objective.old_logprobs": "trainer",
            "objective.importance_cap": "2.0",
        }
        config = load(arguments.config, list(settings.items()))
        if arguments.untie:
            untie(Path(config.model.checkpoint), Path(folder) / "untied")
            settings["model.checkpoint"] = str(Path(folder) / "untied")
        if config.model.lora:
            settings["rollout.engine.adapters"] = "alone"
        config = load(arguments.config, list(settings.items()))
        experiment = build(config)
        longest = experiment.task.max_prompt_tokens + config.rollout.max_new_tokens
        try:
            more = ["--enforce-eager"] * arguments.enforce_eager
            with serving(arguments.python, config, arguments.port, longest, arguments.log, more):
                return _compare(experiment, arguments.problems)
        except EngineError as error:
            print(f"error: {error} (see {arguments.log})", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
