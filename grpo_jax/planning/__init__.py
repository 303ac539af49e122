"""Plans: the memory and time that a configuration would need on a TPU slice, estimated without the slice.

`chips` prepares the environment, which must happen before JAX is imported. So nothing is imported here.
"""
