"""Run a case's steps with a GRPO loop in plain JAX: all of a policy's mathematics in this one file.

    python benchmarks/peers/run_plain_jax.py CASE

It shows what a few hundred lines reach that know one model and one machine: prompts prefilled once for a group,
projections fused, one random number for a token. Completions are decoded all together until the last has stopped, and
every group goes through the update at its full width. benchmarks/peers/compare.py starts this with a case as JSON.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from turns import Turns
from work import (
    CLIP,
    CLIP_NORM,
    LEARNING_RATE,
    NEW_TOKENS,
    NORM_EPSILON,
    PROMPT_TOKENS,
    ROPE_THETA,
    Case,
    Model,
    reward,
)

MASKED = -1e30
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
BLOCK = 128  # tokens of a block of the vocabulary, of which one is drawn first


class State(NamedTuple):
    """The state that an update changes: parameters, Adam's moments, and the number of updates so far."""

    params: Any
    first: Any
    second: Any
    updates: jax.Array


def initial(model: Model) -> State:
    """Return a fresh policy and Adam's moments."""
    keys = iter(jax.random.split(jax.random.key(0), 4 * model.layers + 1))

    def matrix(inputs: int, outputs: int) -> jax.Array:
        return jax.random.normal(next(keys), (inputs, outputs)) * inputs**-0.5

    attended, projected = model.heads * model.head, (model.heads + 2 * model.kv_heads) * model.head
    layers = [
        {
            "norm": jnp.ones(model.width),
            "qkv": matrix(model.width, projected),
            "bias": jnp.zeros(projected),
            "out": matrix(attended, model.width),
            "mlp_norm": jnp.ones(model.width),
            "gate_up": matrix(model.width, 2 * model.mlp),
            "down": matrix(model.mlp, model.width),
        }
        for _ in range(model.layers)
    ]
    embedding = jax.random.normal(next(keys), (model.vocabulary, model.width)) * model.width**-0.5
    params = {"embedding": embedding, "layers": layers, "norm": jnp.ones(model.width)}
    return State(params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params), jnp.int32(0))


def norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Return RMSNorm."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPSILON) * scale


