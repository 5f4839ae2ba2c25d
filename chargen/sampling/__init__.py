"""Text generation from logits: filters, decoding, sampler, beam search, constraints."""
