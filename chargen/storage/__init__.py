"""Files: whole at every instant, cache, checkpoint, runs."""
