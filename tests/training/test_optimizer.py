"""Learning rates and what else the recipe says of the optimizer."""

from __future__ import annotations

from chargen.config import TrainConfig
from chargen.model.spec import parse_stack
from chargen.training.optimizer import peak_learning_rate


def test_the_learning_rate_suits_the_most_sensitive_cell() -> None:
    assert peak_learning_rate(TrainConfig(), parse_stack("lstm:8")) == 8e-3
    assert peak_learning_rate(TrainConfig(), parse_stack("lstm:8,gru:8")) == 5e-3
    assert peak_learning_rate(TrainConfig(learning_rate=0.1), parse_stack("rnn:8")) == 0.1
    assert peak_learning_rate(TrainConfig(optimizer="rmsprop"), parse_stack("lstm:8")) == 2e-3
