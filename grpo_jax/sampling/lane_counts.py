"""How many lanes a shard has, and what follows from it: batches in flight, cached tokens, decode steps."""

import math

# Assumptions of `automatic_lanes`.
SHARE = 1 / 4  # mean length as a share of max_new_tokens; the paper's completions have some 600 tokens of 3,072
SHORTEST_ROOM = 64  # tokens
LEAST_SAVED = 0.2
MULTIPLE = 8  # the number of lanes is a multiple of this, because matrix products compute eight rows at a time
WIDE_ON_CPU = 6  # rows that cost as much as the fixed part of a step: 2 for the model of the demo, 8 for SmolLM2
BALANCE = 256  # rows whose products take an accelerator as long as reading the parameters


def each_group_has_a_lane(lanes: int, prompts: int, group_size: int, drafts: int = 0) -> bool:
    """Return whether no completion of a shard has to wait; then a lane takes a whole group, if there are no drafts.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
      drafts: that follow each newest token. Right ones let a completion overtake the others of its group.
    """
    return not drafts and not 0 < lanes < prompts * group_size


def automatic_lanes(
    completions: int,
    batch: int,
    *,
    prompt_tokens: int,
    room: int,
    accelerated: bool,
    parameters: int,
    cached_per_token: int,
    compressed: float = 1.0,
) -> int:
    """Return how many lanes a shard should have; 0: whole batches should be decoded, with a lane for each group.

    A step of L lanes takes the time of a fixed part and of L rows; `wide` rows cost as much as the fixed part. On
    accelerators a step reads the weights once, and the cached keys and values of every lane. Lanes decode completions x
    mean length / L steps, and then up to `room` more while they run dry. L is chosen so that the product is least, for
    a mean length of `room` x `SHARE`, and no larger than the cache of a whole batch. There are none if they would not
    save `LEAST_SAVED` of the time that whole batches take, or if `room` is short: a short room is usually chosen to fit
    the completions, so lengths differ little.

    Args:
      completions: of the request, on the shard.
      batch: completions of a batch, on the shard.
      prompt_tokens: P.
      room: C.
      accelerated: whether the devices are accelerators, not CPUs.
      parameters: of the policy.
      cached_per_token: elements of its keys and values.
      compressed: bytes of the weights that are read, over those that they would have if none was quantised.
    """
    row = cached_per_token * (prompt_tokens + room) / parameters + 1 / BALANCE  # in readings of unquantised weights
    wide = compressed / row if accelerated else WIDE_ON_CPU
    most = batch * room // (prompt_tokens + room)
    best = int(min(math.sqrt(SHARE * completions * wide), most)) // MULTIPLE * MULTIPLE
    if not best or room < SHORTEST_ROOM:
        return 0
    of_lanes = (SHARE * completions / best + 1) * (wide + best)
    of_batches = math.ceil(completions / batch) * (wide + batch)
    return best if of_lanes < (1 - LEAST_SAVED) * of_batches else 0


def batches_in_flight(lanes: int, batch: int, batches: int) -> int:
    """Return how many batches of a request should be in flight, so that lanes seldom wait for the oldest to finish.

    Args:
      lanes: of a shard.
      batch: completions of a batch, on the shard.
      batches: of the request.
    """
    return min(batches, 1 + math.ceil(lanes / (SHARE * batch)))


def cached_tokens(lanes: int, *, prompts: int, group_size: int, prompt_tokens: int, room: int, drafts: int = 0) -> int:
    """Return how many tokens' keys and values a shard has room for while sampling.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
      prompt_tokens: P.
      room: C.
      drafts: as `each_group_has_a_lane` takes them. With drafts there have to be lanes.
    """
    waiting = prompts * prompt_tokens
    if each_group_has_a_lane(lanes, prompts, group_size, drafts):
        return waiting + prompts * group_size * room
    return waiting + lanes * (prompt_tokens + room + drafts)


def full_length_steps(lanes: int, *, prompts: int, group_size: int, room: int, drafts: int = 0) -> tuple[int, float]:
    """Return a shard's decode steps if all completions have full length, and how many units a step's lanes take.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
      room: C.
      drafts: as `cached_tokens` takes them. None of them is right.
    """
    if each_group_has_a_lane(lanes, prompts, group_size, drafts):
        return room - 1, 0.0
    completions = prompts * group_size
    steps = -(-completions // lanes) * (room - 1)
    return steps, completions / max(steps, 1)
