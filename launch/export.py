"""Writes the policy of a run as a checkpoint that transformers, vLLM and this project load.

    python launch/export.py --workdir=runs/smollm2_135m --to=models/trained [--best] [--dtype=bfloat16] [--adapters]

Adapters (model.lora) are merged into the weights, or with --adapters written alone, in PEFT's format. The directory
appears whole or not at all. Exit codes: 0 written; 2 it cannot be, and why.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grpo_jax.config import ConfigError, MeshConfig, QuestionsConfig, command_line
from grpo_jax.files import run_config

if TYPE_CHECKING:
    from grpo_jax.training.experiment import Experiment


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="the run's directory")
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="a new directory")
    parser.add_argument("--best", action="store_true", help="the checkpoint with the best validation, not the newest")
    parser.add_argument("--adapters", action="store_true", help="the adapters alone, for PEFT")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    arguments = parser.parse_args(argv)

    if arguments.to.exists():
        return command_line.fail(f"--to={arguments.to}: is there already; name a new directory", 2)
    try:
        run_config(arguments.workdir)
    except (ConfigError, FileNotFoundError) as error:
        return command_line.fail(error, 2)

    command_line.tell("loading JAX ...")  # takes seconds: most mistakes are told before
    import jax

    from grpo_jax.policy.huggingface import save_adapters, save_checkpoint
    from grpo_jax.training import restore

    try:
        # Whatever devices there are, and not the run's. No batch is cut over `tensor`, so any number of them will do.
        mesh = MeshConfig(data=1, fsdp=1, tensor=jax.device_count())
        experiment, restored = restore(arguments.workdir, mesh=mesh, best=arguments.best)
        if arguments.adapters:
            base = _adapters_base(experiment)
            save_adapters(arguments.to, experiment.adapted, restored.state.params, base, arguments.dtype)
        else:
            with tempfile.TemporaryDirectory() as temporary:
                source = _source(experiment, Path(temporary))
                save_checkpoint(arguments.to, experiment.policy, restored.params, source, arguments.dtype)
    except (ConfigError, FileNotFoundError, ValueError) as error:
        return command_line.fail(error, 2)
    what = "adapters" if arguments.adapters else "policy"
    command_line.tell(f"{arguments.to}: the {what} of step {restored.step}, in {arguments.dtype}")
    return 0


def _adapters_base(experiment: "Experiment") -> Path:
    """The checkpoint that adapters belong to. Raises ConfigError if there are none, or there is no checkpoint."""
    model = experiment.config.model
    if model.lora is None:
        raise ConfigError("--adapters: the run has none, all parameters were trained (model.lora); leave it out.")
    if not model.checkpoint:
        raise ConfigError(
            "--adapters: the base policy was made by the warm start, so no checkpoint goes with them; "
            "leave it out to merge them."
        )
    return Path(model.checkpoint)


def _source(experiment: "Experiment", temporary: Path) -> Path:
    """Where the policy's config.json and tokenizer are: its checkpoint's, or written now for one made from nothing."""
    from grpo_jax.policy.huggingface import describe

    config = experiment.config
    if config.model.checkpoint:
        checkpoint = Path(config.model.checkpoint)
        named = isinstance(config.task, QuestionsConfig) and config.task.tokenizer
        return _with_tokenizer(checkpoint, experiment, temporary) if named else checkpoint
    longest = experiment.task.max_prompt_tokens + config.rollout.max_new_tokens
    (temporary / "config.json").write_text(json.dumps(describe(experiment.policy.architecture, longest)))
    experiment.task.tokenizer.save_pretrained(temporary)
    return temporary


def _with_tokenizer(checkpoint: Path, experiment: "Experiment", temporary: Path) -> Path:
    """The checkpoint's companions with the tokenizer that the policy was trained with, where the task names another."""
    for pattern in ("config.json", "generation_config.json", "LICENSE*", "NOTICE*", "USE_POLICY*"):
        for file in checkpoint.glob(pattern):
            shutil.copy(file, temporary)
    experiment.task.tokenizer.save_pretrained(temporary)
    generation = temporary / "generation_config.json"
    values = json.loads(generation.read_text()) if generation.exists() else {}
    generation.write_text(json.dumps({**values, "eos_token_id": list(experiment.task.stop_tokens)}, indent=2) + "\n")
    return temporary


if __name__ == "__main__":
    command_line.run(main)
