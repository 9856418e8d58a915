"""One pass over calibration inputs: batches, hooks and modes of a private copy, an end with the last layer."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from workbench.cost.trace import trace
from workbench.data.batches import as_split
from workbench.errors import Cancelled
from workbench.jobs import Reporter
from workbench.statistics import collector
from workbench.statistics.collector import Feed, Reads, hooked, observe, private

Tensor = torch.Tensor


class Counted(nn.Module):
    """Counts its runs in a list that all copies share."""

    runs: ClassVar[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.runs.append(len(x))
        return x


class Twice(nn.Module):
    """A layer that runs twice, one that runs once, and work behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.end = nn.Linear(3, 3), nn.Linear(3, 2), Counted()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.b(torch.relu_(self.a(self.a(x)))))


@pytest.fixture
def net() -> Twice:
    torch.manual_seed(0)
    Counted.runs.clear()
    return Twice().train()


def seen(net: nn.Module, names: list[str], feed: Feed) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    reducers = {name: (lambda x, n=name: found[n].append(x.clone())) for name in names}
    observe(net, reducers, feed, Reporter(), "looking")
    return {name: torch.cat(parts) for name, parts in found.items()}


def test_every_run_of_every_layer_is_seen(net: Twice) -> None:
    x = torch.randn(10, 3)
    found = seen(net, ["a", "b"], Feed(as_split(x), 4))
    with torch.no_grad():
        once = net.a(x)
        expected = torch.cat([part for pair in zip(x.split(4), once.split(4), strict=True) for part in pair])
        assert torch.allclose(found["a"], expected, atol=1e-6)
        assert torch.allclose(found["b"], net.a(once).relu(), atol=1e-6)


def test_a_pass_ends_with_the_last_layer_that_is_wanted(net: Twice) -> None:
    """The first batch runs through, which tells how often each layer runs; no later one does."""
    seen(net, ["a", "b"], Feed(as_split(torch.randn(10, 3)), 4))
    assert Counted.runs == [4]
    Counted.runs.clear()
    seen(net, ["end"], Feed(as_split(torch.randn(10, 3)), 4))
    assert Counted.runs == [4]  # its input is seen before it would run


def test_what_one_layer_reads_of_a_batch(net: Twice) -> None:
    x, reads = torch.randn(5, 3), Reads(net, "a")
    for _ in range(2):
        first, second = reads.of(x)
        assert torch.equal(first, x)
        assert torch.allclose(second, net.a(x).detach(), atol=1e-6)


def test_inputs_and_modules_stay_as_they_were(net: Twice) -> None:
    class Writes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2)

    whole = nn.Sequential(Writes(), net)
    x = torch.randn(6, 3)
    before = x.clone()
    for _ in Feed(as_split(x), 2):
        pass
    seen(whole, ["1.a"], Feed(as_split(x), 2))
    assert torch.equal(x, before)
    assert whole.training and not any(m._forward_pre_hooks or m._forward_hooks for m in whole.modules())


def test_hooks_go_when_something_fails(net: Twice) -> None:
    def fails(_: Tensor) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        observe(net, {"b": fails}, Feed(as_split(torch.randn(4, 3))), Reporter(), "")
    report = Reporter()
    report.cancelled.set()
    with pytest.raises(Cancelled):
        observe(net, {"b": lambda _: None}, Feed(as_split(torch.randn(4, 3))), report, "")
    with pytest.raises(AttributeError), hooked(net, reads={"a": lambda _: None, "missing": lambda _: None}):
        pass
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_a_private_copy_shares_weights_alone() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3, bias=False)).train()
    net[2].weight = nn.Parameter(net[0].weight.detach().T.clone())
    own = private(net)
    assert net.training and not own.training
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(net.parameters(), own.parameters(), strict=True))
    assert not any(one.requires_grad for one in own.parameters())
    assert all(one.requires_grad for one in net.parameters())
    own[1].running_mean.add_(1.0)
    assert float(net[1].running_mean.abs().max()) == 0.0


def test_a_weight_of_two_layers_stays_one() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    own = private(net)
    assert own[0].weight is own[1].weight


def test_batches_are_as_large_as_their_activations_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest pair of maps alive is that of the second layer: 8 x 16 x 16 in and out, 4 bytes each."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))
    network = trace(net, torch.zeros(1, 3, 16, 16))
    both = 2 * 8 * 16 * 16 * 4
    assert network.totals.peak_activation_bytes == both
    x = torch.zeros(500, 3, 16, 16)
    for bytes_alive, size in ((10 * both, 10), (both - 1, 1), (10**9, collector.MOST)):
        monkeypatch.setattr(collector, "LIVE_BYTES", bytes_alive)
        feed = Feed.of(x, network)
        assert feed.size == size
        assert sum(map(len, feed)) == len(feed) == 500 and max(map(len, feed)) == size


def test_progress_follows_the_inputs() -> None:
    told: list[float] = []
    list(Feed(as_split(torch.zeros(8, 1)), 2).reported(Reporter(lambda share, _: told.append(share)), "looking"))
    assert told == [0.0, 0.25, 0.5, 0.75]
