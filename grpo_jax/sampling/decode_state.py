"""The state of the decode loop: what it holds, how much work it has left, and how it lies on a mesh."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int

from grpo_jax.sampling import lanes
from grpo_jax.sampling.cache import Cache, lane_axis
from grpo_jax.sampling.lanes import CompletionArrays, Lanes, Left, Queue
from grpo_jax.sharding import named, on_each_shard
from grpo_jax.types import PromptBatch


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class DecodeState:
    """The state of the decode loop, and what one batch leaves to the next."""

    step: Int[Any, ""]
    slot: Int[Any, ""]  # of the newest batch; W slots are filled in turn
    prompts: PromptBatch  # [W, N]
    queue: Queue
    lanes: Lanes
    cache: Cache  # of the tokens that the decoder has read: all but the newest ones
    completions: CompletionArrays
    left: Left

    def oldest(self) -> Int[Array, ""]:
        """Return the slot of the oldest batch in flight, which is also the next one to be filled."""
        return (self.slot + 1) % len(self.prompts.ids)

    def batch(self, slot: Int[Array, ""]) -> tuple[PromptBatch, CompletionArrays]:
        """Return the prompts of a slot's batch, and the completions of its units."""
        held = self.prompts, self.completions
        found: tuple[PromptBatch, CompletionArrays] = jax.tree.map(
            lambda leaf: jax.lax.dynamic_index_in_dim(leaf, slot, keepdims=False), held
        )
        return found

    def with_batch(self, slot: Int[Array, ""], prompts: PromptBatch, completions: CompletionArrays) -> "DecodeState":
        """Return the state with a new batch in a slot.

        Args:
          prompts: [N].
          completions: [1, U].
        """
        held_prompts, held_completions = jax.tree.map(
            lambda held, new: jax.lax.dynamic_update_slice_in_dim(held, new, slot, 0),
            (self.prompts, self.completions),
            (jax.tree.map(lambda leaf: leaf[None], prompts), completions),
        )
        return replace(self, slot=slot, prompts=held_prompts, completions=held_completions)

    def lanes_of_shard(self) -> int:
        """Return the number of lanes of a shard."""
        return len(self.lanes.age) // len(self.left.waiting)

    def counted(self, mesh: Mesh | None) -> "DecodeState":
        """Return the state with the number of units that are left now."""
        left = on_each_shard(mesh, lanes.left, (0, 0, None), 0)(self.queue, self.lanes, self.oldest())
        return replace(self, left=left)

    def goes_on(self, last: Bool[Array, ""], few: int) -> Bool[Array, ""]:
        """Return whether a loop has work on any shard.

        Args:
          last: whether the loop decodes the remaining units until at most `few` are left.
          few: the number of units for which a narrower loop has enough lanes.
        """
        left = self.left
        return ((left.waiting > 0) | jnp.where(last, left.decoded > few, left.oldest > 0)).any()

    def laid_out(self, mesh: Mesh | None) -> "DecodeState":
        """Return the state laid out on the mesh, so that one compiled program takes and returns it."""
        if mesh is None:
            return self
        layers = (None,) * lane_axis(self.cache.prompts)

        def lay(tree: Any, *axes: str | None) -> Any:
            return jax.lax.with_sharding_constraint(tree, named(mesh, *axes))

        def lay_heads(tree: Any, after: int) -> Any:
            """Lay out the leaves of a cache in which `after` axes follow the axis of heads."""

            def of_leaf(leaf: Array) -> Array:
                between = (None,) * (leaf.ndim - len(layers) - 2 - after)
                return lay(leaf, *layers, "batch", *between, "kv_heads")

            return jax.tree.map(of_leaf, tree)

        return DecodeState(
            step=lay(self.step),
            slot=lay(self.slot),
            prompts=lay(self.prompts, None, "batch"),
            queue=lay(self.queue, "batch"),
            lanes=lay(self.lanes, "batch"),
            cache=Cache(
                prompts=lay_heads(self.cache.prompts, after=2),
                completions=lay_heads(self.cache.completions, after=2),
                newest=lay_heads(self.cache.newest, after=1),
            ),
            completions=lay(self.completions, None, "batch"),
            left=lay(self.left, "batch"),
        )
