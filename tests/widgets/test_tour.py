"""The tour stops at panels that there are, each once, and says what it is for."""

from __future__ import annotations

from workbench_widgets.screen import Screen
from workbench_widgets.store import State
from workbench_widgets.tour import STOPS, stops
from workbench_widgets.views import head


def test_every_stop_is_a_panel_of_the_screen() -> None:
    panels = [panel for panel, _, _ in STOPS]
    assert len(set(panels)) == len(panels) and set(panels) <= set(Screen().panels)
    assert head(State())["tour"] == stops()
