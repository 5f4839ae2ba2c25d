"""Learning rates, and the steps of the rows of n-grams."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import embedding

from chargen.config import TrainConfig
from chargen.model.spec import parse_stack
from chargen.training.optimizer import peak_learning_rate
from chargen.training.row_adagrad import RowAdagrad


def test_the_learning_rate_suits_the_most_sensitive_cell() -> None:
    assert peak_learning_rate(TrainConfig(), parse_stack("lstm:8")) == 8e-3
    assert peak_learning_rate(TrainConfig(), parse_stack("lstm:8,gru:8")) == 5e-3
    assert peak_learning_rate(TrainConfig(learning_rate=0.1), parse_stack("rnn:8")) == 0.1
    assert peak_learning_rate(TrainConfig(optimizer="rmsprop"), parse_stack("lstm:8")) == 2e-3


def test_rows_learn_by_adagrad_with_one_sum_and_others_rest() -> None:
    weight = nn.Parameter(torch.zeros(5, 3))
    optimizer = RowAdagrad(weight)
    expected, sums = torch.zeros(5, 3), torch.zeros(5)
    for rows in ([0, 2, 2], [2, 4]):
        values = embedding(torch.tensor(rows), weight, sparse=True)  # (N, E)
        target = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(len(rows)))
        (values * target).sum().backward()
        gradient = torch.zeros(5, 3)
        for row, part in zip(rows, target, strict=True):
            gradient[row] += part
        sums += gradient.square().mean(dim=1)
        expected -= 0.1 * gradient / (sums.sqrt() + 1e-10)[:, None]
        optimizer.step(0.1)
        assert weight.grad is None
    torch.testing.assert_close(weight.detach(), expected)
    assert sums[[1, 3]].tolist() == [0, 0]
    torch.testing.assert_close(optimizer.sums, sums)
