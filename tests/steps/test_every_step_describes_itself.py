"""Of every setting of every step: bounds, defaults and stops agree, and values are taken up to the bounds alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

import workbench as wb
from workbench.errors import BadValue
from workbench.settings import Setting
from workbench.steps import REGISTRY

NUMBERS = {"fraction", "integer", "number"}
EVERY = [(name, one) for name, step in sorted(REGISTRY.items()) for one in step.settings()]
BOUNDED = [(name, one) for name, one in EVERY if one.kind in NUMBERS and one.low is not None and one.high is not None]
#: What another setting must be for the bounds of one to be taken.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {("PruneNM", "n"): {"m": 32}, ("PruneNM", "m"): {"n": 1}}


def named(value: Any) -> str:
    return value.name if isinstance(value, Setting) else str(value)


@pytest.mark.parametrize(("step", "one"), EVERY, ids=named)
def test_a_setting_says_what_it_is(step: str, one: Setting) -> None:
    assert one.label and one.help.endswith(".") and one.name in REGISTRY[step].__dataclass_fields__
    assert (one.kind == "choice") == bool(one.choices) and (not one.choices or one.default in one.choices)
    assert len({*one.choices}) == len(one.choices)
    assert one.kind != "flag" or isinstance(one.default, bool)
    if one.stops:
        assert all(before < after for before, after in pairwise(one.stops))
        assert one.low is None or one.low <= one.stops[0]
        assert one.high is None or one.stops[-1] <= one.high


@pytest.mark.parametrize(("step", "one"), BOUNDED, ids=named)
def test_a_number_is_taken_up_to_its_bounds(step: str, one: Setting) -> None:
    assert one.low is not None and one.high is not None and one.low < one.high
    assert one.low <= one.default <= one.high
    kind = REGISTRY[step]
    small = 1 if one.kind == "integer" else (one.high - one.low) / 1000
    for good in (one.low, one.high, one.default):
        value = int(good) if one.kind == "integer" else float(good)
        assert getattr(kind(**{**BESIDE.get((step, one.name), {}), one.name: value}), one.name) == value
    for bad in (one.low - small, one.high + small):
        with pytest.raises(BadValue, match=one.name):
            kind(**{one.name: bad})


@pytest.mark.parametrize(("step", "one"), [(s, o) for s, o in BOUNDED if o.kind == "fraction"], ids=named)
def test_a_share_is_one(step: str, one: Setting) -> None:
    assert one.low is not None and one.high is not None and one.low >= 0 and one.high <= 1, step


def test_ranks_are_offered_as_shares_of_the_full_one() -> None:
    ranks = [(s, o) for s, o in EVERY if o.kind == "rank" and "fraction" in getattr(REGISTRY[s], "rules", ())]
    assert {"Tucker", "CP", "SVD", "SpatialSVD", "TensorTrain"} <= {name for name, _ in ranks}
    for name, one in ranks:
        assert 0 < one.low < one.high <= 1, name  # type: ignore[operator]
        assert isinstance(one.default, int) or one.low <= one.default <= one.high, name  # type: ignore[operator]
        for good in (one.low, one.high):
            assert getattr(REGISTRY[name](**{one.name: good}), one.name) == good
        for bad in (0.0, 1.5, 50.0, -0.5):
            with pytest.raises(BadValue):
                REGISTRY[name](**{one.name: bad})


def test_a_step_made_of_nothing_differs_in_nothing() -> None:
    for name, step in REGISTRY.items():
        if any(one.default is ... for one in step.settings()):
            continue
        try:
            made = step()
        except TypeError:  # what it is about has no default
            continue
        assert made.options() == {} and made.expression() == f"wb.{name}()", name
        assert wb.Recipe.from_list(made.recipe().to_list()) == made.recipe()
        assert made.title and made.summary.endswith(".") and made.effort > 0
