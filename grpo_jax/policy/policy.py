"""The policy: pure functions of a plain dictionary of parameters."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Shaped

from grpo_jax.config import ArchitectureConfig, ModelConfig
from grpo_jax.objectives import token_logprobs
from grpo_jax.policy import int8, lora
from grpo_jax.policy.attention import Attend, causal, with_prefix
from grpo_jax.policy.decoder import Decoder, quantised
from grpo_jax.policy.fused_attention import fused_causal
from grpo_jax.policy.group_attention import GroupRows, contiguous, group_attention
from grpo_jax.randomness import base_policy_key
from grpo_jax.sharding import SAMPLING_RULES, batch_shards, named, on_each_shard, tree_named
from grpo_jax.types import Params

MATRICES = ("kernel", "embedding", *lora.ADAPTERS)  # all other parameters are scales of norms, and biases


def _decoder(architecture: ArchitectureConfig, model: ModelConfig, key: Array) -> Decoder:
    return Decoder(architecture, model, nnx.Rngs(params=key))


@lru_cache(maxsize=64)  # policies on different meshes, which share an architecture, share it
def _graph_of(architecture: ArchitectureConfig, model: ModelConfig, in_int8: bool) -> tuple[nnx.GraphDef[Decoder], Any]:
    """Return the structure of a decoder without its parameters, and the shapes of these."""

    def make() -> Decoder:
        decoder = _decoder(architecture, model, base_policy_key(0))
        return quantised(decoder) if in_int8 else decoder

    graph, state = nnx.split(nnx.eval_shape(make))
    return graph, state


@dataclass(frozen=True)
class Policy:
    """A decoder of this shape. It holds no arrays, and all methods can be called inside `jax.jit`."""

    architecture: ArchitectureConfig
    model: ModelConfig  # how to compute it
    mesh: Mesh | None = None  # rows of activations are spread over it; without a mesh the compiler decides
    tokens: int | None = None  # ids from here on have no token and are never predicted; None: every id has a token
    in_int8: bool = False  # whether its kernels are quantised (`grpo_jax.policy.int8`); such a policy only samples
    # Tokens with which every prompt begins and after which it continues. The rows of a batch share their work.
    prompt_prefix: tuple[int, ...] = ()

    @property
    def vocab_size(self) -> int:
        """V, the number of logits. It includes ids from `tokens` on."""
        return self.architecture.vocab_size

    @property
    def _graph(self) -> tuple[nnx.GraphDef[Decoder], Any]:
        return _graph_of(self.architecture, self.model, self.in_int8)

    @property
    def _causal(self) -> Attend:
        return fused_causal(self.mesh) if self.model.attention == "fused" else causal

    def _model(self, params: Params) -> Decoder:
        return nnx.merge(self._graph[0], nnx.State(params))

    def _shard_rows(self, x: Array) -> Array:
        """Shard rows over all devices that share a batch. Otherwise the compiler may split x along its features."""
        if self.mesh is None:
            return x
        return jax.lax.with_sharding_constraint(x, named(self.mesh, "batch"))

    def _on_each_shard(self, function: Callable[[Any, Any], Array], params: Any, rows: Any) -> Array:
        return on_each_shard(self.mesh, function, (None, 0), 0)(params, rows)

    @cached_property
    def _layer_axes(self) -> Any:
        """The `logical_axes` of one layer; all layers are alike."""
        axes = self.logical_axes()["layers"]
        if not self.model.scan_layers:
            return axes["0"]
        return jax.tree.map(lambda names: names[1:], axes, is_leaf=lambda leaf: isinstance(leaf, tuple))

    def _gather(self, layer: Params) -> Params:
        """Return one layer's parameters as its products need them: in the compute dtype, and whole along fsdp.

        They are cast first, so that less data travels; their gradients travel in the compute dtype, too. By default the
        compiler would multiply piece by piece, and pass an accumulator through memory for each.
        """
        layer = self.cast(layer)
        if self.mesh is None:
            return layer
        return jax.lax.with_sharding_constraint(layer, tree_named(self.mesh, layer, self._layer_axes, SAMPLING_RULES))

    def init(self, key: Array) -> Params:
        """Make initial parameters: a nested dictionary of float32 arrays, even if the policy is quantised."""
        return nnx.to_pure_dict(nnx.state(_decoder(self.architecture, self.model, key)))

    def shapes(self) -> Params:
        """Return the tree of parameters, with a `jax.ShapeDtypeStruct` in place of each array."""
        return nnx.to_pure_dict(self._graph[1])

    def logical_axes(self) -> Any:
        """Return the tree of parameters, with the names of its axes (a tuple of texts) in place of each array."""

        def names(param: nnx.Variable[Any]) -> tuple[str, ...]:
            axes: tuple[str, ...] = param.get_metadata("axes")
            stacked = len(param.get_value().shape) > len(axes)
            return ("layers", *axes) if stacked else axes

        return nnx.to_pure_dict(
            jax.tree.map(names, self._graph[1], is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
        )

    def cast(self, params: Params) -> Params:
        """Cast matrices to the dtype in which a forward pass uses them: the same results, in fewer bytes.

        Those in int8 stay as they are, because they have even fewer bytes.
        """

        def leaf(path: tuple[Any, ...], parameter: Array) -> Array:
            matrix = path[-1].key in MATRICES and parameter.dtype != jnp.int8
            return parameter.astype(self.model.compute_dtype) if matrix else parameter

        return jax.tree_util.tree_map_with_path(leaf, params)

    @cached_property
    def base(self) -> "Policy":
        """This policy without adapters."""
        return dataclasses.replace(self, model=dataclasses.replace(self.model, lora=None)) if self.model.lora else self

    @cached_property
    def quantised(self) -> "Policy":
        """This policy with kernels in int8."""
        return dataclasses.replace(self, in_int8=True)

    def quantise(self, params: Params) -> Params:
        """Return the parameters of `quantised` that are nearest to these. Adapters stay as they are."""
        return int8.quantise_all(params, self.quantised.logical_axes())

    def merge(self, params: Params) -> Params:
        """Return parameters of `base` that compute the same: adapters are added to their kernels, in float32."""
        adapters = self.model.lora
        return lora.merge_adapters(params, adapters.scale, stacked=self.model.scan_layers) if adapters else params

    def with_other_adapters(self, params: Params, share: float) -> Params:
        """Return parameters whose adapters change each kernel by a share of its size; see `lora.other_adapters`."""
        assert self.model.lora is not None
        scale, stacked = self.model.lora.scale, self.model.scan_layers
        return lora.other_adapters(params, scale, share, stacked=stacked)

    def hidden_states(
        self,
        params: Params,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"] | None = None,
        attend: Attend | None = None,
        contexts: Any = None,
    ) -> tuple[Float[Array, "B T D"], Any]:
        """Compute final hidden states, and each layer's keys and values; see `Decoder`.

        Positions default to 0, 1, 2, ..., and attention to causal attention, plain or fused as `model.attention` says.
        """
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        attend = attend or self._causal
        return self._model(params)(
            tokens, positions, attend, contexts, self._shard_rows, self._gather, self._on_each_shard
        )

    def prefill(
        self, params: Params, prompts: Int[Array, "N P"], lengths: Int[Array, " N"]
    ) -> tuple[Float[Array, "N 1 D"], Any]:
        """Compute the final hidden state of each prompt's last token, and each layer's keys and values of all P."""
        shared, context = self._read_prefix(params, *prompts.shape)
        positions = jnp.broadcast_to(jnp.arange(shared, prompts.shape[1]), (len(prompts), prompts.shape[1] - shared))
        hidden, kv = self.hidden_states(params, prompts[:, shared:], positions, contexts=context)
        return _last(hidden, lengths - shared), with_prefix(context, kv)

    def _read_prefix(self, params: Params, rows: int, prompt_tokens: int) -> tuple[int, Any]:
        """Return how many tokens of every prompt are read once for all rows, and their keys and values.

        Each shard of a batch reads them for its own rows. A single row gains nothing, and kernels of fused attention
        take no prefix. A bucket that is narrower than the prefix is compiled but holds no prompt.
        """
        copies, shared = math.gcd(rows, batch_shards(self.mesh)), min(len(self.prompt_prefix), prompt_tokens - 1)
        if not shared or rows == copies or self.model.attention == "fused":
            return 0, None
        tokens = jnp.broadcast_to(jnp.asarray(self.prompt_prefix[:shared], jnp.int32), (copies, shared))
        return shared, self.hidden_states(params, tokens)[1]

    def logits(self, params: Params, hidden: Float[Array, "*batch D"]) -> Float[Array, "*batch V"]:
        """Compute the logits of the next token after each hidden state, in float32."""
        logits = self._model(params).logits(hidden)
        if self.tokens is None or self.tokens == self.vocab_size:
            return logits
        ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
        return jnp.where(ids < self.tokens, logits, -jnp.inf)

    def apply(self, params: Params, tokens: Int[Array, "B T"]) -> Float[Array, "B T V"]:
        """Compute the logits of rows that start at position 0; logits[:, t] predict tokens[:, t + 1]."""
        hidden, _ = self.hidden_states(params, tokens)
        return self.logits(params, hidden)

    def completion_logprobs(
        self,
        params: Params,
        prompt_tokens: Int[Array, "M P"],
        prompt_lengths: Int[Array, " M"],
        completion_tokens: Int[Array, "M G C"],
        *,
        temperature: float = 1.0,
        chunk: int = 0,
    ) -> Float[Array, "M G C"]:
        """Compute log pi(completion token t | prompt, earlier completion tokens).

        After a completion's end it is undefined. Only here are tokens and the states that predict them shifted against
        each other. A group's prompt is computed once, or as often as it takes to give all shards of a batch equal work.

        Args:
          temperature: divides the logits.
          chunk: for how many positions the logits [M x G, chunk, V] are in memory at once, in the backward pass, too; 0
            is all C.
        """
        m, g, width = completion_tokens.shape
        together = self._completions_of_a_row(m, g)
        prompts, lengths = (jnp.repeat(x, g // together, axis=0) for x in (prompt_tokens, prompt_lengths))
        shared, context = self._read_prefix(params, *prompts.shape)
        prompts = prompts[:, shared:]
        rows = GroupRows(lengths, prompts.shape[1], together, width - 1, prefix_tokens=shared)
        # The last token of a completion predicts nothing, so the decoder does not read it.
        read = completion_tokens[..., :-1].reshape(len(prompts), together * (width - 1))
        attend = contiguous(self._causal, rows) if self.model.attention == "fused" else group_attention(rows)
        tokens = jnp.concatenate([prompts, read], axis=1)
        hidden, _ = self.hidden_states(params, tokens, rows.positions(), attend, context)
        # A prompt's last state predicts its completions' first tokens.
        of_prompt, of_own = rows.split(hidden)
        last = _last(of_prompt, lengths - shared)[:, None]
        first = jnp.broadcast_to(last, (*of_own.shape[:2], *last.shape[2:]))
        predicting = jnp.concatenate([first, of_own], axis=2).reshape(m * g, width, -1)
        return self._score(params, predicting, completion_tokens.reshape(m * g, width), temperature, chunk).reshape(
            m, g, width
        )

    def _completions_of_a_row(self, groups: int, group_size: int) -> int:
        """Return the most completions of a group that a row can hold if all shards of a batch get equally many rows."""
        shards = batch_shards(self.mesh)
        divisors = (n for n in range(1, group_size + 1) if group_size % n == 0)
        return max((n for n in divisors if groups * group_size // n % shards == 0), default=1)

    def _score(
        self,
        params: Params,
        predicting: Float[Array, "B C D"],
        tokens: Int[Array, "B C"],
        temperature: float,
        chunk: int,
    ) -> Float[Array, "B C"]:
        """Compute the tokens' log-probabilities from the states that predict them; see `completion_logprobs`."""
        width = tokens.shape[1]

        def score(head: Params, hidden: Array, tokens: Array) -> Array:
            return token_logprobs(self.logits({**params, **head}, hidden), tokens, temperature)

        name = "embedding" if self.architecture.tied_head else "head"
        head = {name: params[name]}
        if chunk == 0 or chunk >= width:
            return score(head, predicting, tokens)

        def score_in_pieces(head: Params, hidden: Array, tokens: Array) -> Array:
            pieces = (_pieces(hidden, chunk), _pieces(tokens, chunk))
            scored = jax.lax.map(jax.checkpoint(lambda piece: score(head, *piece)), pieces)  # [chunks, B, chunk]
            return jnp.moveaxis(scored, 0, 1).reshape(len(tokens), -1)[:, :width]

        if self.mesh is None:
            return score_in_pieces(head, predicting, tokens)
        # By hand over the rows: the compiler would gather the head, and reduce its gradient, again for every piece.
        by_row = named(self.mesh, "batch").spec
        on_rows = jax.shard_map(
            score_in_pieces,
            mesh=self.mesh,
            in_specs=(jax.P(), by_row, by_row),
            out_specs=by_row,
            axis_names={"data", "fsdp"},
        )
        return on_rows(head, predicting, tokens)


def _last(hidden: Float[Array, "B T D"], lengths: Int[Array, " B"]) -> Float[Array, "B 1 D"]:
    """Return the state of each row's last token. Rows without tokens fill a batch, and get any state."""
    return jnp.take_along_axis(hidden, jnp.maximum(lengths, 1)[:, None, None] - 1, axis=1)


def _pieces(x: Shaped[Array, "B C *rest"], chunk: int) -> Shaped[Array, "pieces B chunk *rest"]:
    """Split x along C, and pad the last piece with zeros."""
    padded = jnp.pad(x, [(0, 0), (0, -x.shape[1] % chunk)] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(padded.reshape(len(x), -1, chunk, *x.shape[2:]), 1, 0)
