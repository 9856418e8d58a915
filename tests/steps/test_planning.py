"""What is decided on a layer, and the figures that the decision is told with, worked out by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue, OutOfReach, UnknownName
from workbench.factorization.step import Factorize
from workbench.lowrank.ranks import parse
from workbench.plan import Decision, Plan, Row


def plan(step: Factorize, net: nn.Module, *shape: int) -> Plan:
    x = torch.zeros(1, *shape)
    return step.plan_on(trace(net, x), Weights(net))


def rows(step: Factorize, net: nn.Module, *shape: int) -> dict[str, Row]:
    return {row.layer: row for row in plan(step, net, *shape).rows}


def known(values: list[float], out: int, inputs: int) -> nn.Linear:
    """A linear layer of these singular values."""
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(size, len(values)))[0] for size in (out, inputs))
    layer = nn.Linear(inputs, out)
    layer.weight.data = left @ torch.diag(torch.tensor(values)) @ right.T
    return layer


#: Squares 64, 16, 4, 1, of 85; none of the others counts.
VALUES = [8.0, 4.0, 2.0, 1.0] + [0.0] * 6


def chain(last: nn.Linear | None = None) -> nn.Sequential:
    """Three linear layers; the last one is the head, which is judged with more care."""
    return nn.Sequential(nn.Linear(12, 20), known(VALUES, 10, 20), last or known(VALUES, 10, 10))


@pytest.mark.parametrize(
    ("rule", "rank"),
    [
        (4, 4), (0.4, 4), (0.34, 3), (0.01, 1), ("energy:0.75", 1), ("energy:0.9", 2), ("energy:0.95", 3),
        ("energy:0.99", 4), ({"1": 2, "*": 5}, 2), ({"*": 3}, 3),
    ],
)  # fmt: skip
def test_ranks_and_what_they_cost(rule: Any, rank: int) -> None:
    row = rows(wb.SVD(rule, layers="1"), chain(), 12)["1"]
    assert (row.decision, row.data["ranks"]) == (Decision.FACTORIZED, (rank,))
    assert (row.macs, row.macs_after) == (200, rank * (20 + 10))
    assert (row.params, row.params_after) == (210, rank * (20 + 10) + 10)
    lost = sum(value**2 for value in VALUES[rank:]) / 85
    assert row.relative_error == pytest.approx(lost**0.5, abs=1e-3)
    assert row.action == f"rank {rank}"


@pytest.mark.parametrize(("multiple", "rank"), [(1, 3), (2, 4), (4, 4)])
def test_ranks_are_rounded_to_a_multiple(multiple: int, rank: int) -> None:
    assert rows(wb.SVD(0.3, layers="1", round_to=multiple), chain(), 12)["1"].data["ranks"] == (rank,)


@pytest.mark.parametrize(
    ("rank", "decision", "said"),
    [
        (6, Decision.FACTORIZED, "rank 6"),  # 180 of 200
        (7, Decision.LARGER, "left alone: rank 7 would make it 1.05 times as large"),  # 210 of 200, 220 of 210
        (10, Decision.FULL_RANK, "left alone: rank 10 is the full rank, nothing to save"),
    ],
)
def test_what_saves_nothing_is_left_alone(rank: int, decision: Decision, said: str) -> None:
    row = rows(wb.SVD(rank, layers="1"), chain(), 12)["1"]
    assert (row.decision, row.action) == (decision, said)
    if not row.applies:
        assert (row.macs_after, row.params_after) == (200, 210)
    grown = rows(wb.SVD(rank, layers="1", allow_growth=True), chain(), 12)["1"]
    assert grown.applies and grown.macs_after == rank * 30


def test_a_chain_as_large_as_the_layer_saves_nothing() -> None:
    """2 * (4 + 4) of 4 * 4: no more multiplications and no fewer."""
    row = rows(wb.SVD(2), nn.Sequential(nn.Linear(4, 4, bias=False)), 4)["0"]
    assert row.action == "left alone: rank 2 would make it 1.00 times as large"


@pytest.mark.parametrize("rule", [0.1, "energy:0.5", "evbmf"])
def test_the_head_keeps_99_percent_of_its_energy(rule: Any) -> None:
    found = rows(wb.SVD(rule), chain(known(VALUES, 10, 10)), 12)
    assert found["2"].data["ranks"] == (4,)  # 84 of 85 are less
    assert found["1"].data["ranks"][0] < 4 or rule == "evbmf"
    tight = rows(wb.SVD(rule), chain(known([1.0] * 10, 10, 10)), 12)["2"]
    assert tight.decision is Decision.EDGE
    assert tight.action == (
        "left alone: first or last layer: keeping 99% of its energy saves nothing (rank 10); an explicit rank overrides"
    )
    assert rows(wb.SVD(3), chain(), 12)["2"].data["ranks"] == (3,)
    assert rows(wb.SVD({"2": 3, "*": 0.5}), chain(), 12)["2"].data["ranks"] == (3,)


@pytest.mark.parametrize(("channels", "edge"), [(3, True), (4, False)])
def test_a_stem_is_one_of_few_channels(channels: int, edge: bool) -> None:
    net = nn.Sequential(nn.Conv2d(channels, 32, 3), nn.Conv2d(32, 32, 3))
    net[0].weight.data = known([1.0] * 27, 32, 9 * channels).weight.data.reshape(32, channels, 3, 3)
    first = rows(wb.SVD(0.25), net, channels, 8, 8)["0"]
    assert (first.decision is Decision.EDGE) is edge
    assert first.applies is not edge


def test_one_linear_layer_alone_is_no_head() -> None:
    assert rows(wb.SVD(0.1), nn.Sequential(known([1.0] * 10, 10, 20)), 20)["0"].data["ranks"] == (1,)


def test_of_two_linear_layers_the_last_is_the_head() -> None:
    net = nn.Sequential(known(VALUES, 10, 12), known(VALUES, 10, 10))
    found = rows(wb.SVD(0.1), net, 12)
    assert [found[name].data["ranks"] for name in "01"] == [(1,), (4,)]


def test_a_mapping_leaves_what_it_does_not_name() -> None:
    found = rows(wb.SVD({"1": 3}), chain(), 12)
    assert found["1"].applies
    assert {found[name].action for name in "02"} == {"left alone: the mapping of ranks does not name it"}


class Uses(nn.Module):
    """A layer that runs on vectors of two shapes, one that runs twice on the same, two with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.two, self.same = nn.Linear(8, 8), nn.Linear(8, 8)
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.other.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.two(x) + self.two(x[:, :1])
        return self.other(self.one(self.same(self.same(x))))


