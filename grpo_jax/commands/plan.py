"""Compile the programs of a training step for TPUs or GPUs, without one, and report whether they fit.

    grpo plan --config=configs/FILE.py --topology=v5e:8x8 [--config.FIELD=VALUE ...] [--json=FILE]

A topology is a TPU slice, or the number of GPUs of a node and the number of nodes: h100:8, h100:8x2. docs/plan.md
explains the numbers and their limits. For a model with billions of parameters the command takes minutes on one CPU
core.

Exit codes: 0 it fits; 1 it does not fit; 2 a mistake in the configuration, or no compiler for these chips.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from grpo_jax.commands import reports_mistakes
from grpo_jax.config import ArchitectureConfig, Config, ConfigError, QuestionsConfig, command_line, load
from grpo_jax.planning.chips import chip_of, prepare_environment
from grpo_jax.terminal import PlainConsole

if TYPE_CHECKING:
    from grpo_jax.data import Task


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--topology", required=True, metavar="CHIPS", help="such as v5e:8x8, v6e:4x4, h100:8, h100:8x2")
    parser.add_argument("--prompt-tokens", type=int, metavar="N", help="the longest prompt; default: the task's limit")
    parser.add_argument("--json", type=command_line.path, metavar="FILE", help="a file for all numbers")
    return parser


@reports_mistakes
def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.parse(make_parser(), argv)
    command_line.check_file("--json", arguments.json)
    prepare_environment()
    chip_of(arguments.topology)
    config = load(arguments.config, arguments.overrides)

    # These imports take seconds; most mistakes are reported before.
    import jax

    from grpo_jax.data import make_task
    from grpo_jax.planning.plan import DoesNotFit, advice, make_plan
    from grpo_jax.planning.table import show

    jax.config.update("jax_enable_compilation_cache", False)  # JAX cannot load programs for chips that are not there
    task = cache(partial(make_task, config))  # made only if needed: the planned model and data may be absent here
    architecture, prompt_tokens = _architecture(config, task), _prompt_tokens(config, task, arguments.prompt_tokens)
    try:
        plan = make_plan(config, arguments.topology, architecture, prompt_tokens)
    except DoesNotFit as reason:
        command_line.tell(f"{reason}. Change {'; or '.join(advice(config, [reason.program]))}.")
        return 1
    show(plan, advice(config, plan.too_large), PlainConsole())
    if arguments.json:
        command_line.write("--json", arguments.json, json.dumps(plan.to_json(), indent=1) + "\n")
    return 0 if plan.fits else 1


def _architecture(config: Config, task: Callable[[], "Task"]) -> ArchitectureConfig:
    architecture = config.model.architecture
    if architecture is None:
        from grpo_jax.policy.huggingface import read_architecture

        architecture = read_architecture(Path(config.model.checkpoint))
    if architecture.vocab_size:
        return architecture
    if isinstance(config.task, QuestionsConfig):
        raise ConfigError("model.architecture.vocab_size=0: a plan reads no tokenizer; set it to the model's size.")
    from grpo_jax.training.experiment import tokens_of

    return dataclasses.replace(architecture, vocab_size=tokens_of(task()))


def _prompt_tokens(config: Config, task: Callable[[], "Task"], given: int | None) -> int:
    if given is not None:
        if given < 1:
            raise ConfigError(f"--prompt-tokens={given}: must be at least 1.")
        return given
    return config.task.max_prompt_tokens if isinstance(config.task, QuestionsConfig) else task().max_prompt_tokens
