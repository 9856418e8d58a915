"""The arena: as many bytes as are alive at once, no two maps in one place, bytes that are moved stay what they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.c99 import arena
from workbench.c99.arena import Layout, Life, lay_out
from workbench.c99.program import Block, Call, Floats, Map, Step


def chain(*edges: tuple[list[int], int], sizes: list[int]) -> list[Step]:
    """Steps that read some maps and write another, by number."""
    maps = [Floats(Map(size), Block(size)) for size in sizes]
    return [Step(str(n), "", tuple(maps[i] for i in reads), maps[to], ()) for n, (reads, to) in enumerate(edges)]


@st.composite
def networks(draw: st.DrawFn) -> list[Step]:
    """Each step reads one or two earlier maps and writes a new one."""
    count = draw(st.integers(2, 12))
    sizes = draw(st.lists(st.integers(1, 50), min_size=count, max_size=count))
    edges: list[tuple[list[int], int]] = [([], 0)]
    for n in range(1, count):
        edges.append((draw(st.lists(st.integers(max(0, n - 4), n - 1), min_size=1, max_size=2, unique=True)), n))
    return chain(*edges, sizes=sizes)


def alive(steps: list[Step]) -> int:
    """Bytes at the worst step, counted anew: written already, and still to be read or just written."""
    most = 0
    for at, step in enumerate(steps):
        later = {one.block for following in steps[at:] for one in following.reads}
        there = {one.writes.block for one in steps[: at + 1] if one.writes}
        most = max(most, sum(one.size for one in (there & later) | {step.writes.block}))
    return most


def check(steps: list[Step], layout: Layout) -> None:
    """Run the steps on an arena of so many bytes, where each map holds its own number."""
    memory = [-1] * layout.size
    names = {one.writes.block: n for n, one in enumerate(steps)}
    for at, step in enumerate(steps):
        for move in layout.moves[at]:
            memory[move.target : move.target + move.size] = memory[move.source : move.source + move.size]
        for one in step.reads:
            place = layout.place(at, one.block)
            assert memory[place : place + one.block.size] == [names[one.block]] * one.block.size
        place, size = layout.place(at, step.writes.block), step.writes.block.size
        assert place + size <= layout.size
        memory[place : place + size] = [names[step.writes.block]] * size
        for one in step.reads:  # nothing is written over what is still read in this step
            start = layout.place(at, one.block)
            assert memory[start : start + one.block.size] == [names[one.block]] * one.block.size


@given(networks())
def test_no_more_bytes_than_are_alive_and_every_map_whole(steps: list[Step]) -> None:
    layout = lay_out(steps)
    assert layout.size == alive(steps)
    check(steps, layout)


@given(networks())
def test_where_no_packing_is_found_maps_are_moved(steps: list[Step]) -> None:
    before = arena._packed
    arena._packed = lambda lives, size: None
    try:
        layout = lay_out(steps)
    finally:
        arena._packed = before
    assert layout.size == alive(steps)
    check(steps, layout)


def test_what_may_lie_over_its_input_does_so_where_nothing_else_reads_that() -> None:
    first, second, third = (Floats(Map(8), Block(8)) for _ in range(3))
    steps = [
        Step("a", "", (), first, ()),
        Step("b", "", (first,), second, (), in_place=True),
        Step("c", "", (second,), third, (), in_place=True),
    ]
    assert lay_out(steps).size == 8
    assert lay_out([*steps, Step("d", "", (first, third), None, ())]).size == 16


def test_floats_begin_at_whole_words() -> None:
    bytes_, floats = Floats(Map(5), Block(5)), Floats(Map(2), Block(8, step=4))
    layout = lay_out([Step("a", "", (), bytes_, ()), Step("b", "", (bytes_,), floats, (Call("f", ()),))])
    assert layout.place(1, floats.block) % 4 == 0
    assert layout.size <= 16


def test_lives_meet_at_the_step_that_reads_the_one_and_writes_the_other() -> None:
    assert Life(Block(1), 0, 2).meets(Life(Block(1), 2, 3))
    assert not Life(Block(1), 0, 2).meets(Life(Block(1), 3, 3))
