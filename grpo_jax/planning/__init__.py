"""What a configuration would need and take on a TPU slice that is not there.

`chips` prepares the environment, which must be done before JAX is imported: nothing is imported here.
"""
