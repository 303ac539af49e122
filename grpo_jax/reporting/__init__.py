"""Reporting: output for people, in the terminal and as pages."""

from grpo_jax.reporting.gradients import show_gradients
from grpo_jax.reporting.regrade import show_regraded
from grpo_jax.reporting.replay import show_replay
from grpo_jax.reporting.report import REPORT_FILE, write_report
from grpo_jax.reporting.study import write_study_report
from grpo_jax.reporting.suites import suites_table
from grpo_jax.reporting.summary import show_summary

__all__ = [
    "REPORT_FILE",
    "show_gradients",
    "show_regraded",
    "show_replay",
    "show_summary",
    "suites_table",
    "write_report",
    "write_study_report",
]
