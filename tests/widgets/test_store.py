"""The store: changes from many threads, none lost, each told once and in order."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from workbench_widgets.latest import Latest
from workbench_widgets.store import State, Store


def test_no_change_of_any_thread_is_lost() -> None:
    store = Store(State())

    def work() -> None:
        for _ in range(200):
            store.edit(lambda s: replace(s, tick=s.tick + 1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert store.state.tick == 1600


def test_listeners_hear_each_change_once_and_in_order() -> None:
    store, heard = Store(State()), []
    store.subscribe(lambda old, new: heard.append((old.tick, new.tick)))
    threads = [threading.Thread(target=lambda: store.edit(lambda s: replace(s, tick=s.tick + 1))) for _ in range(50)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert heard == [(n, n + 1) for n in range(50)]


def test_a_change_that_changes_nothing_is_not_told() -> None:
    store, heard = Store(State()), []
    store.subscribe(lambda old, new: heard.append(new))
    store.edit(lambda s: s)
    assert heard == []


def test_only_the_newest_request_is_worked_on() -> None:
    started, go, done = threading.Event(), threading.Event(), []

    def work(request: int) -> None:
        started.set()
        go.wait(5)
        done.append(request)

    latest = Latest(work)
    latest.ask(0)
    assert started.wait(5)
    for request in range(1, 10):
        latest.ask(request)
    go.set()
    deadline = time.monotonic() + 5
    while done != [0, 9] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == [0, 9]
