"""Joining the processes of a run on several hosts: the flags, and how the processes find each other."""

from grpo_jax.joining.flags import add_flags, join, join_at, several_hosts
from grpo_jax.joining.meeting import NotJoined, Place, meet

__all__ = ["NotJoined", "Place", "add_flags", "join", "join_at", "meet", "several_hosts"]