def rotated(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Return heads [..., T, heads, head] with rotary positions [T]."""
    half = x.shape[-1] // 2
    angles = positions[:, None, None] * ROPE_THETA ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    low, high = x[..., :half], x[..., half:]
    return jnp.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1)


Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def layer(model: Model, params: Any, x: jax.Array, positions: jax.Array, attend: Attend) -> jax.Array:
    """Return what a layer makes of [B, T, width]; `attend` takes q [B, T, kv heads, repeats, head], k and v."""
    projected = norm(x, params["norm"]) @ params["qkv"] + params["bias"]
    heads = projected.reshape(*x.shape[:2], -1, model.head)
    q, k, v = jnp.split(heads, [model.heads, model.heads + model.kv_heads], axis=2)
    q, k = rotated(q, positions) * model.head**-0.5, rotated(k, positions)
    attended = attend(q.reshape(*x.shape[:2], model.kv_heads, -1, model.head), k, v)
    x = x + attended.reshape(*x.shape[:2], -1) @ params["out"]
    gate, up = jnp.split(norm(x, params["mlp_norm"]) @ params["gate_up"], 2, axis=-1)
    return x + (jax.nn.silu(gate) * up) @ params["down"]


def causal(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Attend to a row's own tokens up to each query."""
    scores = jnp.einsum("btkrh,bskh->bkrts", q, k)
    seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    return jnp.einsum("bkrts,bskh->btkrh", jax.nn.softmax(jnp.where(seen, scores, MASKED)), v)


def draw(key: jax.Array, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a token for each row of logits, and its log-probability. The inverse CDF, first of blocks of tokens."""
    rows, vocabulary = logits.shape
    block = BLOCK if vocabulary % BLOCK == 0 else vocabulary
    top = logits.max(axis=-1, keepdims=True)
    weights = jnp.exp(logits - top).reshape(rows, -1, block)
    until = jnp.cumsum(weights.sum(axis=-1), axis=-1)
    wanted = jax.random.uniform(key, (rows, 1)) * until[:, -1:]
    chosen = jnp.minimum((until <= wanted).sum(axis=-1), until.shape[1] - 1)
    before = jnp.where(chosen > 0, until[jnp.arange(rows), chosen - 1], 0)
    inside = before[:, None] + jnp.cumsum(weights[jnp.arange(rows), chosen], axis=-1)
    token = chosen * block + jnp.minimum((inside <= wanted).sum(axis=-1), block - 1)
    return token, logits[jnp.arange(rows), token] - top[:, 0] - jnp.log(until[:, -1])


class Rollouts(NamedTuple):
    """Completions [B, C], their log-probabilities and lengths."""

    tokens: jax.Array
    logprobs: jax.Array
    lengths: jax.Array


def sample(case: Case, params: Any, prompts: jax.Array, key: jax.Array) -> Rollouts:
    """Sample the completions of prompts [N, P], those of a group in turn."""
    model, rows = case.model, case.rollouts
    stops = np.asarray(case.stop_tokens, np.int32)
    of_prompts = []

    def prefill(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        of_prompts.append((k, v))
        return causal(q, k, v)

    x = params["embedding"][prompts]
    for one in params["layers"]:
        x = layer(model, one, x, jnp.arange(PROMPT_TOKENS), prefill)

    def next_tokens(key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = jnp.einsum("bd,vd->bv", norm(x, params["norm"]), params["embedding"])
        return draw(key, logits if len(logits) == rows else jnp.repeat(logits, case.group, axis=0))

    def body(state: Any) -> Any:
        step, newest, rollouts, caches, stopped = state
        written = []

        def attend(place: int, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            own = tuple(
                jax.lax.dynamic_update_slice(cache, jnp.swapaxes(new, 1, 2), (0, 0, step - 1, 0))
                for cache, new in zip(caches[place], (k, v), strict=True)
            )
            written.append(own)
            by_group = q.reshape(-1, case.group, *q.shape[2:])
            to_prompt = jnp.einsum("ngkrh,npkh->ngkrp", by_group, of_prompts[place][0])
            to_own = jnp.einsum("bkrh,bkch->bkrc", q[:, 0], own[0])
            to_own = jnp.where(jnp.arange(NEW_TOKENS) < step, to_own, MASKED)
            both = jnp.concatenate([to_prompt.reshape(*to_own.shape[:3], -1), to_own], axis=-1)
            shares = jax.nn.softmax(both)
            of_prompt = shares[..., :PROMPT_TOKENS].reshape(to_prompt.shape)
            found = jnp.einsum("ngkrp,npkh->ngkrh", of_prompt, of_prompts[place][1]).reshape(q.shape)
            return found + jnp.einsum("bkrc,bkch->bkrh", shares[..., PROMPT_TOKENS:], own[1])[:, None]

        x = params["embedding"][newest][:, None]
        for place, one in enumerate(params["layers"]):
            x = layer(model, one, x, PROMPT_TOKENS + step[None] - 1, partial(attend, place))
        token, logprob = next_tokens(jax.random.fold_in(key, step), x[:, 0])
        rollouts = Rollouts(
            jax.lax.dynamic_update_slice(rollouts.tokens, token[:, None], (0, step)),
            jax.lax.dynamic_update_slice(rollouts.logprobs, logprob[:, None], (0, step)),
            rollouts.lengths + ~stopped,
        )
        return step + 1, token, rollouts, tuple(written), stopped | jnp.isin(token, stops)

    token, logprob = next_tokens(jax.random.fold_in(key, 0), x[:, -1])
    empty = jnp.zeros((rows, NEW_TOKENS))
    rollouts = Rollouts(
        empty.astype(jnp.int32).at[:, 0].set(token), empty.at[:, 0].set(logprob), jnp.ones(rows, jnp.int32)
    )
    cache = jnp.zeros((rows, model.kv_heads, NEW_TOKENS, model.head))
    state = (jnp.int32(1), token, rollouts, ((cache, cache),) * model.layers, jnp.isin(token, stops))
    return jax.lax.while_loop(lambda state: (state[0] < NEW_TOKENS) & ~state[-1].all(), body, state)[2]


def logprobs(model: Model, params: Any, prompts: jax.Array, tokens: jax.Array) -> jax.Array:
    """Return the log-probabilities of completions [B, C], each after its prompt of [B, P]."""
    rows = jnp.concatenate([prompts, tokens[:, :-1]], axis=1)
    x = params["embedding"][rows]
    for one in params["layers"]:
        x = layer(model, one, x, jnp.arange(rows.shape[1]), causal)
    logits = jnp.einsum("btd,vd->btv", norm(x[:, prompts.shape[1] - 1 :], params["norm"]), params["embedding"])
    return jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0] - jax.nn.logsumexp(logits, axis=-1)


def update(case: Case, state: State, prompts: jax.Array, rollouts: Rollouts, advantages: jax.Array) -> State:
    """Take one of Adam's steps on the clipped objective, averaged over the tokens of a completion and then over all."""

    def loss(params: Any, prompts: jax.Array, rollouts: Rollouts, advantages: jax.Array) -> jax.Array:
        ratio = jnp.exp(logprobs(case.model, params, prompts, rollouts.tokens) - rollouts.logprobs)
        gains = jnp.minimum(ratio * advantages[:, None], jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantages[:, None])
        inside = jnp.arange(NEW_TOKENS) < rollouts.lengths[:, None]
        return -(jnp.where(inside, gains, 0).sum(axis=1) / rollouts.lengths).sum() / case.rollouts

    def add(total: Any, batch: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, jax.grad(loss)(state.params, *batch)), None

    every = (jnp.repeat(prompts, case.group, axis=0), rollouts, advantages)
    stacked = jax.tree.map(lambda array: array.reshape(-1, case.update_rows, *array.shape[1:]), every)
    gradient, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, state.params), stacked)
    length = jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda leaf: leaf * jnp.minimum(1, CLIP_NORM / length), gradient)
    updates = state.updates + 1
    first = jax.tree.map(lambda old, new: BETA1 * old + (1 - BETA1) * new, state.first, gradient)
    second = jax.tree.map(lambda old, new: BETA2 * old + (1 - BETA2) * new * new, state.second, gradient)

    def moved(old: jax.Array, mean: jax.Array, square: jax.Array) -> jax.Array:
        unbiased, scale = mean / (1 - BETA1**updates), jnp.sqrt(square / (1 - BETA2**updates))
        return old - LEARNING_RATE * unbiased / (scale + ADAM_EPSILON)

    return State(jax.tree.map(moved, state.params, first, second), first, second, updates)


