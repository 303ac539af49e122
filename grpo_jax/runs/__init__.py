"""The run directory: its files, its owner, the digests of its inputs, and its checkpoints."""
