"""What a configuration would need and take on a TPU slice that is not there."""

from grpo_jax.planning.plan import DoesNotFit, Plan, advice, as_dict, make_plan
from grpo_jax.planning.table import MARKDOWN_HEAD, markdown_row, show

__all__ = ["MARKDOWN_HEAD", "DoesNotFit", "Plan", "advice", "as_dict", "make_plan", "markdown_row", "show"]
