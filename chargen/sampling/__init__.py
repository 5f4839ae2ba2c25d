"""From logits to text: filters, decoding, sampler, beam, constraints."""
