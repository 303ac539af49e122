"""The decoder written down a second time: NumPy, float64, loops, no caches. Slow, and easy to check by eye."""

import dataclasses

import numpy as np


def to_float64(params):
    if isinstance(params, dict):
        return {name: to_float64(leaf) for name, leaf in params.items()}
    return np.asarray(params, np.float64)


def rms_norm(x, weights, config):
    return x / np.sqrt((x**2).mean() + config.norm_epsilon) * (weights["scale"] + config.norm_offset)


def rotate(x, position, theta):
    half = len(x) // 2
    out = np.empty_like(x)
    for i in range(half):
        angle = position * theta ** (-2 * i / len(x))
        out[i] = x[i] * np.cos(angle) - x[i + half] * np.sin(angle)
        out[i + half] = x[i + half] * np.cos(angle) + x[i] * np.sin(angle)
    return out


def linear(x, weights, contract):
    out = np.tensordot(x, weights["kernel"], axes=contract)
    return out + weights["bias"] if "bias" in weights else out


def soft_cap(x, cap):
    return cap * np.tanh(x / cap) if cap else x


def attention(layer, xs, config, kind):
    group = config.num_heads // config.num_kv_heads
    sliding = kind == "sliding"
    theta = (config.local_rope if sliding and config.local_rope else config.rope).theta
    scale = config.query_scale or 1 / np.sqrt(config.head_dim)
    queries, keys, values = [], [], []
    for position, x in enumerate(xs):
        q, k, v = (linear(x, layer[name], 1) for name in ("query", "key", "value"))
        if config.qk_norm_of_all_heads:
            q, k = rms_norm(q, layer["query_norm"], config), rms_norm(k, layer["key_norm"], config)
        elif config.qk_norm:
            q = np.array([rms_norm(head, layer["query_norm"], config) for head in q])
            k = np.array([rms_norm(head, layer["key_norm"], config) for head in k])
        queries.append([rotate(head, position, theta) for head in q])
        keys.append([rotate(head, position, theta) for head in k])
        values.append(v)
    out = []
    for t in range(len(xs)):
        first = max(0, t + 1 - config.sliding_window) if sliding else 0
        heads = []
        for h in range(config.num_heads):
            served_by = h // group
            products = np.array([queries[t][h] @ keys[s][served_by] for s in range(first, t + 1)])
            scores = soft_cap(products * scale, config.attention_cap)
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            heads.append(sum(weight * values[first + s][served_by] for s, weight in enumerate(weights)))
        out.append(linear(np.array(heads), layer["out"], 2))
    return out


def activation(x, config):
    if config.activation == "silu":
        return x / (1 + np.exp(-x))
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def mlp(layer, x, config):
    if config.num_experts:
        return mixture(layer, x, config)
    return linear(activation(linear(x, layer["gate"], 1), config) * linear(x, layer["up"], 1), layer["down"], 1)


def mixture(layer, x, config):
    """One expert after the other, for one token."""
    scores = np.exp(linear(x, layer["router"], 1))
    chosen = np.argsort(-scores)[: config.experts_per_token]
    total = scores[chosen].sum() if config.normed_routing else scores.sum()
    dense = dataclasses.replace(config, num_experts=0)
    of = [{name: {"kernel": layer[name]["kernel"][expert]} for name in ("gate", "up", "down")} for expert in chosen]
    return sum(scores[expert] / total * mlp(kernels, x, dense) for expert, kernels in zip(chosen, of, strict=True))


def logits(params, tokens, config):
    """Logits [T, V] of one row of tokens, for unrolled layers."""
    params = to_float64(params)
    factor = config.embedding_multiplier * (np.sqrt(config.embed_dim) if config.scaled_embedding else 1)
    xs = [params["embedding"][token] * factor for token in tokens]
    for index in range(config.num_layers):
        layer = params["layers"][str(index)]
        kind = config.layer_types[index % len(config.layer_types)]

        def before(name, x, layer=layer):
            return rms_norm(x, layer[name], config) if config.pre_norms else x

        def after(name, x, layer=layer):
            return (rms_norm(x, layer[name], config) if config.post_norms else x) * config.residual_multiplier

        attended = attention(layer["attention"], [before("attention_norm", x) for x in xs], config, kind)
        xs = [x + after("attention_post_norm", a) for x, a in zip(xs, attended, strict=True)]
        xs = [x + after("mlp_post_norm", mlp(layer["mlp"], before("mlp_norm", x), config)) for x in xs]
    final = np.array([rms_norm(x, params["final_norm"], config) for x in xs])
    free = final @ params["embedding"].T if config.tied_head else linear(final, params["head"], 1)
    return soft_cap(free / config.logit_divisor, config.logit_cap)