def test_layers_that_run_twice() -> None:
    found = rows(wb.SVD(2), Uses(), 3, 8)
    assert (found["two"].macs, found["two"].macs_after) == ((3 + 1) * 64, (3 + 1) * 2 * 16)
    same = found["same"]
    assert (same.macs, same.macs_after) == (2 * 3 * 64, 2 * 3 * 2 * 16)
    assert (same.params, same.params_after) == (72, 2 * 16 + 8)
    assert found["one"].action.startswith("left alone: it shares its weight with 'other'")
    assert found["other"].action.startswith("left alone: it shares its weight with 'one'")
    cost = (3 + 1) * 2 * 16 + 2 * 2 * 3 * 16 + 2 * 3 * 64
    assert plan(wb.SVD(2), Uses(), 3, 8).macs == cost


def test_layers_that_no_rank_fits() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(4, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    nn.init.zeros_(net[1].weight)
    net[2].weight.data[0, 0, 0, 0] = float("inf")
    found = rows(wb.SVD(2), net, 4, 12, 12)
    assert {name: row.action.removeprefix("left alone: ") for name, row in found.items()} == {
        "0": "rank 2",
        "1": "its weights are all zero",
        "2": "its weights hold NaN or infinite values",
        "3": "rank 2",
    }
    deep = rows(wb.SpatialSVD(2), nn.Sequential(nn.Conv3d(4, 8, 3)), 4, 6, 6, 6)
    assert deep["0"].action.startswith("left alone: its kernel extends in three directions")


@pytest.mark.parametrize(
    ("rule", "ranks"), [((0.01, 4), (1, 4)), ((0.25, 0.5), (4, 4)), ((3, 0.25), (3, 2)), ((99, 5), (16, 5))]
)
def test_a_rank_for_each_side_may_be_a_number_or_a_share(rule: Any, ranks: tuple[int, int]) -> None:
    net = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 160, 3))  # the second is why 99 is no slip
    assert rows(wb.Tucker(rule), net, 8, 8, 8)["0"].data["ranks"] == ranks


