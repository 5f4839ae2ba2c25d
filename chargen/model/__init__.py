"""The network: cells, language model, summary."""
