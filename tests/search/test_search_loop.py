"""The loop on networks whose losses are made up, so that the best is known; and a whole search, small."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from test_choice import forked, random_harm
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadValue, Cancelled, OutOfReach, WorkersFailed
from workbench.estimate import exact
from workbench.frames.limits import read_limits
from workbench.jobs import Reporter
from workbench.recipe import Recipe
from workbench.search.explaining import explained
from workbench.search.goal import Goal
from workbench.search.harm import CHANNELS, Harm
from workbench.search.ledger import EPOCHS, Ledger
from workbench.search.loop import LONGEST, OTHERS, Loop
from workbench.search.menu import menus
from workbench.search.trial import Start, Tried, Wish
from workbench.tasks.classification import ACCURACY


class Made:
    """Variants whose loss is known from the plan: so much for each share of the MACs that is gone, and a bend."""

    def __init__(self, slope: float) -> None:
        self.slope, self.recipes = slope, list[Recipe]()

    def loss(self, recipe: Recipe) -> float:
        before = Recipe().plan(forked()).macs
        gone = 1 - recipe.plan(forked()).macs / before
        return self.slope * gone**2

    def __call__(self, recipe: Recipe, report: Reporter) -> Any:
        self.recipes.append(recipe)
        return _Figures(self.loss(recipe), recipe)


class _Figures:
    """What the loop looks at of a variant."""

    def __init__(self, loss: float, recipe: Recipe) -> None:
        times = Recipe().plan(forked()).latency_ms / recipe.plan(forked()).latency_ms
        self.estimates = {
            "validation_accuracy": exact(0.9 - loss), "predicted_speedup": exact(times), "speedup": exact(times**1.2),
        }  # fmt: skip
        self.recipe, self.model = recipe, forked()
        self.data = SimpleNamespace(name="made up")

    def __getitem__(self, name: str) -> Any:
        return self.estimates[name]


def loop(made: Made, goal: Goal, seconds: float = 2000) -> Loop:
    both = menus(forked())
    start = Start(Recipe(), forked(), both, random_harm(both[0]))
    baseline = cast("Any", _Figures(0.0, Recipe()))
    ledger = Ledger(goal, ACCURACY, baseline, (start,), train=False)
    return Loop(ledger, cast("Any", made), time.monotonic() + seconds)


@pytest.mark.parametrize("slope", [0.015, 0.03, 0.08])
def test_it_comes_close_to_the_limit(slope: float) -> None:
    """The best that it finds keeps to the limit, and a little smaller does not."""
    made = Made(slope)
    search = loop(made, Goal("macs", loss=0.01))
    search.run(Reporter())
    before = Recipe().plan(forked()).macs
    least = 1 - min((0.01 / slope) ** 0.5, 1.0)  # of the MACs, for a loss at the limit
    kept = [one for one in search.ledger.tried if one.loss <= 0.01]
    best = min(one.variant.recipe.plan(forked()).macs for one in kept) / before
    assert least - 1e-9 <= best <= max(least, search.ledger.range[0] / before) * 1.25
    assert len(made.recipes) <= 25


def test_limits_beside_the_loss_are_kept() -> None:
    before = Recipe().plan(forked())
    (limit,) = read_limits("params <= 0.6")
    made = Made(0.02)
    search = loop(made, Goal("macs", loss=0.01, limits=(limit,)))
    search.run(Reporter())
    assert all(one.plan(forked()).params <= 0.6 * before.params * (1 + 1e-9) for one in made.recipes)


def test_a_limit_out_of_reach_is_said_before_anything_is_made() -> None:
    (limit,) = read_limits("macs <= 10")
    made = Made(0.02)
    with pytest.raises(OutOfReach, match="the least that any choice reaches"):
        loop(made, Goal("macs", loss=0.01, limits=(limit,))).run(Reporter())
    assert not made.recipes


def test_a_budget_too_short_gives_the_first_that_was_tried() -> None:
    made = Made(0.02)
    search = loop(made, Goal("macs", loss=0.01), seconds=0)
    search.run(Reporter())
    assert len(search.ledger.tried) == 1


def test_promises_fall_as_sizes_grow() -> None:
    found = loop(Made(0.02), Goal("macs", loss=0.01)).ledger.promises()
    values, losses = [one.value for one in found], [one.loss for one in found]
    assert values == sorted(values)
    assert losses == sorted(losses, reverse=True)
    assert all(0 <= one.gap <= 0.01 for one in found)


def test_a_cancelled_loop_stops() -> None:
    report = Reporter()
    report.cancelled.set()
    with pytest.raises(Cancelled):
        loop(_Checking(0.02), Goal("macs", loss=0.01)).run(report)


class _Checking(Made):
    def __call__(self, recipe: Recipe, report: Reporter) -> Any:
        report(0.5, "working")
        return super().__call__(recipe, report)


def test_it_says_why() -> None:
    """Of every layer what was chosen, and what would come second: more harm for less, or less for more."""
    search = loop(Made(0.02), Goal("macs", loss=0.01))
    search.run(Reporter())
    rows = explained(search.ledger.tried[-1], search.ledger.forecast.harm.factors, "macs")
    assert [row[0] for row in rows] == ["stem", "body", "deep", "back", "head"]
    for *_, second, harm_more, price_more in rows:
        if second:
            assert not (float(cast("float", harm_more)) < -1e-12 and float(cast("float", price_more)) < -1e-9)


def test_the_factors_of_one_start_are_those_of_all() -> None:
    search = loop(Made(0.02), Goal("macs", loss=0.01))
    search.run(Reporter())
    start, chosen = search.ledger.choice(Wish(0.6 * Recipe().plan(forked()).macs))
    parts = start.parts(chosen)
    plain = replace(start.harm, factors=search.ledger.forecast.harm.factors)
    assert chosen.harm == pytest.approx(
        plain.factors["channels"] * parts[0] + plain.factors["chains"] * parts[1], rel=1e-6
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> wb.Study:
    return wb.Study(tiny_model(), tiny_data(300), tmp_path_factory.mktemp("study"))


@pytest.mark.slow
def test_a_search_from_end_to_end(study: wb.Study) -> None:
    seen = []
    job = study.submit_search("macs", "accuracy >= baseline - 0.9", "20 s", watch=lambda one: seen.append(list(one)))
    found = job.result()
    assert len(found) == len({one.id for one in found}) > 0
    assert {one.id for one in found} <= {one.id for one in study.variants}
    sizes = [one["macs"].value for one in found[: found.kept]]
    assert sizes == sorted(sizes)
    for one in found[: found.kept]:
        change = one["validation_accuracy_change"].value
        assert change >= -0.9 - 1e-9
    assert all(one["validation_accuracy_change"].value < -0.9 for one in found[found.kept :])
    assert seen
    assert all(one.gap <= 0.01 for one in seen[0])
    assert found.best is not None
    assert found.certificate is not None
    assert found.certificate.variant == found.best.name
    assert found.confirmation is not None
    assert (found.certificate.split, found.confirmation.split) == ("validation", "test")
    assert found.confirmation.inputs <= len(study.data["test"])
    assert found.why is not None
    assert list(found.why["layer"]) == ["conv1", "conv2", "head"]
    assert Recipe.from_json(found.best.recipe.to_json()) == found.best.recipe


@pytest.mark.slow
def test_the_same_search_again_makes_nothing_anew(study: wb.Study) -> None:
    before = {one.id for one in study.variants}
    found = study.search("macs", "accuracy >= baseline - 0.9", "0.1 s", progress=False)
    assert {one.id for one in found} <= before
    assert {one.id for one in study.variants} == before


def test_data_without_a_place_to_choose_on_are_refused(tmp_path: Path) -> None:
    data = tiny_data(60)
    split = data["test"]
    bare = wb.Study(tiny_model(), wb.data({"test": (split.read(range(60))[0], split.labels)}), tmp_path)
    with pytest.raises(BadValue, match="validation"):
        bare.search(progress=False)
    assert not bare.variants


def test_training_without_a_train_split_is_refused(study: wb.Study, tmp_path: Path) -> None:
    splits = {name: study.data[name] for name in ("calibration", "validation", "test")}
    pairs = {name: (one.read(range(len(one)))[0], one.labels) for name, one in splits.items()}
    other = wb.Study(tiny_model(), wb.data(pairs), tmp_path)
    with pytest.raises(BadValue, match="train"):
        other.search(train=True, progress=False)


def test_harm_is_a_plain_value() -> None:
    harm = Harm(((0.0, 1.0),), {})
    assert harm.of_width(0, 1) == 1.0
    assert np.isinf(harm.only("chains").of_width(0, 1))
    assert harm.only("chains").of_width(0, 0) == 0.0


class _Slow(Made):
    """Made on several threads: it knows how many were at it at once."""

    def __init__(self, slope: float, unable: int = 0) -> None:
        super().__init__(slope)
        self.lock, self.now, self.most, self.unable, self.begun = threading.Lock(), 0, 0, unable, 0

    def __call__(self, recipe: Recipe, report: Reporter) -> Any:
        with self.lock:
            self.now += 1
            self.most, number = max(self.most, self.now), self.begun
            self.begun += 1
        time.sleep(0.3)
        with self.lock:
            self.now -= 1
        made = super().__call__(recipe, report)
        if number < self.unable:
            raise WorkersFailed(f"{recipe.name} ended its worker.")
        return made


@pytest.mark.parametrize("slope", [0.015, 0.08])
def test_several_at_once_come_as_close(slope: float) -> None:
    made = _Slow(slope)
    search = loop(made, Goal("macs", loss=0.01))
    search.workers = lambda: 3
    search.run(Reporter())
    assert 1 < made.most <= 3
    assert len(made.recipes) <= 30
    before = Recipe().plan(forked()).macs
    best = min(one.variant.recipe.plan(forked()).macs for one in search.ledger.tried if one.loss <= 0.01) / before
    least = 1 - min((0.01 / slope) ** 0.5, 1.0)
    assert least - 1e-9 <= best <= max(least, search.ledger.range[0] / before) * 1.25


@pytest.mark.parametrize("workers", [1, 2])
def test_what_workers_cannot_build_is_left_out(workers: int) -> None:
    made = _Slow(0.03, unable=2)
    search = loop(made, Goal("macs", loss=0.01))
    search.workers = lambda: workers
    search.run(Reporter())
    assert len(search.left_out) == len(search.notes) == 2
    assert "ended its worker" in search.notes[0]
    assert any(one.loss <= 0.01 for one in search.ledger.tried)
    assert not {one.recipe for one in search.left_out} & {one.variant.recipe for one in search.ledger.tried}


def test_an_error_in_one_ends_the_others() -> None:
    class Failing(_Slow):
        def __call__(self, recipe: Recipe, report: Reporter) -> Any:
            made = super().__call__(recipe, report)
            if len(self.recipes) > 3:
                raise BadValue("no")
            return made

    made = Failing(0.02)
    search = loop(made, Goal("macs", loss=0.01))
    search.workers = lambda: 2
    with pytest.raises(BadValue, match="no"):
        search.run(Reporter())
    count = len(made.recipes)
    time.sleep(0.4)
    assert (made.now, len(made.recipes)) == (0, count)


def test_limits_on_speed_are_of_what_will_be_measured() -> None:
    """Measured is predicted to the power of 1.2 here: what the first ones show, the later ones need not overshoot."""
    (limit,) = read_limits("speedup >= 1.1")
    made = Made(0.0)
    search = loop(made, Goal("macs", loss=0.01, limits=(limit,)))
    search.run(Reporter())
    assert search.ledger.pace.measured(1.1) > 1.11
    assert search.ledger.tried[0].expected >= 1.1 * (1 - 1e-9)
    assert search.ledger.expected(search.ledger.tried[-1].chosen.price) >= 1.1 * 0.98


def test_where_nothing_is_left_between_others_about_as_good_are_tried_each_once() -> None:
    made = Made(0.03)
    search = loop(made, Goal("macs", loss=0.01))
    search.run(Reporter())
    assert search.others[search.ledger.epochs] == OTHERS
    assert len({*made.recipes}) == len(made.recipes)


def test_where_nothing_smaller_is_offered_it_does_not_train_for_ever() -> None:
    """A loss that never counts: the smallest is the best from the first, and more epochs make nothing of it."""
    made = Made(0.0)
    search = loop(made, Goal("macs", loss=0.01))
    search.ledger.train = True
    search.run(Reporter())
    assert search.ledger.epochs <= 4 * EPOCHS and len(made.recipes) <= 25


def test_it_trains_longer_before_it_tries_others_about_as_good() -> None:
    made = Made(0.03)
    search = loop(made, Goal("macs", loss=0.01))
    search.ledger.train = True
    search.run(Reporter())
    assert search.ledger.epochs == LONGEST
    assert set(search.others) == {LONGEST}


def test_what_led_to_a_choice_counts_beside_its_harm() -> None:
    """Of two starts the one that harm speaks for is left once what was tried of it was worse than its harm says."""
    search = loop(Made(0.02), Goal("macs", loss=0.01))
    (first,) = search.ledger.starts
    harm = first.harm
    less = replace(first, harm=replace(harm, widths=tuple(tuple(0.9 * one for one in width) for width in harm.widths)))
    search.ledger.starts = (first, less)
    wish = Wish(0.6 * Recipe().plan(forked()).macs, CHANNELS)
    start, chosen = search.ledger.choice(wish)
    assert start is less
    told = search.ledger.loss(start, chosen)
    for one, worse in ((first, 0.0), (less, 0.03)):
        loss = search.ledger.loss(one, chosen) + worse
        search.ledger.tried.append(
            Tried(cast("Any", _Figures(loss, Recipe())), chosen, one, wish.aim, loss, search.ledger.epochs)
        )
    assert search.ledger.choice(wish)[0] is first
    assert search.ledger.loss(less, chosen) > told
