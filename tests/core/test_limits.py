"""Limits: what is written is what is read, and a bound moves without touching its neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import BadValue
from workbench.limits import COMPARISONS, Limit, bound_on, read_limits, with_bound, write_limits

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LIMITS = st.lists(
    st.builds(Limit, st.sampled_from(["accuracy", "macs", "latency_ms"]), st.sampled_from(list(COMPARISONS)), NUMBERS)
)


@given(LIMITS)
def test_what_is_written_is_read(limits: list[Limit]) -> None:
    assert read_limits(write_limits(limits)) == tuple(limits)


@pytest.mark.parametrize(
    ("value", "text"), [(0.92, "accuracy >= 0.92"), (2.0, "accuracy >= 2"), (3.1e7, "accuracy >= 31000000")]
)
def test_numbers_as_a_reader_writes_them(value: float, text: str) -> None:
    assert str(Limit("accuracy", ">=", value)) == text


@given(LIMITS, st.sampled_from(["accuracy", "macs"]), NUMBERS)
def test_a_moved_bound_is_found_again_and_the_others_stay(limits: list[Limit], column: str, value: float) -> None:
    before = bound_on(limits, column)
    bound = before or Limit(column, "<=", 0.0)
    moved = with_bound(limits, bound, value)
    assert Limit(column, bound.comparison, value) in moved
    assert len(moved) == len(limits) + (bound not in limits)
    assert [one for one in moved if one.column != column] == [one for one in limits if one.column != column]
    assert len(with_bound(limits, bound, None)) == len(limits) - (bound in limits)


def test_an_equation_is_no_bound() -> None:
    limits = read_limits("macs == 3 & macs != 4")
    assert len(limits) == 2
    assert bound_on(limits, "macs") is None


@pytest.mark.parametrize("text", ["accuracy >= 1e999", "accuracy >= 1.2.3", "accuracy >= ", "and"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="cannot be read"):
        read_limits(text)
