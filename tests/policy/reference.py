"""The decoder written down a second time: NumPy, float64, loops, no caches. Slow, and easy to check by eye."""

import numpy as np


def to_float64(params):
    if isinstance(params, dict):
        return {name: to_float64(leaf) for name, leaf in params.items()}
    return np.asarray(params, np.float64)


def rms_norm(x, scale, epsilon):
    return x / np.sqrt((x**2).mean() + epsilon) * scale


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


def attention(layer, xs, config):
    group = config.num_heads // config.num_kv_heads
    queries, keys, values = [], [], []
    for position, x in enumerate(xs):
        q, k, v = (linear(x, layer[name], 1) for name in ("query", "key", "value"))
        if config.qk_norm:
            q = np.array([rms_norm(head, layer["query_norm"]["scale"], config.norm_epsilon) for head in q])
            k = np.array([rms_norm(head, layer["key_norm"]["scale"], config.norm_epsilon) for head in k])
        queries.append([rotate(head, position, config.rope.theta) for head in q])
        keys.append([rotate(head, position, config.rope.theta) for head in k])
        values.append(v)
    out = []
    for t in range(len(xs)):
        heads = []
        for h in range(config.num_heads):
            served_by = h // group
            scores = np.array([queries[t][h] @ keys[s][served_by] for s in range(t + 1)]) / np.sqrt(config.head_dim)
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            heads.append(sum(weights[s] * values[s][served_by] for s in range(t + 1)))
        out.append(linear(np.array(heads), layer["out"], 2))
    return out


def mlp(layer, x):
    gate = linear(x, layer["gate"], 1)
    return linear(gate / (1 + np.exp(-gate)) * linear(x, layer["up"], 1), layer["down"], 1)


def logits(params, tokens, config):
    """Logits [T, V] of one row of tokens, for unrolled layers."""
    params = to_float64(params)
    xs = [params["embedding"][token] for token in tokens]
    for index in range(config.num_layers):
        layer = params["layers"][str(index)]
        normed = [rms_norm(x, layer["attention_norm"]["scale"], config.norm_epsilon) for x in xs]
        xs = [x + a for x, a in zip(xs, attention(layer["attention"], normed, config), strict=True)]
        xs = [x + mlp(layer["mlp"], rms_norm(x, layer["mlp_norm"]["scale"], config.norm_epsilon)) for x in xs]
    final = np.array([rms_norm(x, params["final_norm"]["scale"], config.norm_epsilon) for x in xs])
    return final @ params["embedding"].T if config.tied_head else linear(final, params["head"], 1)
