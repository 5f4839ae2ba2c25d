"""Learning a text: run, trainer, learner, optimizer, plan, configuration, diagnostics, events."""
