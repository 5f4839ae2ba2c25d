"""HTTP server: one model, many clients, one batch."""
