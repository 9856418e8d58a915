"""The tree of recipes: each once, under the longest that it begins with, as read from top to bottom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.studies.lineage import lineage


def test_a_tree_by_hand() -> None:
    found = lineage([[], ["a"], ["b", "c"], ["a", "b"], ["a", "b", "c", "d"], ["b"]])
    assert [(one.row, one.parent, one.depth) for one in found] == [
        (0, -1, 0), (1, 0, 1), (3, 1, 2), (4, 3, 3), (5, 0, 1), (2, 5, 2),
    ]  # fmt: skip


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=12))
def test_every_row_once_and_children_below_parents(recipes: list[list[str]]) -> None:
    order = lineage(recipes)
    assert sorted(one.row for one in order) == list(range(len(recipes)))
    path: list[int] = []
    for row, parent, depth in order:
        path = [*path[:depth], row]
        assert len(path) == depth + 1  # no step of the tree is left out
        assert parent == (path[-2] if depth else -1)
        mine = recipes[row]
        shorter = [len(one) for one in recipes if len(one) < len(mine) and one == mine[: len(one)]]
        assert (len(recipes[parent]) if depth else None) == max(shorter, default=None)


def test_a_long_chain_is_no_matter() -> None:
    chain = [["a"] * n for n in range(1500)]
    assert [one.depth for one in lineage(chain)] == list(range(1500))
