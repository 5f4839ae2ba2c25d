"""How good a model is: negative log-likelihood, protocols, baselines, report, surprisal."""
