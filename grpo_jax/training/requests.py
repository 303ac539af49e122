"""The requests that a configuration makes to its rollout engine."""

import numpy as np
from jaxtyping import Float

from grpo_jax.config import Config, ConfigError
from grpo_jax.data import Split
from grpo_jax.sampling import Capabilities, Counter, SamplingRequest, Stream


def training_request(
    config: Config,
    step: int,
    expected_lengths: Float[np.ndarray, " N"] | None = None,
    *,
    version: int | None = None,
) -> SamplingRequest:
    """Return the request for the groups of a training step.

    Args:
      version: the weights that must sample; None: any.
      expected_lengths: of the completions of its prompts, if they are known.
    """
    rollout = config.rollout
    return SamplingRequest(
        sampling=rollout.sampling,
        group_size=rollout.group_size,
        counter=Counter.of(config.seed, Stream.TRAINING, step),
        prompts_per_batch=rollout.prompts_per_batch,
        noise=rollout.noise,
        version=version,
        expected_lengths=expected_lengths,
    )


def evaluation_request(config: Config, split: Split, *, version: int | None = None) -> SamplingRequest:
    """Return the request for the evaluation of a policy on a split.

    The counter does not depend on the step, so two evaluations of a split differ only in their policies.

    Args:
      version: the weights that must sample; None: any.
    """
    settings = config.evaluation
    samples, stream = {
        Split.VALIDATION: (settings.validation_samples, Stream.VALIDATION),
        Split.TEST: (settings.test_samples, Stream.TEST),
    }[split]
    return SamplingRequest(
        sampling=settings.sampling,
        group_size=samples,
        counter=Counter.of(config.seed, stream, step=0),
        prompts_per_batch=settings.prompts_per_batch,
        version=version,
    )


def check_engine(config: Config, able: Capabilities) -> None:
    """Raise ConfigError if a configuration needs something that the engine cannot do."""
    if config.rollout.noise != "independent" and not able.coupled_noise:
        raise ConfigError(
            f"rollout.noise={config.rollout.noise!r}: the rollout engine cannot couple the noise of a group; set it to "
            "'independent'."
        )
    if config.objective.old_logprobs == "sampler" and not able.exact_logprobs:
        raise ConfigError(
            "objective.old_logprobs='sampler': the rollout engine's log-probabilities are not exactly the trainer's; "
            "set it to 'trainer'."
        )
