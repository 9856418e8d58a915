"""A chart's first drawing in a real Chromium: legible on its ground and as wide as its place, whatever comes later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import story

from workbench import charts
from workbench_widgets.screen import PANELS
from workbench_widgets.store import State

STATIC = Path(__file__).parents[2] / "widgets" / "workbench_widgets" / "static"
ADDRESS = "http://127.0.0.1:9/"  # nothing listens there: the page is answered here
FRAME = pd.DataFrame(
    {
        "id": ["a", "b"],
        "recipe": ["[]", '[{"step": "SVD"}]'],
        "name": ["original", "SVD 0.5"],
        "accuracy": [0.93, 0.92],
        "speedup": [1.0, 2.0],
        "params": [1e6, 5e5],
    }
)
#: Mounts the chart in an element that stands nowhere, as hosts do that build a page before they show it.
MOUNT = """async (view) => {
  const { mount } = await import("./screen.js");
  const state = { panel: "chart", view, selected: "" };
  window.place = document.createElement("div");
  mount({ get: (name) => state[name], on: () => {}, off: () => {}, send: () => {} }, window.place);
  await new Promise((done) => setTimeout(done, 300));
}"""
PAGE = """<!doctype html><body data-jp-theme-light="{light}"><div class="wb-screen" style="width: 900px"></div>"""
#: The colours of a theme as JupyterLab sets them, and as they are by themselves.
THEMES = {
    "dark": ":root { --jp-ui-font-color1: #e0e0e0; --jp-ui-font-color2: #bdbdbd; } body { background: #212121; }",
    "light": ":root { --jp-ui-font-color1: #212121; --jp-ui-font-color2: #616161; } body { background: #fff; }",
}
#: A theme's style sheet, which arrives after what it is for.
LINK = """(name) => {
  document.querySelector("link")?.remove();
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: `${name}.css` }));
}"""

pytestmark = pytest.mark.browser


@pytest.fixture
def page(visitor: Any, request: pytest.FixtureRequest) -> Any:
    """A page whose chart is made, and stands nowhere yet."""
    opened = visitor(1000)
    files = {f"{name}.css": (text, "text/css") for name, text in THEMES.items()}
    files[""] = PAGE.format(light=request.param), "text/html"
    files["screen.js"] = (STATIC / "screen.js").read_text(encoding="utf-8"), "text/javascript"

    def answer(route: Any) -> None:
        body, kind = files[route.request.url.removeprefix(ADDRESS)]
        route.fulfill(body=body, content_type=kind)

    opened.route(f"{ADDRESS}**", answer)
    opened.goto(ADDRESS)
    view = PANELS["chart"][0](State(x="speedup", y="accuracy", size="params"))
    rows = charts.records(charts.points(FRAME, "speedup", "accuracy", "params"))
    opened.evaluate(MOUNT, view | {"rows": rows, "empty": ""})
    return opened


def shown(page: Any) -> None:
    page.evaluate("document.querySelector('.wb-screen').append(window.place)")
    page.wait_for_selector(".t-chart svg .points_marks path")


@pytest.mark.parametrize("page", ["false"], indirect=True)
def test_the_first_drawing_waits_for_its_place_and_follows_its_width(page: Any) -> None:
    """No window is made wider or narrower: a notebook's side bar opens, a region is folded away and unfolded."""
    assert page.evaluate("window.place.querySelector('svg')") is None
    shown(page)
    for width in (900, 520):
        page.evaluate("width => document.querySelector('.wb-screen').style.width = `${width}px`", width)
        page.wait_for_function(f"Math.abs(document.querySelector('.t-chart svg').clientWidth - {width}) < 45")
    page.evaluate("document.querySelector('.wb-screen').style.display = 'none'")
    page.wait_for_timeout(100)
    page.evaluate("document.querySelector('.wb-screen').style.display = ''")
    story.the_chart_fits_its_place(page)


@pytest.mark.parametrize("page", ["false"], indirect=True)
def test_labels_are_legible_when_the_colours_come_after_the_drawing(page: Any) -> None:
    shown(page)
    page.evaluate(LINK, "dark")
    story.the_chart_is_legible(page)


@pytest.mark.parametrize("page", ["true"], indirect=True)
def test_labels_follow_a_theme_whichever_of_its_parts_comes_first(page: Any) -> None:
    """JupyterLab exchanges the style sheet and then the body's attribute; other hosts do it the other way round."""
    page.evaluate(LINK, "light")
    shown(page)
    story.the_chart_is_legible(page)
    page.evaluate(LINK, "dark")
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    story.the_chart_is_legible(page)
    page.evaluate("document.body.dataset.jpThemeLight = 'true'")
    page.wait_for_timeout(100)
    page.evaluate(LINK, "light")
    story.the_chart_is_legible(page)
    page.evaluate("document.documentElement.style = '--jp-ui-font-color2: #000; --jp-ui-font-color1: #000'")
    page.wait_for_function("getComputedStyle(document.querySelector('.t-chart svg text')).fill === 'rgb(0, 0, 0)'")


@pytest.mark.parametrize("page", ["true"], indirect=True)
def test_what_leaves_the_colours_alone_draws_nothing_anew(page: Any) -> None:
    page.evaluate(LINK, "light")
    shown(page)
    story.the_chart_is_legible(page)
    page.evaluate("document.querySelector('.t-chart svg').dataset.same = 'yes'")
    page.evaluate("document.body.classList.add('jp-mod-dragging')")
    page.evaluate("document.head.append(document.createElement('style'))")
    page.wait_for_timeout(200)
    assert page.evaluate("document.querySelector('.t-chart svg').dataset.same") == "yes"
