"""What was computed of the same objects is given again; anything else is computed anew."""

from __future__ import annotations

import threading

import pandas as pd

from workbench_widgets.remembered import remembered


def test_the_same_objects_are_looked_at_once() -> None:
    seen: list[tuple[object, ...]] = []

    @remembered
    def work(frame: pd.DataFrame, name: str) -> int:
        seen.append((frame, name))
        return len(seen)

    one, like_it = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]})
    assert [work(one, "x"), work(one, "".join(["x"]))] == [1, 1]  # an equal text is the same
    assert work(like_it, "x") == 2  # an equal frame is another one: it could be changed
    assert work(one, "y") == 3
    assert work(one, "y") == 3


def test_threads_get_their_own_results() -> None:
    @remembered
    def double(value: int) -> int:
        return 2 * value

    wrong: list[int] = []

    def ask(value: int) -> None:
        wrong.extend(value for _ in range(2000) if double(value) != 2 * value)

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
