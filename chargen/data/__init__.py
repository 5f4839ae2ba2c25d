"""From text to batches: sources, catalogue, corpus, statistics."""
