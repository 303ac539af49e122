"""A directory whose home is the address of a bucket: a working copy on this machine, and uploads in the background.

Everything reads and writes the working copy, which is an ordinary directory: it can be locked, appended to and cut off,
and training never waits for the network. `contents.py` says which of its files belong in the bucket, `upload.py` brings
it there in an order in which the bucket always holds a run that can be continued, `download.py` makes a working copy
from the bucket, `ownership.py` keeps other machines out, and `mirroring.py` joins them. Nothing here imports JAX.
"""

from grpo_jax.mirror.mirroring import NotUploaded, is_address, stored, working_copy

__all__ = ["NotUploaded", "is_address", "stored", "working_copy"]
