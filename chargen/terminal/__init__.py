"""The session in a terminal: ghost text, completion, text that streams above the prompt."""
