"""A run's directory: what it holds, whose it is, what was read for it, and its checkpoints."""
