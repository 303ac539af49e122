"""Run a case's steps with Tunix: its `GRPOLearner` on an `RLCluster` with the sampler that Tunix has itself.

    python benchmarks/peers/run_tunix.py CASE

benchmarks/peers/compare.py starts this with a case as JSON.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from tunix.models.qwen2 import model as qwen2
from tunix.rl import rl_cluster
from tunix.rl.grpo import grpo_learner
from tunix.rl.rollout import base_rollout
from turns import Turns
from work import (
    CLIP,
    CLIP_NORM,
    LEARNING_RATE,
    NEW_TOKENS,
    NORM_EPSILON,
    PAD,
    PROMPT_TOKENS,
    ROPE_THETA,
    Case,
    as_ids,
    as_text,
    reward,
)

ENDLESS = 10**9


class Numbers:
    """A tokenizer whose texts are decimal numbers; its end of a text is a token that no policy samples."""

    def __init__(self, case: Case):
        self._end = case.model.vocabulary
        self._stops = case.stop_tokens

    def encode(self, text: str, **_: Any) -> list[int]:
        """Return the tokens of a text."""
        return as_ids(text)

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Return the text of tokens, without those that end it."""
        return as_text([token for token in map(int, ids) if token not in self._stops])

    def bos_id(self) -> None:
        """Return None: prompts have no mark of their beginning."""

    def eos_id(self) -> int:
        """Return the end of a text, for cases in which no token stops a completion."""
        return self._end

    def pad_id(self) -> int:
        """Return the token that stands for padding."""
        return PAD


def fresh_policy(case: Case) -> nnx.Module:
    """Return Tunix's Qwen2 with the initial values that `work.py` describes."""
    shape = case.model
    model = qwen2.Qwen2(
        qwen2.ModelConfig(
            num_layers=shape.layers,
            vocab_size=shape.vocabulary,
            embed_dim=shape.width,
            hidden_dim=shape.mlp,
            num_heads=shape.heads,
            head_dim=shape.head,
            num_kv_heads=shape.kv_heads,
            rope_theta=int(ROPE_THETA),
            norm_eps=NORM_EPSILON,
            use_tied_embedding=True,
        ),
        rngs=nnx.Rngs(0),
    )
    keys = iter(jax.random.split(jax.random.key(0), 8 * shape.layers))

    def initial(path: Any, leaf: jax.Array) -> jax.Array:
        if leaf.ndim == 1:  # norms and biases stay
            return leaf
        name = jax.tree_util.keystr(path)
        if "o_proj" in name:  # [heads, head, width]
            inputs = leaf.shape[:-1]
        elif "embedding" in name:  # [vocabulary, width]
            inputs = leaf.shape[1:]
        else:  # [inputs, ...]
            inputs = leaf.shape[:1]
        return jax.random.normal(next(keys), leaf.shape) * math.prod(inputs) ** -0.5

    nnx.update(model, jax.tree_util.tree_map_with_path(initial, nnx.state(model, nnx.Param)))
    return model


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    turns = Turns("google-tunix", "jax")
    case = Case.from_json(json.loads(argv[0]))
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))
    with mesh:
        _train(case, mesh, turns)


def _train(case: Case, mesh: jax.sharding.Mesh, turns: Turns) -> None:
    rollout = base_rollout.RolloutConfig(
        max_tokens_to_generate=NEW_TOKENS,
        max_prompt_length=PROMPT_TOKENS,
        kv_cache_size=PROMPT_TOKENS + NEW_TOKENS,  # no larger than needed
        temperature=1.0,
        top_p=1.0,
        eos_tokens=list(case.stop_tokens) or None,
        return_logprobs=True,
    )
    roles = (rl_cluster.Role.ACTOR, rl_cluster.Role.REFERENCE, rl_cluster.Role.ROLLOUT)
    cluster = rl_cluster.RLCluster(
        actor=fresh_policy(case),
        tokenizer=Numbers(case),
        cluster_config=rl_cluster.ClusterConfig(
            role_to_mesh=dict.fromkeys(roles, mesh),
            rollout_engine="vanilla",
            training_config=rl_cluster.RLTrainingConfig(
                actor_optimizer=optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE)),
                eval_every_n_steps=ENDLESS,
                max_steps=ENDLESS,
                mini_batch_size=case.prompts,
                train_micro_batch_size=max(1, case.update_rows // case.group),
                rollout_micro_batch_size=case.prompts,
            ),
            rollout_config=rollout,
        ),
    )
    learner = grpo_learner.GRPOLearner(
        rl_cluster=cluster,
        reward_fns=_rewards,
        algo_config=grpo_learner.GRPOConfig(num_generations=case.group, num_iterations=1, beta=0.0, epsilon=CLIP),
    )
    generate = cluster.generate
    sampled: list[Any] = []
    rollout_seconds: list[float] = []

    def timed(*arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        output = generate(*arguments, **keywords)
        rollout_seconds.append(time.perf_counter() - began)
        sampled.append(sum(map(len, output.tokens)))
        return output

    cluster.generate = timed

    class Steps:
        """The prompts of every step. Whoever asks for the next has finished the last."""

        def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
            prompts = np.array([as_text(ids) for ids in case.prompt_ids()])
            void = np.array([case.is_void(place) for place in range(case.prompts)])
            step, goes_on = 0, True
            while goes_on:
                rollout.seed = jax.random.PRNGKey(step)  # without one, all steps have the same random numbers
                step += 1
                yield {"prompts": prompts, "void": void}
                jax.block_until_ready(nnx.state(cluster.actor_trainer.model))
                goes_on = turns.finished(rollout_seconds=sum(rollout_seconds), tokens=sum(sampled))
                rollout_seconds.clear()
                sampled.clear()

    learner.train(Steps())


def _rewards(prompts: Sequence[str], completions: Sequence[str], void: Sequence[bool], **_: Any) -> list[float]:
    return [reward(as_ids(text), void=bool(of_void)) for text, of_void in zip(completions, void, strict=True)]


if __name__ == "__main__":
    main(sys.argv[1:])
