"""Exact speculation: drafts of the next tokens, which the policy reads together with a completion's newest one.

A token depends on its logits and its counter's noise alone. So after the policy has read the newest token and some
drafts, the choice at each of these positions is the one that plain decoding makes, as long as the drafts before it are
right. A draft is right if it equals the choice. All choices up to the first one that differs from its draft are kept.
Completions are the same for any drafts, so a completion can be sampled again by itself, without the history that its
drafts came from. (Decoding several tokens by a draft: arXiv 2211.17192. There a draft comes from a smaller model, and
is kept at random. Looking for drafts in texts: arXiv 2304.04487.)
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt32

from grpo_jax.sampling.lanes import CompletionArrays, Lanes
from grpo_jax.types import PromptBatch

NOTHING = -1  # no token has this id
COMPARED = 4  # at most this many tokens are compared to find a place


def texts(prompts: PromptBatch, earlier: Int[Array, "N G C"]) -> Int[Array, "U text"]:
    """Return the text of each completion in which its drafts are looked up: the prompt, with an earlier completion.

    Args:
      earlier: completions of these prompts, `NOTHING` after their ends.
    """
    group_size, room = earlier.shape[1:]
    prompt = jnp.pad(jnp.repeat(prompts.tokens, group_size, axis=0), ((0, 0), (0, room + 1)))
    behind = jnp.arange(prompt.shape[1])[None] - jnp.repeat(prompts.lengths, group_size)[:, None]
    completion = jnp.take_along_axis(earlier.reshape(-1, room), jnp.clip(behind, 0, room - 1), axis=1)
    return jnp.where(behind < 0, prompt, jnp.where(behind < room, completion, NOTHING))


def look_up(lanes: Lanes, completions: CompletionArrays, number: int) -> Int[Array, "L number"]:
    """Return drafts: the tokens after the earlier place that best matches the completion's end.

    Places are in the text and in the completion itself. The best one ends with the most of the completion's last
    tokens, at most `COMPARED`, which may reach back into the prompt; of equally good places it is the last. Where
    nothing follows, a draft is token 0.

    Args:
      lanes: each with one completion and its text.
      completions: of the shard.
      number: of drafts.
    """
    age, text, tokens = lanes.age, lanes.work.text, completions.tokens[lanes.slot, lanes.unit, 0]
    own = jnp.where(jnp.arange(tokens.shape[1])[None] <= age[:, None], tokens, NOTHING)
    whole = jnp.concatenate([text, own], axis=1)
    size = whole.shape[1]
    padded = jnp.pad(whole, ((0, 0), (COMPARED, number)), constant_values=NOTHING)

    def shifted(by: int) -> Int[Array, "L size"]:
        """Return the token that comes `by` places after each token of the whole."""
        return jax.lax.slice_in_dim(padded, COMPARED + by, COMPARED + by + size, axis=1)

    alike = shifted(1) != NOTHING
    same = jnp.zeros_like(whole)  # how many of the last tokens end at each place, if something follows it
    for back in range(COMPARED):
        at = (age - back)[:, None]  # below 0 at the prompt's end
        of_prompt = jnp.take_along_axis(text, jnp.maximum(lanes.work.prompt_length[:, None] + at, 0), axis=1)
        alike &= shifted(-back) == jnp.where(at < 0, of_prompt, jnp.take_along_axis(own, jnp.maximum(at, 0), axis=1))
        same += alike
    place = jnp.argmax(same * size + jnp.arange(size)[None], axis=1)
    # Beyond the end of the completion, drafts start again after the place, as in a text that repeats itself.
    period = jnp.maximum(text.shape[1] + age - place, 1)
    after = place[:, None] + 1 + jnp.arange(number)[None] % period[:, None]
    return jnp.maximum(jnp.take_along_axis(padded, COMPARED + after, axis=1), 0)


def kept(
    drafts: Int[Array, "L drafts"], chosen: Int[Array, "L window"], ends: Bool[Array, "L window"]
) -> Bool[Array, "L window"]:
    """Return which choices plain decoding would make: those after right drafts, up to the end of the completion.

    Args:
      drafts: the tokens that the policy has read after the newest one.
      chosen: the token chosen after the newest one, and after each draft.
      ends: whether a completion ends with the token.
    """
    right = (drafts == chosen[:, :-1]) & ~ends[:, :-1]
    return jnp.cumprod(jnp.pad(right, ((0, 0), (1, 0)), constant_values=True), axis=1).astype(bool)


class EarlierCompletions:
    """The last completions of each prompt, on the host. A completion drafts from the one that had its index."""

    def __init__(self, room: int):
        """Start without any completions.

        Args:
          room: C.
        """
        self._room = room
        self._groups: dict[int, Int[np.ndarray, "G longest"]] = {}

    def remember(
        self, ids: UInt32[np.ndarray, " N"], completions: Int[np.ndarray, "N G C"], lengths: Int[np.ndarray, "N G"]
    ) -> None:
        """Keep the completions of these prompts, in place of earlier ones."""
        tokens = np.where(np.arange(self._room) < lengths[..., None], completions, NOTHING)
        for prompt, group, longest in zip(ids.tolist(), tokens, lengths.max(axis=1), strict=True):
            self._groups[prompt] = group[:, :longest].copy()

    def of(self, ids: UInt32[np.ndarray, " N"], group_size: int) -> Int[np.ndarray, "N {group_size} C"]:
        """Return the earlier completions of these prompts, `NOTHING` where there are none."""
        found = np.full((len(ids), group_size, self._room), NOTHING, np.int32)
        for rows, prompt in zip(found, ids.tolist(), strict=True):
            group = self._groups.get(prompt, rows[:0])[:group_size]
            rows[: len(group), : group.shape[1]] = group
        return found
