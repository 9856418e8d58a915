"""Harm of single options against the same done by hand; the network that it is tried on stays as it was."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_data, tiny_model
from torch.nn import functional

import workbench as wb
from workbench.building import build
from workbench.jobs import Reporter
from workbench.search.harm import DOUBT, Harm, apart, carried, measured
from workbench.search.known import remembered
from workbench.search.mending import mended
from workbench.search.menu import menus
from workbench.step import Context


def scene() -> Context:
    return build.context(tiny_model(), tiny_data(), Reporter())


def divergence(one: torch.nn.Module, other: torch.nn.Module, inputs: torch.Tensor) -> float:
    """The mean Kullback-Leibler divergence, by torch's own function."""
    with torch.no_grad():
        logs = [functional.log_softmax(each(inputs), 1) for each in (one, other)]
    return float(functional.kl_div(logs[1], logs[0], log_target=True, reduction="batchmean"))


def test_apart_is_the_divergence() -> None:
    one, other = tiny_model(), tiny_model(1)
    given = scene()
    assert given.calibration is not None
    inputs = given.calibration.read(range(len(given.calibration)))[0]
    assert isinstance(inputs, torch.Tensor)
    assert apart(one.module, other.module, one.network, given) == pytest.approx(
        divergence(one.module, other.module, inputs), rel=1e-4
    )
    assert apart(one.module, one.module, one.network, given) == pytest.approx(0.0, abs=1e-7)


def test_a_chain_alone_does_what_was_measured() -> None:
    """The harm at the ranks that were tried is the divergence of a network with that one chain."""
    model, given = tiny_model(), scene()
    menu = menus(model)[0]
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    harm = measured(model, menu, given, Reporter())
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    slot = next(one for one in menu.slots if one.layer == "conv2")
    offered = sorted({one.chain for one in slot.options if one.chain.family == "Tucker"}, key=lambda one: one.loss)
    tried = offered[len(offered) // 2]
    step = wb.Tucker(rank={"conv2": tried.ranks})
    changed = step.apply(model.module, given)
    assert harm.of_chain("conv2", tried) == pytest.approx(
        apart(model.module, changed, model.network, given), rel=1e-3, abs=1e-9
    )
    assert all(level[0] == 0 for level in harm.widths)
    assert all(list(level) == sorted(level) for level in harm.widths)  # the narrower the more harm


def test_harm_is_measured_once(tmp_path: Path) -> None:
    menu = menus(tiny_model())[0]
    pairs = {(one.chain.family, slot.layer) for slot in menu.slots for one in slot.options if one.chain.family}
    harm = Harm(((0.0, 0.25), (0.0, 1e-7)), dict.fromkeys(sorted(pairs), 0.1234567891234))
    hurried = replace(harm, chains={})
    assert remembered(tmp_path, "a", menu, lambda: hurried) == hurried  # not kept: families were left out
    assert remembered(tmp_path, "a", menu, lambda: harm) == harm

    def again() -> Harm:
        raise AssertionError

    assert remembered(tmp_path, "a", menu, again) == harm
    other = replace(harm, widths=())
    assert remembered(tmp_path, "b", menu, lambda: other) == other
    (file,) = [one for one in (tmp_path / "searches").iterdir() if "1234" in one.read_text()][:1]
    file.write_text(file.read_text()[:40])
    assert remembered(tmp_path, "a" if file else "", menu, lambda: harm) == harm  # a damaged file is made anew


def test_what_is_known_of_a_network_is_carried_to_one_with_less() -> None:
    menu = menus(wb.load("fashion-resnet"))[0]
    levels = tuple(
        tuple(0.1 * number * level for level in range(len(one.kept))) for number, one in enumerate(menu.widths)
    )
    harm = Harm(levels, {("SVD", "head.2"): 0.5})
    same = carried(harm, menu, menu)
    assert all(one == pytest.approx(other) for one, other in zip(same.widths, harm.widths, strict=True))
    fewer = carried(harm, menu, replace(menu, widths=menu.widths[2:]))
    assert fewer.chains == harm.chains
    assert all(one == pytest.approx(other) for one, other in zip(fewer.widths, harm.widths[2:], strict=True))


def test_without_time_families_are_left_out_and_named() -> None:
    model, report = tiny_model(), Reporter()
    harm = measured(model, menus(model)[0], scene(), report, until=0.0)
    assert not harm.chains
    assert harm.widths
    assert "no time to try" in report.notes[0]
    assert "CP" in report.notes[0]


def test_what_harm_might_be_too_is_as_uncertain_as_is_said() -> None:
    """For each group and each layer alone, for all options of it: medians are kept, and the spread is `DOUBT`."""
    harm = Harm(((0.0, 1.0, 3.0),) * 400, {("SVD", "a"): 1.0, ("Tucker", "a"): 2.0})
    shaken = harm.shaken(1)
    logs = np.log([one[1] for one in shaken.widths])
    assert abs(np.median(logs)) < 0.1 and np.std(logs) == pytest.approx(DOUBT, rel=0.15)
    assert all(one[2] == pytest.approx(3 * one[1]) and one[0] == 0.0 for one in shaken.widths)
    assert shaken.chains["Tucker", "a"] == pytest.approx(2 * shaken.chains["SVD", "a"])
    assert harm.shaken(1) == shaken and harm.shaken(2) != shaken


def test_training_evens_harm_out_between_layers() -> None:
    """Beside what each costs, of 100 times as much harm ten times are left."""
    (menu, *_) = menus(wb.load("fashion-vgg"), ())
    names = [slot.layer for slot in menu.slots]
    even = Harm(tuple((0.0, *(1.0,) * (len(one.kept) - 1)) for one in menu.widths), {("SVD", x): 1.0 for x in names})
    times = [10.0 ** (2 * place) for place in range(len(even.widths))]
    odd = replace(
        even,
        widths=tuple(tuple(by * one for one in width) for by, width in zip(times, even.widths, strict=True)),
        chains={key: 10.0 ** (2 * place) for place, key in enumerate(even.chains)},
    )
    one, other = mended(even, menu), mended(odd, menu)
    moved = [after[-1] / before[-1] for before, after in zip(one.widths, other.widths, strict=True)]
    assert [b / a for a, b in pairwise(moved)] == pytest.approx([10.0] * (len(moved) - 1))
    moved = [other.chains[key] / one.chains[key] for key in one.chains]
    assert [b / a for a, b in pairwise(moved)] == pytest.approx([10.0] * (len(moved) - 1))


def test_of_even_harm_training_leaves_the_more_the_more_time_it_saves() -> None:
    """By the root of what the plan says that each group saves, narrowed alone."""
    model = wb.load("fashion-vgg")
    (menu, *_) = menus(model, ())
    saved = []
    for width in menu.widths:
        removed = width.removed(len(width.kept) // 2)
        after = wb.PruneChannels({width.group.layers[0]: removed}).plan(model)
        saved.append(wb.Recipe().plan(model).latency_ms - after.latency_ms)
    found = mended(Harm(((0.0, 1.0),) * len(menu.widths), {}), menu)
    left = [one[-1] for one in found.widths]
    assert min(saved) > 0 and max(saved) > 1.2 * min(saved)
    assert [one / left[0] for one in left] == pytest.approx([math.sqrt(one / saved[0]) for one in saved], rel=0.05)