def advantages_of(case: Case, rollouts: Rollouts) -> np.ndarray:
    """Return the rewards of completions, normalised in their groups."""
    rewards = np.array(
        [
            reward(tokens[: length - bool(stopped)].tolist(), case.is_void(row // case.group))
            for row, (tokens, length) in enumerate(zip(rollouts.tokens, rollouts.lengths, strict=True))
            for stopped in [tokens[length - 1] in case.stop_tokens]
        ],
        np.float32,
    ).reshape(-1, case.group)
    spread = rewards.std(axis=1, keepdims=True)
    centered = rewards - rewards.mean(axis=1, keepdims=True)
    return np.divide(centered, spread, out=np.zeros_like(rewards), where=spread > 0).reshape(-1)


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    turns = Turns("jax")
    case = Case.from_json(json.loads(argv[0]))
    prompts = jnp.asarray(case.prompt_ids(), jnp.int32)
    state = initial(case.model)
    sampler = jax.jit(partial(sample, case))
    updater = jax.jit(partial(update, case), donate_argnums=0)
    step = 0
    while True:
        began = time.perf_counter()
        rollouts = sampler(state.params, prompts, jax.random.key(step))
        on_host = jax.device_get(rollouts)
        rollout_seconds = time.perf_counter() - began
        state = jax.block_until_ready(updater(state, prompts, rollouts, advantages_of(case, on_host)))
        step += 1
        if not turns.finished(rollout_seconds=rollout_seconds, tokens=int(on_host.lengths.sum())):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
