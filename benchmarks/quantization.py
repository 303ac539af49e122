"""Measure the time of sampling with weights in int8 against weights as they are (`rollout.quantization`).

    python benchmarks/quantization.py [--config=configs/two_grpo.py] [--repetitions=20]

The policy is that of the configuration's checkpoint, or a fresh one. Completions never stop, and both kinds of weights
sample the same prompts in turn. Prints the bytes of the weights, the medians of the milliseconds and of the processor
time of a decode step, and their ratios to those of the weights as they are, with quartiles; and how far the
log-probabilities of the tokens that the quantised policy samples are from the unquantised policy's.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from alternation import Spent, in_turn, ratio, several
from fresh_policy import built

from grpo_jax.config import command_line
from grpo_jax.data import Split, encode_prompts
from grpo_jax.policy import Policy
from grpo_jax.processes import put
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.training.base_policy import read_checkpoint
from grpo_jax.types import Params, Rollouts

CONFIG = Path(__file__).parent.parent / "configs" / "two_grpo.py"
NEVER = -1  # a stop token that no policy samples


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = command_line.parser(__doc__, config=str(CONFIG))
    parser.add_argument("--repetitions", type=several, default=20)
    arguments = command_line.parse(parser, argv)
    experiment = built(parser, arguments)
    programs, rollout, task = experiment.programs, experiment.config.rollout, experiment.task
    if rollout.max_new_tokens < 2:
        parser.error("--config.rollout.max_new_tokens=1: must be at least 2, for there to be steps of decoding")
    policy, with_checkpoint = programs.policy, experiment.config.model.checkpoint
    params = read_checkpoint(experiment) if with_checkpoint else programs.init_params(jax.random.key(0))
    weights = programs.policy_weights(params)
    kinds = {
        "as they are": (policy, weights),
        "int8": (policy.quantised, jax.jit(lambda params: policy.cast(policy.quantise(params)))(params)),
    }
    problems = task.problems(Split.TRAIN, rollout.prompts_per_batch)
    prompts = put(encode_prompts(task, problems), programs.shardings.batch)

    def prepared(policy: Policy, weights: Params, tokens: int) -> Callable[[int], Rollouts]:
        sampler = Sampler(
            policy,
            rollout.sampling,
            group_size=rollout.group_size,
            max_new_tokens=tokens,
            stop_tokens=[NEVER],
        ).sample
        compiled = jax.jit(sampler)
        return lambda step: compiled(weights, prompts, Counter.of(0, Stream.TRAINING, step))

    room = rollout.max_new_tokens
    programs_of = {(name, tokens): prepared(*kind, tokens) for name, kind in kinds.items() for tokens in (1, room)}
    found = programs_of["int8", room](0)
    groups = found.prompt_tokens, found.prompt_lengths, found.completion_tokens
    own = jax.jit(policy.completion_logprobs, static_argnames="temperature")
    trained = own(weights, *groups, temperature=rollout.sampling.temperature)
    difference = np.abs(np.array(trained) - np.array(found.logprobs))
    runs = in_turn(programs_of, arguments.repetitions)
    each_step = {  # without the prompts and first tokens, which a sample of one token takes
        name: [
            Spent(*((b - a) / (room - 1) for a, b in zip(first, whole, strict=True)))
            for first, whole in zip(runs[name, 1], runs[name, room], strict=True)
        ]
        for name in kinds
    }
    print(
        f"{len(prompts.ids)} prompts of {prompts.tokens.shape[1]} tokens, groups of {rollout.group_size}, "
        f"{rollout.max_new_tokens} new tokens; {experiment.config.model.compute_dtype}"
    )
    for name, (_, held) in kinds.items():
        megabytes = sum(leaf.nbytes for leaf in jax.tree.leaves(held)) / 1e6
        print(f"{name}: {megabytes:.2f} MB of weights", end="")
        for which, what in enumerate(Spent._fields):
            mine, plain = ([one[which] for one in each_step[way]] for way in (name, "as they are"))
            print(f"; {what} {statistics.median(mine):.3f} ms a step, ratio {ratio(mine, plain)}", end="")
        print()
    print(f"log-probabilities differ by {difference.mean():.4f} in the mean, and by at most {difference.max():.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