# --- slips


@pytest.mark.parametrize(
    ("family", "rule", "says"),
    [
        (wb.SVD, (3, 4), r"SVD\(rank=\(3, 4\)\): give one number, or 1 for the 1 ranks"),
        (wb.Tucker, (3, 4, 5), r"Tucker\(rank=\(3, 4, 5\)\): give one number, or 2"),
        (wb.SVD, {"0": (1, 2)}, r"give one number"),
    ],
)
def test_a_rule_that_a_family_has_no_use_for(family: type[Factorize], rule: Any, says: str) -> None:
    with pytest.raises(BadValue, match=says):
        family(rule)
    assert wb.Tucker((3, 4)).rule == parse((3, 4))


def test_a_rank_above_every_full_rank_is_a_slip() -> None:
    net = chain()  # full ranks 12, 10, 10
    with pytest.raises(BadValue, match=r"SVD\(rank=13\).*the largest is 12, of '0'"):
        plan(wb.SVD(13), net, 12)
    assert rows(wb.SVD(12, allow_growth=True), net, 12)["1"].data["ranks"] == (10,)
    with pytest.raises(BadValue, match=r"rank=11.*the largest is 10, of '1'"):
        plan(wb.SVD({"1": 11, "0": 3}), net, 12)
    conv = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3))
    with pytest.raises(BadValue, match=r"the largest is 16, 16, of '1'"):
        plan(wb.Tucker((17, 4)), conv, 8, 8, 8)
    assert rows(wb.Tucker(12, layers="0", allow_growth=True), conv, 8, 8, 8)["0"].data["ranks"] == (12, 8)
    with pytest.raises(UnknownName):
        plan(wb.SVD(2, layers="nothing"), net, 12)


# --- budgets


@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("share", [0.52, 0.6, 0.7, 0.8, 0.9])
def test_a_budget_is_spent_as_well_as_it_can_be(kind: str, share: float) -> None:
    """Against every pair of ranks that two layers can have: the least sum of squared relative errors.

    Near the whole of a layer, which costs as much as eight ranks and loses nothing, it may miss the best by a little.
    """
    values = [0.85**k for k in range(16)], [0.7**k for k in range(16)]
    net = nn.Sequential(nn.Linear(16, 16), known(values[0], 16, 16), known(values[1], 16, 16), nn.Linear(16, 4))
    step = wb.SVD(f"{kind}:{share}", layers=("1", "2"))
    found = plan(step, net, 16)
    before, after = (getattr(one, kind) for one in (found.before, found.totals))
    assert after <= share * before
    bias = 16 * (kind == "params")
    choices = [(rank, 32 * rank + bias) for rank in range(1, 8)] + [(16, 256 + bias)]  # 8 are as large as the layer
    rest = before - 2 * (256 + bias)
    least = min(
        loss(values[0], one) + loss(values[1], other)
        for (one, cost), (other, more) in itertools.product(choices, choices)
        if rest + cost + more <= share * before
    )
    ranks = [row.data["ranks"][0] if row.applies else 16 for row in found.rows]
    assert least * 0.999 <= sum(map(loss, values, ranks)) <= least * (1.001 if share < 0.75 else 1.15)


def loss(values: list[float], rank: int) -> float:
    return sum(one**2 for one in values[rank:]) / sum(one**2 for one in values)


def test_a_budget_out_of_reach_says_what_is_the_least() -> None:
    net = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False), nn.Linear(16, 4, bias=False))
    # of 256 + 256 + 64 the second can go down to rank 1, which is 32: (256 + 32 + 64) / 576
    with pytest.raises(OutOfReach, match=r"0\.5 of the macs cannot be reached, the least is 0\.611") as refused:
        plan(wb.SVD("macs:0.5", layers="1"), net, 16)
    assert [row.action for row in refused.value.rows] == ["left alone: the budget cannot be reached"]
    assert plan(wb.SVD("macs:0.612", layers="1"), net, 16).macs == 352
    with pytest.raises(OutOfReach, match="there is no layer that SpatialSVD can treat"):
        plan(wb.SpatialSVD("macs:0.9"), net, 16)
    whole = plan(wb.SVD("macs:1.0", layers="1"), net, 16)
    assert [row.action for row in whole.rows] == ["left alone: the budget is better spent on other layers"]
