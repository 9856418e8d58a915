"""A teacher is asked once for equal batches, and what it is remembered to have said is what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import tiny_data, tiny_model
from torch import Tensor, nn

import workbench as wb
from workbench.building import build
from workbench.jobs import Reporter
from workbench.training import answers
from workbench.training.answers import Answers, answers_of


class Asked:
    """How often somebody was asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Tensor:
        self.times += 1
        return torch.full((2, 3), float(self.times))


def test_only_what_is_the_same_to_the_last_bit_is_remembered() -> None:
    known, asked, x = Answers(), Asked(), torch.randn(2, 1, 4, 4)
    first = known.to(x, asked)
    assert known.to(x.clone(memory_format=torch.channels_last), asked) is first
    others = [x + 1e-6, x.double(), x.reshape(2, 1, 2, 8), x[:1], x.flip(0), (x, x), {"a": x, "b": -x}]
    assert len({float(known.to(one, asked)[0, 0]) for one in others}) == len(others)
    with torch.autocast("cpu", torch.bfloat16):
        assert known.to(x, asked) is not first
    assert asked.times == len(others) + 2


def test_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ROOM", 3 * 24)
    known, asked = Answers(), Asked()
    for number in (0, 1, 2, 0, 3):  # 1 is the one that was not needed for longest
        known.to(torch.tensor([number]), asked)
    assert asked.times == 4
    for number in (0, 2, 3):
        known.to(torch.tensor([number]), asked)
    assert asked.times == 4
    known.to(torch.tensor([1]), asked)
    assert asked.times == 5


def test_a_network_with_other_weights_is_another() -> None:
    network, twin = nn.Linear(3, 2), nn.Linear(3, 2)
    before = answers_of(network)
    assert answers_of(network) is before and answers_of(twin) is not before
    with torch.no_grad():
        network.weight[0, 0] += 1
    assert answers_of(network) is not before


class Teacher(nn.Module):
    """A network that counts, over all its copies, how often it is asked."""

    times = 0

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        type(self).times += 1
        out: Tensor = self.network(x)
        return out


def test_who_trains_again_asks_only_for_what_is_new() -> None:
    """Batches are drawn by step and seed, so that of twice as many epochs the first half is known; nothing changes."""
    model = tiny_model()
    scene = build.context(model, tiny_data(), Reporter())

    def trained(epochs: int, teacher: nn.Module) -> dict[str, Tensor]:
        Teacher.times = 0
        found = wb.Finetune(epochs, lr=0.05).apply(model.module, replace(scene, original=teacher))
        return found.state_dict()

    teacher = Teacher(model.module)
    trained(2, teacher)
    steps = Teacher.times
    again = trained(4, teacher)
    assert Teacher.times == steps > 0
    fresh = trained(4, Teacher(model.module))
    assert Teacher.times == 2 * steps
    assert all(torch.equal(again[name], value) for name, value in fresh.items())
