"""The store: changes from many threads, none lost, each told once and in order."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from workbench_widgets.latest_only import Latest
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


def test_a_listener_that_fails_is_said_and_keeps_nothing_from_the_others() -> None:
    store, heard = Store(State()), []

    def failing(_old: State, _new: State) -> None:
        raise KeyError("rows")

    store.subscribe(failing)
    store.subscribe(lambda old, new: heard.append(new.tick))
    assert store.update(tick=1).tick == 1  # who made the change does not pay
    assert heard == [1, 1]  # the change, and the message about what failed
    assert store.state.message.kind == "error"
    assert "KeyError: 'rows'" in store.state.message.text
    store.update(tick=2)  # it fails each time, and comes to an end each time
    assert heard == [1, 1, 2]


def test_the_state_changes_while_the_screen_draws() -> None:
    store, drawing, go = Store(State()), threading.Event(), threading.Event()

    def slow(_old: State, _new: State) -> None:
        drawing.set()
        assert go.wait(5)

    store.subscribe(slow)
    threads = [threading.Thread(target=store.update, kwargs={"tick": n}) for n in (1, 2)]
    threads[0].start()
    assert drawing.wait(5)
    threads[1].start()
    deadline = time.monotonic() + 5
    while store.state.tick != 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    seen, waits = store.state.tick, threads[1].is_alive()
    go.set()
    for one in threads:
        one.join()
    assert seen == 2
    assert waits  # whoever changes something finds it drawn afterwards


def test_what_a_listener_changes_is_told_behind_the_change_that_it_heard_of() -> None:
    store, heard = Store(State()), []
    store.subscribe(lambda old, new: store.update(tick=10) if new.tick == 1 else None)
    store.subscribe(lambda old, new: heard.append((old.tick, new.tick)))
    store.update(tick=1)
    assert heard == [(0, 1), (1, 10)]


def test_nobody_is_told_of_a_change_while_work_is_done_between_changes() -> None:
    store, told, started = Store(State()), [], threading.Event()
    store.subscribe(lambda old, new: told.append(new.tick))
    store.update(tick=1)

    def change() -> None:
        started.set()
        store.update(tick=2)

    thread = threading.Thread(target=change)

    def work(state: State) -> None:
        thread.start()
        assert started.wait(5)
        thread.join(0.1)
        assert (state.tick, told) == (1, [1])

    store.between(work)
    thread.join()
    assert told == [1, 2]
