"""Write the policy of a run as a checkpoint that transformers, vLLM and this project can load.

    grpo export --workdir=runs/smollm2_135m --to=models/trained [--best] [--dtype=bfloat16] [--adapters]

Adapters (model.lora) are merged into the weights; with --adapters they are written alone, in PEFT's format. The
directory appears complete or not at all. Its README.md is a model card: scores, data, objective, seed, commands. The
run does not know the license and the base model's name on the Hugging Face Hub: --license and --base-model state them.

--push=OWNER/NAME also uploads the directory to a new repository of the Hub, which is private unless --public is given.
The token is that of HF_TOKEN or of `hf auth login`. Read the card before others do: it has the run's commands, with the
names of your files.

Exit codes: 0 written, and uploaded if asked to; 1 written, but not uploaded, with the reason; 2 not written, with the
reason; 130 stopped by Ctrl-C.
"""

import argparse
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grpo_jax.config import Config, ConfigError, MeshConfig, QuestionsConfig, command_line, from_dict
from grpo_jax.files import read_json, run_config
from grpo_jax.hub import PushFailed, check_name, check_new, upload
from grpo_jax.runs.directory import RunDirectory, check_kept
from grpo_jax.runs.suite_scores import SUITES_FILE, SuiteReport

if TYPE_CHECKING:
    from grpo_jax.training.experiment import Experiment

LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # the form of the Hub's names


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=command_line.path, metavar="DIR", help="the run's directory")
    parser.add_argument(
        "--to", required=True, type=command_line.path, metavar="DIR", help="a new directory for the checkpoint"
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
    parser.add_argument(
        "--license",
        default="",
        metavar="NAME",
        help="the Hub's name of the license, such as apache-2.0; default: unknown",
    )
    parser.add_argument("--base-model", metavar="OWNER/NAME", help="the repository of the checkpoint that was trained")
    parser.add_argument(
        "--evaluation",
        type=command_line.path,
        metavar="DIR",
        help="the results of `grpo evaluate --run` for this policy, to be shown in the model card",
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload to this new repository of the Hugging Face Hub")
    parser.add_argument("--public", action="store_true", help="let everybody read that repository")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.read(make_parser(), argv)

    if arguments.to.exists():
        return command_line.fail(f"--to={arguments.to}: already exists; name a directory that does not.", 2)
    try:
        config = from_dict(run_config(arguments.workdir))
        base = _adapters_base(config) if arguments.adapters else None
        check_kept(arguments.workdir, None)
        suites = _suites(arguments.evaluation) if arguments.evaluation else None
        _check_sharing(arguments)
    except (ConfigError, FileNotFoundError) as error:
        return command_line.fail(error, 2)

    command_line.tell("loading JAX ...")  # takes seconds; most mistakes are reported before
    import jax

    from grpo_jax.policy.huggingface import read_config_file, save_adapters, save_checkpoint
    from grpo_jax.reporting.model_card import Exported, model_card
    from grpo_jax.training import restore

    to, dtype = arguments.to, arguments.dtype
    try:
        # Use the devices at hand, not those of the run. No batch is split over `tensor`, so any number works.
        mesh = MeshConfig(data=1, fsdp=1, tensor=jax.device_count())
        experiment, restored = restore(arguments.workdir, mesh=mesh, best=arguments.best, policy_only=True)
        if suites:
            _check_evaluated(arguments, suites, restored.step)
        exported = Exported(
            name=arguments.push or to.name,
            step=restored.step,
            best=arguments.best,
            dtype=dtype,
            adapters=arguments.adapters,
            base_model=arguments.base_model or "",
            license=arguments.license,
            suites=suites,
        )
        card = model_card(RunDirectory(arguments.workdir), exported)
        if base:
            adapted, params = experiment.programs.adapted, restored.state.params
            base_model = exported.base_model or str(base)
            save_adapters(to, adapted, params, read_config_file(base), dtype, base_model, card)
        else:
            with tempfile.TemporaryDirectory() as temporary:
                source = _source(experiment, Path(temporary))
                save_checkpoint(to, experiment.programs.policy, restored.params, source, dtype, card=card)
    except (ConfigError, FileNotFoundError, ValueError) as error:
        return command_line.fail(error, 2)
    if not arguments.adapters and not experiment.config.model.checkpoint and jax.process_index() == 0:
        from grpo_jax.data.pretrained import transformers_differs

        if difference := transformers_differs(to):
            print(f"warning: {difference}", file=sys.stderr)
    what = "adapters" if arguments.adapters else "policy"
    command_line.tell(f"{to}: the {what} of step {restored.step}, in {dtype}")
    return _push(to, arguments.push, public=arguments.public, step=restored.step) if arguments.push is not None else 0


def _push(directory: Path, name: str, *, public: bool, step: int) -> int:
    """Upload an export, and return the exit code. The export stays, whatever happens."""
    later = f"{directory} is complete, and `hf upload {name} {shlex.quote(str(directory))} . --private` uploads it"
    command_line.tell(f"uploading to {name} ...")
    try:
        address = upload(directory, name, public=public, message=f"The policy of step {step}")
    except PushFailed as error:
        return command_line.fail(f"--push={name}: {error}; {later}.", 1)
    except KeyboardInterrupt:
        return command_line.fail(f"--push={name}: stopped; {later}.", 130)
    command_line.tell(f"{address}: {'public' if public else 'private'}")
    return 0


def _check_sharing(arguments: argparse.Namespace) -> None:
    """Raise ConfigError if a flag about the model card or the upload is wrong, or if the Hub says that it will be."""
    if arguments.license and not LICENSE.fullmatch(arguments.license):
        raise ConfigError(
            f"--license={arguments.license}: is not the name of a license; take one of "
            "https://huggingface.co/docs/hub/repositories-licenses, such as apache-2.0."
        )
    if arguments.public and arguments.push is None:
        raise ConfigError("--public: nothing is uploaded; name a repository with --push.")
    if arguments.push and arguments.adapters and not arguments.base_model:
        raise ConfigError(
            f"--push={arguments.push}: the adapters would name their base by a path of this machine; name its "
            "repository with --base-model."
        )
    for flag, name, check in (("base-model", arguments.base_model, check_name), ("push", arguments.push, check_new)):
        try:
            if name is not None:
                check(name)
        except ConfigError as error:
            raise ConfigError(f"--{flag}={error}") from error


def _suites(directory: Path) -> SuiteReport:
    """Return the results of an evaluation on suites. Raise ConfigError if there are none."""
    report = RunDirectory(directory).suite_report()
    if report is None:
        raise ConfigError(f"--evaluation={directory}: has no {SUITES_FILE}; name the --workdir of `grpo evaluate`.")
    return report


def _check_evaluated(arguments: argparse.Namespace, report: SuiteReport, step: int) -> None:
    """Raise ConfigError if another policy than the exported one was evaluated."""
    if Path(report.policy.run).resolve() != arguments.workdir.resolve() or report.policy.step != step:
        raise ConfigError(
            f"--evaluation={arguments.evaluation}: is of {report.policy}, not of {arguments.workdir}, step {step}; "
            "evaluate this policy with `grpo evaluate --run`, or leave the flag out."
        )


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
    from grpo_jax.policy.huggingface.exporter import COMPANIONS, LICENCES, TOKENIZER_FILES, copy_files, write_json

    config, task = experiment.config, experiment.task
    if not config.model.checkpoint:
        return _write_description(experiment, temporary)
    checkpoint = Path(config.model.checkpoint)
    named = config.task.tokenizer if isinstance(config.task, QuestionsConfig) else ""
    generation = checkpoint / "generation_config.json"
    values = read_json(generation) if generation.exists() else {}
    ends = values.get("eos_token_id")
    if not named and set(ends if isinstance(ends, list) else [ends]) == set(task.stop_tokens):
        return checkpoint
    copy_files(checkpoint, temporary, ("config.json", *(LICENCES if named else COMPANIONS)))
    if named:
        copy_files(Path(named), temporary, TOKENIZER_FILES)
    write_json(temporary / "generation_config.json", {**values, "eos_token_id": list(task.stop_tokens)})
    return temporary


def _write_description(experiment: "Experiment", temporary: Path) -> Path:
    """Write the files that describe a policy from the warm start, for transformers 4 and 5 and vLLM."""
    from grpo_jax.data import pretrained_tokenizer
    from grpo_jax.policy.huggingface import describe
    from grpo_jax.policy.huggingface.exporter import write_json

    config, task = experiment.config, experiment.task
    longest = task.max_prompt_tokens + config.rollout.max_new_tokens
    ends, tokenizer = list(task.stop_tokens), pretrained_tokenizer(task)
    padding = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    # Written even if they are null: transformers has its own tokens for keys that are missing.
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": ends if len(ends) > 1 else ends[0]}
    ids["pad_token_id"] = padding
    write_json(temporary / "config.json", {**describe(experiment.programs.policy.architecture, longest), **ids})
    write_json(temporary / "generation_config.json", {**ids, "max_new_tokens": config.rollout.max_new_tokens})
    tokenizer.save_pretrained(str(temporary))
    named = temporary / "tokenizer_config.json"
    values = json.loads(named.read_text(encoding="utf-8"))
    if values.get("tokenizer_class") == "TokenizersBackend":  # a name that only transformers 5 knows, of the same class
        write_json(named, {**values, "tokenizer_class": "PreTrainedTokenizerFast"})
    return temporary
