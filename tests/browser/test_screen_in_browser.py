"""From load to export in a real Chromium, in JupyterLab and in the standalone dashboard, without the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import story

# The notebook is the one in front, and its kernel answers: before that the command does nothing.
KERNEL_READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === "idle";
}"""

# The dark theme's own colours, as JupyterLab sets them.
DARK = """() => {
  const colours = {"--jp-layout-color0": "#111", "--jp-layout-color1": "#212121", "--jp-border-color2": "#616161",
    "--jp-ui-font-color0": "#fff", "--jp-ui-font-color1": "rgba(255,255,255,.87)",
    "--jp-ui-font-color2": "rgba(255,255,255,.6)"};
  for (const [name, value] of Object.entries(colours)) document.body.style.setProperty(name, value);
}"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_voila(page: Any, seen: Any, dashboard: str, tmp_path: Path) -> None:
    page.goto(dashboard)
    story.whole(page, tmp_path)
    fits_a_phone(page)
    story.is_accessible(page, "light")
    follows_the_theme(page)
    page.evaluate(DARK)
    page.wait_for_timeout(500)  # the colours of controls fade in
    story.is_accessible(page, "dark")
    assert seen.errors == []
    assert seen.outside == []


def test_jupyterlab(page: Any, seen: Any, lab: str, tmp_path: Path) -> None:
    page.goto(lab)
    page.wait_for_function(KERNEL_READY)
    # Not returned: the command's promise would be waited for.
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    story.whole(page, tmp_path)
    assert seen.errors == []
    assert seen.outside == []


def fits_a_phone(page: Any) -> None:
    """At 390 px nothing is wider than the page, and the chart has shrunk with it."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.querySelector('.t-chart svg').getBoundingClientRect().right <= 390")
    cards = page.locator(".wb-card").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert cards
    assert max(cards) <= 390
    page.set_viewport_size({"width": 1440, "height": 900})


def follows_the_theme(page: Any) -> None:
    """In the dark theme the chart is drawn anew in colours that stand out, on no ground of its own."""
    label = "getComputedStyle(document.querySelector('.t-chart svg .role-axis-label text')).fill"
    light = page.evaluate(label)
    page.evaluate("document.body.style.setProperty('--jp-ui-font-color2', 'rgb(200, 201, 202)')")
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.wait_for_function(f"{label} === 'rgb(200, 201, 202)'")
    assert light != "rgb(200, 201, 202)"
    assert page.locator(".t-chart svg rect.background").count() == 0 or (
        page.locator(".t-chart svg rect.background").first.get_attribute("fill") in {None, "none"}
    )
