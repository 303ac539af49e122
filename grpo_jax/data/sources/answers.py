"""How data sets write their answers."""

import re
from collections.abc import Callable, Mapping

from grpo_jax.rewards import last_boxed

_DIGIT_GROUPS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def after_hashes(text: str) -> str | None:
    """What follows the last ####, as GSM8K ends its solutions, without the commas that it groups digits by."""
    _, hashes, answer = text.rpartition("####")
    return _DIGIT_GROUPS.sub("", answer) if hashes else None


ANSWER_FORMATS: Mapping[str, Callable[[str], str | None]] = {
    "plain": str,
    "boxed": last_boxed,
    "after_hashes": after_hashes,
}
