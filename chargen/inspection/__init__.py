"""Views inside a model: what its units follow, what its gates do, how far back it remembers."""
