"""Reporting: what a person sees of a run, in the terminal and as a page."""

from grpo_jax.reporting.console import Console
from grpo_jax.reporting.report import write_report

__all__ = ["Console", "write_report"]
