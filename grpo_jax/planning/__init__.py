"""Plans: the memory and time that a configuration would need on TPUs or GPUs, estimated without them.

`chips` prepares the environment, which must happen before JAX is imported. So nothing is imported here.
"""
