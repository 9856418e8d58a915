"""Which layers a name, a glob or a list means; what values settings take, and what steps say of theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import workbench as wb
from workbench.errors import BadValue, UnknownName
from workbench.settings import Setting, check, decades, doublings, matching, select

KINDS_OF_NUMBERS = {"number", "integer", "fraction", "rank"}
NAMES = ["conv[0]", "conv[1]", "conv0", "a*", "ab", "!odd", "x.y"]


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("conv[0]", ["conv[0]"]),  # the layer of that name, and not 'conv0', which it means as a glob
        ("conv[[]?]", ["conv[0]", "conv[1]"]),
        ("conv?", ["conv0"]),
        ("a*", ["a*"]),
        ("[a]*", ["a*", "ab"]),
        ("!odd", ["!odd"]),
        ("!conv[0]", [name for name in NAMES if name != "conv[0]"]),
        (("conv*", "!conv[1]"), ["conv[0]", "conv0"]),
        (("!conv[[]*", "!x.*"), ["conv0", "a*", "ab", "!odd"]),
        ("*", NAMES),
    ],
)
def test_names_come_before_globs(pattern: str, chosen: list[str]) -> None:
    assert list(select(pattern, NAMES)) == chosen


@pytest.mark.parametrize("pattern", ["conv[2]", "!conv[2]", ("conv0", "none")])
def test_what_matches_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UnknownName, match=r"no layer named '(conv\[2\]|none)'"):
        select(pattern, NAMES)


def test_sliders_stop_at_round_numbers_on_a_logarithmic_scale() -> None:
    assert decades(1, 200) == (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200)
    assert all(isinstance(one, int) for one in decades(1, 200))
    assert decades(0.01, 0.1) == (0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1)
    assert decades(0.5, 2.0) == (0.5, 0.7, 1.0, 1.5, 2.0)
    assert doublings(1, 8) == (1, 2, 4, 8) and doublings(2, 31) == (2, 4, 8, 16) and doublings(3, 3) == (3,)


def test_a_slider_counts_where_it_stops_at_whole_numbers() -> None:
    plain = Setting("rank", "rank", 0.5, "rank", "")
    assert not plain.counts and not replace(plain, stops=(0.5, 1.0)).counts and not replace(plain, stops=()).counts
    assert replace(plain, stops=(1, 2)).counts and replace(plain, stops=range(1, 3)).counts
    assert replace(plain, kind="integer").counts and replace(plain, kind="integer", stops=(1, 2)).counts


BOUNDED = Setting("x", "number", 0.5, "the share", "", low=0.25, high=0.75)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("number", [0.25, 0.75, 0.5], [0.249, 0.751, True, "0.5", None, float("nan"), float("inf")]),
        ("fraction", [0.25, 0.75], [0, 50, False]),
        ("choice", ["a", "b"], ["c", "", None, 0]),
        ("flag", [True, False], [0, 1, "yes", None]),
        ("layers", ["conv", ("a", "b*"), "*"], ["", (), ("a", ""), 3, None, ("a", 3)]),
        ("text", ["", "a", ("a", "b"), ()], [3, None, ("a", 3)]),
    ],
)
def test_values_are_of_their_kind_and_within_their_bounds(kind: str, good: list[object], bad: list[object]) -> None:
    spec = replace(BOUNDED, kind=kind, choices=("a", "b"))
    for value in good:
        check("Step", spec, value)
    for value in bad:
        with pytest.raises(BadValue) as caught:
            check("Step", spec, value)
        assert f"Step(x={value!r})" in str(caught.value)  # as it was written


def test_whole_numbers_are_whole_and_bounds_may_be_open() -> None:
    count = replace(BOUNDED, kind="integer", low=1, high=None)
    for value in (1, 10**9):
        check("Step", count, value)
    check("Step", replace(count, low=None), -5)
    for value, why in ((1.0, "must be a whole number"), (0, "between 1 and inf"), (True, "must be a number")):
        with pytest.raises(BadValue, match=why):
            check("Step", count, value)


def test_percentages_are_refused_with_the_share_to_write() -> None:
    share = replace(BOUNDED, kind="fraction", low=0.0, high=1.0)
    for value, fix in ((50, "For 50 % write 0.5."), (100, "For 100 % write 1."), (1.5, "For 1.5 % write 0.015.")):
        with pytest.raises(BadValue, match=f"between 0 and 1. {fix}"):
            check("Step", share, value)
    for value in (101, -1):
        with pytest.raises(BadValue, match=r"between 0 and 1\.$"):
            check("Step", share, value)
    with pytest.raises(BadValue, match=r"between 0.25 and 0.75\.$"):
        check("Step", BOUNDED, 50)


def test_a_step_says_what_makes_it_and_what_differs_from_its_defaults() -> None:
    step = wb.Tucker(0.25, layers=["conv1", "conv2"])  # type: ignore[arg-type]
    assert step.options() == {"rank": 0.25, "layers": ("conv1", "conv2")}
    assert step.expression() == "wb.Tucker(rank=0.25, layers=('conv1', 'conv2'))"
    assert step.brief == "Tucker 0.25" and wb.Recalibrate().brief == "Recalibrate 1000"
    assert wb.Recalibrate().options() == {} and wb.Recalibrate().expression() == "wb.Recalibrate()"
    assert hash(step) == hash(wb.Tucker(0.25, layers=("conv1", "conv2")))
    first = wb.Tucker.settings()
    assert first[0].name == "rank" and first[0].label == "rank" and "layers" in [one.name for one in first]


def test_layers_are_left_out_by_the_setting_that_names_them() -> None:
    known = ["conv1", "conv2", "head"]
    assert wb.Tucker(0.5).leaving_out(["conv1"], known) == wb.Tucker(0.5, layers=("*", "!conv1"))
    two = wb.Tucker(0.5, layers="conv1, conv2").leaving_out(["conv2"], known)
    assert two == wb.Tucker(0.5, layers=("conv1", "conv2", "!conv2"))
    left = wb.Quantize("int8", exclude=("head", "gone")).leaving_out(["conv1"], known)
    assert left == wb.Quantize("int8", exclude=("head", "conv1"))  # what an earlier step took away is not asked for
    assert wb.Recalibrate().leaving_out(["conv1"], known) is None


def test_a_part_means_what_lies_inside_of_it() -> None:
    names = ["blocks.0.conv", "blocks.1.conv", "blocks2.conv", "head"]
    assert matching("blocks", names) == names[:2]
    assert matching("head", names) == ["head"] and matching("blocks.*", names) == names[:2]
    assert matching("b*.conv", names) == names[:3] and matching("HEAD", names) == [] == matching("none", names)
    for wrong in (3, ["a", 3], None):
        with pytest.raises(BadValue, match="a name, a glob"):
            select(wrong, names)  # type: ignore[arg-type]


SHIPPED = {name: one for name, one in wb.steps.REGISTRY.items() if one.__module__.startswith("workbench.steps.")}
NUMBERS = [(name, one) for name, step in SHIPPED.items() for one in step.settings() if one.kind in KINDS_OF_NUMBERS]


def test_what_files_of_recipes_say_means_what_it_meant() -> None:
    """Files hold no setting that has its default, and are read by other versions, which must take the same values.

    So another default would change every recipe that was ever saved, and other bounds would refuse some, or write
    what others refuse. Whoever wants these gives the setting another name, or the file's form another version.
    """
    meant = json.loads(Path(__file__).with_name("meanings.json").read_text(encoding="utf-8"))
    for name, step in SHIPPED.items():
        numbers = {one.name: [one.default, one.low, one.high] for one in step.settings() if one.high is not None}
        assert {one.name: one.default for one in step.settings()} | numbers == meant[name]


@pytest.mark.parametrize(("name", "one"), NUMBERS, ids=lambda x: x if isinstance(x, str) else x.name)
def test_every_number_has_a_slider_that_can_be_used(name: str, one: Setting) -> None:
    """Both ends are known, what it stops at lies within them, and of rates it does on a logarithmic scale."""
    assert one.low is not None and one.high is not None and one.low < one.high
    stops = list(one.stops or ())
    assert stops == sorted(set(stops)) and all(one.low <= stop <= one.high for stop in stops)
    if one.kind != "rank" and one.low > 0 and one.high / one.low > 2000:
        assert len(stops) > 6 and max(after / before for before, after in pairwise(stops)) <= 2
    if one.name == "round_to":  # kernels like powers of two
        assert stops == [2**n for n in range(len(stops))] and stops[-1] == one.high


def test_bounds_are_kept_to_by_every_technique() -> None:
    for name, one in NUMBERS:
        for beyond in (one.low, one.high):
            step = beyond + (1 if beyond == one.high else -1) * max(1, abs(beyond))
            if one.kind != "rank":
                with pytest.raises(BadValue, match=one.name):
                    SHIPPED[name](**{one.name: step})
