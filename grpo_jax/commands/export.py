"""Write the policy of a run as a checkpoint that transformers, vLLM and this project can load.

    grpo export --workdir=runs/smollm2_135m --to=models/trained [--best] [--dtype=bfloat16] [--adapters]

Adapters (model.lora) are merged into the weights; with --adapters they are written alone, in PEFT's format. The
directory appears complete or not at all.

Exit codes: 0 written; 2 not written, with the reason.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_jax.config import Config, ConfigError, MeshConfig, QuestionsConfig, command_line, from_dict
from grpo_jax.files import run_config
from grpo_jax.runs.directory import check_kept

if TYPE_CHECKING:
    from grpo_jax.training.experiment import Experiment


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=command_line.place, metavar="DIR", help="the run's directory")
    parser.add_argument(
        "--to", required=True, type=command_line.place, metavar="DIR", help="a new directory for the checkpoint"
    )
    parser.add_argument(
        "--best", action="store_true", help="export the checkpoint with the best validation, not the newest"
    )
    parser.add_argument("--adapters", action="store_true", help="write only the adapters, for PEFT")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "bfloat16", "float16"),
        help="of the written weights; default: float32",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = make_parser().parse_args(argv)

    if arguments.to.exists():
        return command_line.fail(f"--to={arguments.to}: already exists; name a directory that does not.", 2)
    try:
        config = from_dict(run_config(arguments.workdir))
        base = _adapters_base(config) if arguments.adapters else None
        check_kept(arguments.workdir, None)
    except (ConfigError, FileNotFoundError) as error:
        return command_line.fail(error, 2)

    command_line.tell("loading JAX ...")  # takes seconds; most mistakes are reported before
    import jax

    from grpo_jax.policy.huggingface import save_adapters, save_checkpoint
    from grpo_jax.training import restore

    try:
        # Use the devices at hand, not those of the run. No batch is split over `tensor`, so any number works.
        mesh = MeshConfig(data=1, fsdp=1, tensor=jax.device_count())
        experiment, restored = restore(arguments.workdir, mesh=mesh, best=arguments.best, policy_only=True)
        if base:
            save_adapters(arguments.to, experiment.programs.adapted, restored.state.params, base, arguments.dtype)
        else:
            with tempfile.TemporaryDirectory() as temporary:
                source = _source(experiment, Path(temporary))
                save_checkpoint(arguments.to, experiment.programs.policy, restored.params, source, arguments.dtype)
    except (ConfigError, FileNotFoundError, ValueError) as error:
        return command_line.fail(error, 2)
    if not arguments.adapters and not experiment.config.model.checkpoint and jax.process_index() == 0:
        from grpo_jax.data.pretrained import transformers_differs

        if difference := transformers_differs(arguments.to):
            print(f"warning: {difference}", file=sys.stderr)
    what = "adapters" if arguments.adapters else "policy"
    command_line.tell(f"{arguments.to}: the {what} of step {restored.step}, in {arguments.dtype}")
    return 0


def _adapters_base(config: Config) -> Path:
    """Return the checkpoint to which the adapters belong. Raises ConfigError if either does not exist."""
    model = config.model
    if model.lora is None:
        raise ConfigError("--adapters: the run has none, it trained all parameters (model.lora); leave it out.")
    if not model.checkpoint:
        raise ConfigError(
            "--adapters: the base policy comes from the warm start, so there is no checkpoint to load them with; leave "
            "the flag out to merge them."
        )
    return Path(model.checkpoint)


def _source(experiment: "Experiment", temporary: Path) -> Path:
    """Return a directory with the policy's config.json and tokenizer.

    For a policy from a checkpoint these are the checkpoint's files. If `task.tokenizer` names another tokenizer, that
    one's files are taken, since the policy has learned its template and its stop tokens. transformers stops at the
    tokens in generation_config.json, so that file is rewritten if it does not name all of the run's. For a policy from
    the warm start all files are written here.
    """
    from grpo_jax.policy.huggingface.exporter import COMPANIONS, LICENCES, TOKENIZER_FILES, copy_files

    config, task = experiment.config, experiment.task
    if not config.model.checkpoint:
        return _from_nothing(experiment, temporary)
    checkpoint = Path(config.model.checkpoint)
    named = config.task.tokenizer if isinstance(config.task, QuestionsConfig) else ""
    generation = checkpoint / "generation_config.json"
    values = json.loads(generation.read_text(encoding="utf-8")) if generation.exists() else {}
    ends = values.get("eos_token_id")
    if not named and set(ends if isinstance(ends, list) else [ends]) == set(task.stop_tokens):
        return checkpoint
    copy_files(checkpoint, temporary, ("config.json", *(LICENCES if named else COMPANIONS)))
    if named:
        copy_files(Path(named), temporary, TOKENIZER_FILES)
    _write(temporary / "generation_config.json", {**values, "eos_token_id": list(task.stop_tokens)})
    return temporary


def _from_nothing(experiment: "Experiment", temporary: Path) -> Path:
    """Write the files that describe a policy from the warm start, for transformers 4 and 5 and vLLM."""
    from grpo_jax.data import pretrained_tokenizer
    from grpo_jax.policy.huggingface import describe

    config, task = experiment.config, experiment.task
    longest = task.max_prompt_tokens + config.rollout.max_new_tokens
    ends, tokenizer = list(task.stop_tokens), pretrained_tokenizer(task)
    padding = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    # Written even if they are null: transformers has its own tokens for keys that are missing.
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": ends if len(ends) > 1 else ends[0]}
    ids["pad_token_id"] = padding
    _write(temporary / "config.json", {**describe(experiment.programs.policy.architecture, longest), **ids})
    _write(temporary / "generation_config.json", {**ids, "max_new_tokens": config.rollout.max_new_tokens})
    tokenizer.save_pretrained(str(temporary))
    named = temporary / "tokenizer_config.json"
    values = json.loads(named.read_text(encoding="utf-8"))
    if values.get("tokenizer_class") == "TokenizersBackend":  # a name that only transformers 5 knows, of the same class
        _write(named, {**values, "tokenizer_class": "PreTrainedTokenizerFast"})
    return temporary


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
