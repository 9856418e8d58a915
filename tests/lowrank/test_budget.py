"""Sharing a budget out, against exhaustive search."""

from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from workbench.lowrank.budget import Options, cheapest, share_out

layers_of_options = st.lists(
    st.lists(st.tuples(st.integers(1, 30).map(float), st.integers(0, 30).map(float)), min_size=1, max_size=5).map(
        Options
    ),
    min_size=1,
    max_size=4,
)


def loss(layers: list[Options], chosen: tuple[int, ...]) -> float:
    return sum(options[index][1] for options, index in zip(layers, chosen, strict=True))


@settings(max_examples=150, deadline=None)
@given(layers=layers_of_options, share=st.floats(0, 1))
def test_close_to_the_best_choice(layers: list[Options], share: float) -> None:
    dearest = sum(max(cost for cost, _ in options) for options in layers)
    least = cheapest(layers)
    assert least == sum(min(cost for cost, _ in options) for options in layers)
    budget = least + share * (dearest - least)
    found = share_out(layers, budget)
    assert found.cost <= budget + 1e-9
    fits = [
        chosen
        for chosen in itertools.product(*[range(len(options)) for options in layers])
        if sum(options[i][0] for options, i in zip(layers, chosen, strict=True)) <= budget
    ]
    best = min(loss(layers, chosen) for chosen in fits)
    widest = max(max(x for _, x in options) for options in layers)
    assert loss(layers, found.chosen) <= best + widest  # at most one segment from the optimum


def test_the_hull_is_convex() -> None:
    options = Options([(1.0, 10.0), (2.0, 9.0), (3.0, 2.0), (4.0, 1.5), (5.0, 0.0), (6.0, 1.0)])
    assert options.hull == [0, 2, 4]


def test_a_point_on_an_edge_of_the_hull_can_be_chosen() -> None:
    assert Options([(1.0, 4.0), (2.0, 3.0), (3.0, 2.0)]).hull == [0, 1, 2]


def test_a_layer_that_gains_more_gets_more() -> None:
    steep = Options((float(c), 100.0 / c) for c in range(1, 20))
    flat = Options((float(c), 1.0 / c) for c in range(1, 20))
    chosen = share_out([steep, flat], 20.0).chosen
    assert chosen[0] > chosen[1]


gains = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 60)), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(given_layers=st.lists(gains, min_size=2, max_size=4), taken=st.integers(0, 16))
@example(given_layers=[[(1, 1)], [(1, 2), (1, 2)]], taken=1)  # a point on an edge of the hull
def test_a_budget_that_is_hit_exactly_is_spent_in_the_best_way(
    given_layers: list[list[tuple[int, int]]], taken: int
) -> None:
    """Where each layer gains less and less by a unit of cost, taking the best unit first leaves nothing better."""
    layers, segments = [], []
    for steps in given_layers:
        steep_first = sorted(steps, key=lambda one: one[0] / one[1])
        segments += steep_first
        points = [(1.0, 1000.0)]
        for cost, gain in steep_first:
            points.append((points[-1][0] + cost, points[-1][1] - gain))
        layers.append(Options(points))
    segments.sort(key=lambda one: one[0] / one[1])
    budget = len(layers) + sum(cost for cost, _ in segments[:taken])
    every = itertools.product(*[range(len(options)) for options in layers])
    fits = [one for one in every if sum(o[i][0] for o, i in zip(layers, one, strict=True)) <= budget]
    best = min(loss(layers, one) for one in fits)
    assert loss(layers, share_out(layers, budget).chosen) == best


def test_what_is_left_over_is_spent() -> None:
    layers = [Options([(1.0, 9.0), (3.0, 8.0), (5.0, 1.0)]), Options([(1.0, 5.0), (2.0, 4.9)])]
    found = share_out(layers, 5.0)  # the hull's step of the first layer would cost 4 more
    assert (found.chosen, found.cost) == ((1, 1), 5.0)
