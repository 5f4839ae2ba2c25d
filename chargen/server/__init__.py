"""HTTP server: many clients, and one batch for each model."""
