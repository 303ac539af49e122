"""A diagnosis before a run: checks of a configuration, its data, its reward, its policy and the machine.

`grpo_jax.doctor.examine` makes it. The form of a diagnosis is here, and needs no JAX.
"""

from grpo_jax.doctor.findings import Diagnosis, Finding, Section, Severity, Tokens, refused

__all__ = ["Diagnosis", "Finding", "Section", "Severity", "Tokens", "refused"]
