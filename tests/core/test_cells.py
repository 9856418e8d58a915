"""Recurrent cells: every product of every step is counted, also those with a first state of zeros."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import workbench as wb

STEPS, INS, WIDTH = 3, 8, 16
GATES = {nn.RNNCell: 1, nn.GRUCell: 3, nn.LSTMCell: 4}


class Unrolled(nn.Module):
    """A cell called once a step, from a state that it makes itself."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state: Any = None
        for step in range(STEPS):
            state = self.cell(x[:, step], state)
        return state[0] if isinstance(state, tuple) else state


class OwnCell(nn.Module):
    """The same written by hand: a state of zeros, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.stay = nn.Linear(INS, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(x.shape[0], WIDTH)
        for step in range(STEPS):
            state = torch.tanh(self.enter(x[:, step]) + self.stay(state))
        return state


def networks() -> list[tuple[nn.Module, int]]:
    return [(Unrolled(kind(INS, WIDTH)), gates) for kind, gates in GATES.items()] + [(OwnCell(), 1)]


@pytest.mark.parametrize(("module", "gates"), networks(), ids=["RNN", "GRU", "LSTM", "by hand"])
def test_every_step_counts_both_products(module: nn.Module, gates: int) -> None:
    x = torch.randn(1, STEPS, INS)
    with FlopCounterMode(display=False) as counter:
        module(x)
    expected = STEPS * gates * WIDTH * (INS + WIDTH)
    assert counter.get_total_flops() == 2 * expected
    cost = wb.cost(module.eval(), example=x)
    assert cost.macs == wb.cost(wb.load(module, example=x)).macs == expected
    assert cost.params == sum(one.numel() for one in module.parameters())
    assert not cost.unsupported


def test_a_table_made_of_zeros_and_weights_costs_nothing() -> None:
    """What depends on no input is no cost: it is computed once."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.table = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) + (torch.ones(4, 4) * self.table).sum(0)

    assert wb.cost(Shifted().eval(), example=(1, 4)).macs == 16


@pytest.mark.parametrize("step", [wb.SVD(0.5), wb.Prune(0.5), wb.Grouped(2), wb.Shift()], ids=lambda step: step.brief)
def test_a_plan_does_not_leave_recurrent_layers_out(step: wb.Recipe) -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(INS, WIDTH, batch_first=True), nn.Linear(WIDTH, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0])

    rows = step.plan(wb.load(Tagger(), example=(1, STEPS, INS))).rows
    (about,) = [row for row in rows if row.layer.startswith("lstm")]
    said = ("recurrent layers are not taken apart", "a recurrent layer has no")
    assert not about.applies and any(text in about.action for text in said)
