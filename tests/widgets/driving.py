"""Drives a screen as its page does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, get_type_hints, is_typeddict

from conforming import differences

from workbench_widgets.screen import PANELS, Screen

SECONDS = 60


def until(condition: Callable[[], Any], what: object) -> Any:
    """Wait for a condition; `what` says what was awaited, or is called to say it."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {SECONDS} s: {what() if callable(what) else what}")


def act(screen: Screen, panel: str, action: str, **detail: Any) -> None:
    """As the page does: a message to a panel's widget."""
    screen.panels[panel]._receive(None, {"action": action, **detail}, [])


def view(screen: Screen, panel: str) -> dict[str, Any]:
    """What a panel shows when all panels show the same state; it is of the type that its function says.

    Panels are drawn one by one after a change: what a test saw in one of them must not still be missing in the next.
    """
    screen.store.between(lambda _state: None)
    found: dict[str, Any] = screen.panels[panel].view
    shown = get_type_hints(PANELS[panel][0]).get("return")
    assert "failed" in found or not is_typeddict(shown) or list(differences(found, shown)) == []
    return found


def shown(screen: Screen) -> None:
    """Wait until the panels show a study with its plan: they are drawn one by one after the state has changed."""
    until(lambda: screen.store.state.plan, "the study's plan")
    screen.store.between(lambda _state: None)
