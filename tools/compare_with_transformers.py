"""Compare greedy completions of a checkpoint by our sampler and by transformers on PyTorch, token by token.

    make test-parity    # makes .venv-parity, which has torch
    .venv-parity/bin/python tools/compare_with_transformers.py --config=configs/smollm2_135m.py \
      --config.model.checkpoint=models/smollm2_trained

The prompts are the configuration's test problems, as its task writes them. Both sides compute in float32. If two tokens
are almost equally likely, rounding may decide. The first completion that differs is printed.

Exit codes: 0 all completions are the same; 1 some differ; 2 a mistake in the configuration.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from grpo_jax.config import Config, ConfigError, agreeing, command_line, counted, load
from grpo_jax.data import Problem, Split, decode
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.training.base_policy import read_checkpoint
from grpo_jax.training.experiment import Experiment, build
from grpo_jax.training.requests import evaluation_request

GREEDY = [
    ("evaluation.sampling.temperature", "0.0"),
    ("evaluation.test_samples", "1"),
    ("evaluation.validation_samples", "1"),  # not used, but a rule of configurations requires it
]


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    arguments = command_line.parse(command_line.parser(__doc__), argv)
    try:
        config = load(Path(arguments.config), [*arguments.overrides, *GREEDY])
        experiment = build(config)
        problems = experiment.task.problems(Split.TEST, config.evaluation.test_problems)
        with closing(experiment.task.reward):
            ours = _ours(experiment, problems)
    except ConfigError as error:
        return command_line.fail(error, 2)
    prompts = experiment.task.prompt_tokens(problems)
    theirs = _theirs(config, prompts, experiment.task.stop_tokens)
    differing = [place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
    same = len(problems) - len(differing)
    are = agreeing(same, "is", "are")
    print(f"{same} of {counted(len(problems), 'greedy completion')} {are} the same token for token")
    if differing:
        place = differing[0]
        for name, tokens in (("ours", ours[place]), ("theirs", theirs[place])):
            (text,) = decode(experiment.task.tokenizer, np.array([tokens]), np.array([len(tokens)]))
            print(f"{problems[place].prompt!r}, {name}: {text!r}")
    return 1 if differing else 0


def _ours(experiment: Experiment, problems: Sequence[Problem]) -> list[list[int]]:
    experiment.engine.load(experiment.programs.policy_weights(read_checkpoint(experiment)), version=0)
    request = evaluation_request(experiment.config, Split.TEST)
    rollouts = sample_and_judge(experiment.engine, experiment.task, problems, request).rollouts
    lengths = rollouts.completion_lengths[:, 0]
    return [row[:length].tolist() for row, length in zip(rollouts.completion_tokens[:, 0], lengths, strict=True)]


def _theirs(config: Config, prompts: Sequence[Sequence[int]], stop_tokens: Sequence[int]) -> list[list[int]]:
    """Return the completions by transformers, which samples one prompt at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(config.model.checkpoint, dtype=torch.float32).eval()
    completions = []
    for prompt in prompts:
        tokens = torch.tensor([prompt])
        generated = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=config.rollout.max_new_tokens,
            do_sample=False,
            eos_token_id=list(stop_tokens),
            pad_token_id=stop_tokens[0],
        )
        completions.append(generated[0, len(prompt) :].tolist())
    return completions


if __name__ == "__main__":
    command_line.run(main)
