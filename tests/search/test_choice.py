"""The menu's prices against plans, the choice against trying every one, and limits that cannot be met."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import OutOfReach
from workbench.models import Model
from workbench.recipe import Step
from workbench.search.choice import choose
from workbench.search.harm import Harm
from workbench.search.menu import KEEP, Chain, Menu, Selection, menus
from workbench.steps.svd import SVD
from workbench.steps.tucker import Tucker


class Forked(nn.Module):
    """A residual sum, a depthwise layer, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.body = nn.Conv2d(16, 32, 3, padding=1)
        self.deep = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.back = nn.Conv2d(32, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = x + self.back(torch.relu(self.deep(torch.relu(self.body(x)))))
        logits: torch.Tensor = self.head(torch.relu(x).mean((2, 3)))
        return logits


@cache
def forked() -> Model:
    torch.manual_seed(0)
    return wb.load(Forked(), example=torch.zeros(1, 1, 14, 14))


def random_harm(menu: Menu, seed: int = 0) -> Harm:
    """Harm that grows with what goes, of sizes drawn at random."""
    rng = np.random.default_rng(seed)
    widths = tuple(tuple(float(rng.uniform(0.1, 1)) * width.removed(i) for i in range(len(width.kept)))
                   for width in menu.widths)  # fmt: skip
    pairs = sorted({(one.chain.family, slot.layer) for slot in menu.slots for one in slot.options if one.chain.family})
    return Harm(widths, {pair: float(rng.uniform(0.1, 1)) for pair in pairs})


@pytest.mark.parametrize("name", ["forked", "fashion-resnet", "fashion-mobilenet", "fashion-vgg", "fashion-squeezenet"])
@pytest.mark.parametrize("lowering", [(), (wb.Quantize("int8"),)], ids=["float", "int8"])
def test_what_a_choice_costs_is_what_its_plan_costs(name: str, lowering: tuple[Step, ...]) -> None:
    """Arithmetic and parameters to the number, where no layer reads two groups that are cut."""
    model = forked() if name == "forked" else wb.load(name)
    both = menus(model, lowering)
    harm = random_harm(both[0])
    before = wb.Recipe(lowering).plan(model)
    assert both[0].whole.macs == before.macs
    for share in (0.9, 0.7, 0.5):
        chosen = choose(both, harm, {"macs": share * before.macs})
        plan = chosen.selection.recipe(both[0]).plan(model)
        assert not plan.problem
        assert chosen.price.macs == pytest.approx(plan.macs, rel=1e-9 if name != "fashion-squeezenet" else 0.02)
        assert chosen.price.params == pytest.approx(plan.params, rel=1e-9 if name != "fashion-squeezenet" else 0.02)
        assert chosen.price.macs <= share * before.macs * (1 + 1e-9)
        changed = {one.layer for one in plan.rows if one.applies}
        assert set(chosen.selection.chains) <= changed


@pytest.mark.parametrize("name", ["fashion-resnet", "fashion-vgg"])
def test_the_predicted_latency_of_a_choice_is_its_plans(name: str) -> None:
    model = wb.load(name)
    both = menus(model, (wb.Quantize("int8"),))
    harm, before = random_harm(both[0]), wb.Quantize("int8").plan(model)
    for share in (0.8, 0.6):
        chosen = choose(both, harm, {"latency_ms": share * before.latency_ms})
        plan = chosen.selection.recipe(both[0]).plan(model)
        assert chosen.price.latency_ms == pytest.approx(plan.latency_ms, rel=0.02)


def every_choice(menu: Menu, harm: Harm) -> list[tuple[float, float, float]]:
    """(harm, MACs, parameters) of each way to choose."""
    found = []
    for levels in itertools.product(*(range(len(width.kept)) for width in menu.widths)):
        base = [harm.of_width(group, level) for group, level in enumerate(levels)]
        around = [menu.widths[group].prices[level] for group, level in enumerate(levels)]
        slots = []
        for slot in menu.slots:
            read, made = (0 if group is None else levels[group] for group in (slot.reads, slot.makes))
            kept = next(x.price for x in slot.options if (x.read, x.made, x.chain.family) == (0, 0, KEEP))
            here = [one for one in slot.options if (one.read, one.made) == (read, made)]
            slots.append([(harm.of_chain(slot.layer, one.chain), one.price - kept) for one in here])
        for options in itertools.product(*slots):
            macs = menu.whole.macs + sum(one.macs for one in around) + sum(price.macs for _, price in options)
            params = menu.whole.params + sum(one.params for one in around) + sum(price.params for _, price in options)
            found.append((sum(base) + sum(one for one, _ in options), macs, params))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_the_best_of_all(seed: int) -> None:
    menu = menus(forked(), (), (Tucker, SVD))[0]
    harm = random_harm(menu, seed)
    every = every_choice(menu, harm)
    assert len(every) > 100
    for share in (0.3, 0.5, 0.8):
        limits = {"macs": share * menu.whole.macs, "params": 0.7 * menu.whole.params}
        best = min(one for one, macs, params in every if macs <= limits["macs"] and params <= limits["params"])
        chosen = choose([menu], harm, limits)
        assert chosen.harm == pytest.approx(best, rel=0.006, abs=1e-9)
        assert chosen.harm >= best - 1e-9
        assert 0 <= chosen.gap <= 0.006


def test_limits_out_of_reach_name_the_least() -> None:
    menu = menus(forked(), (), (Tucker,))[0]
    harm = random_harm(menu)
    least = min(macs for _, macs, _ in every_choice(menu, harm))
    with pytest.raises(OutOfReach, match="the least that any choice reaches") as told:
        choose([menu], harm, {"macs": 0.5 * least})
    assert f"{least:,.0f}" in str(told.value)
    tight = choose([menu], harm, {"params": 0.0 + min(p for *_, p in every_choice(menu, harm))})
    with pytest.raises(OutOfReach, match="not all together"):
        choose([menu], harm, {"params": tight.price.params, "latency_ms": tight.price.latency_ms * 0.999})


def test_memory_is_kept_to_at_every_operation() -> None:
    model = wb.load("fashion-vgg")
    menu = menus(model)[0]
    before = wb.Recipe().plan(model).peak_activation_bytes
    chosen = choose([menu], random_harm(menu), {"peak_bytes": 0.6 * before})
    assert chosen.selection.recipe(menu).plan(model).peak_activation_bytes <= 0.6 * before
    with pytest.raises(OutOfReach, match="bytes of activations"):
        choose([menu], random_harm(menu), {"peak_bytes": 0.01 * before})


def test_what_was_not_tried_is_not_chosen() -> None:
    menu = menus(forked())[0]
    harm = Harm(random_harm(menu).widths, {})
    assert not choose([menu], harm, {"macs": 0.5 * menu.whole.macs}).selection.chains
    assert math.isinf(harm.of_chain("body", Chain("Tucker", (2, 2), 0.5)))


def test_one_kind_alone() -> None:
    menu = menus(forked())[0]
    harm = random_harm(menu)
    limits = {"macs": 0.7 * menu.whole.macs}
    assert not choose([menu], harm.only("channels"), limits).selection.chains
    assert not any(choose([menu], harm.only("chains"), limits).selection.levels)


def test_an_empty_selection_is_an_empty_recipe() -> None:
    menu = menus(forked())[0]
    assert Selection(tuple(0 for _ in menu.widths)).recipe(menu) == wb.Recipe()
