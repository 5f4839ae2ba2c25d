"""Files on disk: atomic writes, cache, checkpoints, runs."""
