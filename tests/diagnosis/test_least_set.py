"""The search alone, against sets that are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.diagnosis import least_set


def counted(culprits: set[str]) -> tuple[Callable[[Sequence[str]], bool], list[frozenset[str]]]:
    """Enough is what holds every culprit; no set is asked about twice."""
    seen: list[frozenset[str]] = []

    def enough(some: Sequence[str]) -> bool:
        if frozenset(some) not in seen:
            seen.append(frozenset(some))
        return culprits <= set(some)

    return enough, seen


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("n", [*range(1, 34), 64, 100, 500])
def test_one_culprit_takes_at_most_log2_plus_3_evaluations(n: int, ranked: bool) -> None:
    order = [str(i) for i in range(n)]
    for culprit in order:
        enough, seen = counted({culprit})
        assert least_set(order, enough, ranked=ranked) == ([culprit], True)
        asked = [one for one in seen if len(one) < n]  # that the whole suffices is known
        assert len(asked) <= math.log2(n) + 3
    enough, seen = counted({order[0]})
    least_set(order, enough, ranked=True)
    assert len(seen) == (n > 1)  # the suspect was right; a layer without rivals needs no trial


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_several_culprits_are_all_found_and_no_other(case: tuple[int, set[int]]) -> None:
    n, members = case
    culprits = {str(one) for one in members}
    enough, seen = counted(culprits)
    found, complete = least_set([str(i) for i in range(n)], enough)
    assert set(found) == culprits and complete
    assert len(seen) <= len(culprits) * (math.log2(n) + 3)


@given(st.lists(st.sets(st.integers(0, 11), min_size=1, max_size=4), min_size=1, max_size=4))
def test_where_several_sets_suffice_one_of_them_is_found(ways: list[set[int]]) -> None:
    def enough(some: Sequence[int]) -> bool:
        return any(way <= set(some) for way in ways)

    found, _ = least_set(range(12), enough)  # type: ignore[type-var]  # numbers do as well as names
    assert enough(found)
    assert not any(enough([one for one in found if one != left_out]) for left_out in found)


def test_the_best_so_far_when_the_evaluations_are_used_up() -> None:
    order, culprits = [str(i) for i in range(32)], {"3", "9", "20"}
    enough, seen = counted(culprits)
    found, complete = least_set(order, enough, lambda: len(seen) >= 4)
    assert not complete
    assert culprits <= set(found) and len(found) < 32
