"""The panels alone in a real Chromium, on views made by hand: one that cannot be drawn leaves the others alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench_widgets.screen import PANELS
from workbench_widgets.store import State

STATIC = Path(__file__).parents[2] / "widgets" / "workbench_widgets" / "static"
ADDRESS = "http://127.0.0.1:9/"  # nothing listens there: the page is answered here
#: Mounts one panel a view. `models[panel].show(view)` changes what it shows, as the kernel does.
MOUNT = """async (views) => {
  const { mount } = await import("./screen.js");
  Object.assign(window, { sent: [], models: {} });
  for (const [panel, view] of Object.entries(views)) {
    const state = { panel, view, selected: "" };
    const listeners = [];
    const model = {
      get: (name) => state[name],
      on: (names, listener) => names.includes("change:view") && listeners.push(listener),
      off: () => {},
      send: (message) => window.sent.push({ panel, ...message }),
    };
    const el = Object.assign(document.createElement("div"), { id: panel });
    document.querySelector(".wb-screen").append(el);
    const show = (next) => {
      state.view = next;
      for (const listener of listeners) listener();
    };
    window.models[panel] = { state, show };
    mount(model, el);
  }
}"""
JOB = {
    "id": 1, "name": "Running SVD", "state": "done", "active": False, "percent": 100, "stage": "Finished",
    "seconds": 1.0, "left": None, "details": [],
}  # fmt: skip

pytestmark = pytest.mark.browser


@pytest.fixture
def views() -> dict[str, Any]:
    return copy.deepcopy({name: view(State()) for name, (view, _) in PANELS.items()})


@pytest.fixture
def shown(visitor: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    """A page with the panels of these views."""

    def show(views: dict[str, Any]) -> Any:
        page = visitor()
        html = '<!doctype html><body data-jp-theme-light="true"><div class="wb-screen"></div>'
        page.route(f"{ADDRESS}**", lambda route: route.fulfill(body=html, content_type="text/html"))
        module = (STATIC / "screen.js").read_text(encoding="utf-8")
        page.route(f"{ADDRESS}screen.js", lambda route: route.fulfill(body=module, content_type="text/javascript"))
        page.goto(ADDRESS)
        page.evaluate(MOUNT, views)
        return page

    return show


def failed(page: Any) -> list[str]:
    """The panels that show a sentence in place of themselves."""
    found: list[str] = page.locator(".t-failed").evaluate_all("all => all.map((one) => one.closest('[id]').id)")
    return found


def test_what_every_panel_shows_before_anything_is_loaded_can_be_drawn(
    shown: Callable[..., Any], views: dict[str, Any]
) -> None:
    page = shown(views)
    assert failed(page) == []
    assert page.locator(".wb-screen > div:empty").count() == 0
    assert page.locator(".wb-screen > div").count() == len(PANELS)


def test_a_panel_that_cannot_be_drawn_says_so_and_comes_back_when_asked(
    shown: Callable[..., Any], views: dict[str, Any]
) -> None:
    from playwright.sync_api import expect

    page = shown(views | {"run": views["run"] | {"jobs": [JOB | {"details": None}]}})
    expect(page.locator("#run .t-failed")).to_contain_text("cannot be drawn")
    assert failed(page) == ["run"]
    page.locator("#run .t-again").click()
    expect(page.locator("#run .t-failed")).to_be_visible()  # nothing has changed
    page.evaluate("window.models.run.state.view.jobs[0].details = []")
    page.locator("#run .t-again").click()
    expect(page.locator("#run .t-job")).to_be_visible()
    assert failed(page) == []
    page.evaluate("(view) => window.models.run.show(view)", views["run"] | {"jobs": None})
    expect(page.locator("#run .t-failed")).to_be_visible()
    page.evaluate("(view) => window.models.status.show(view)", {"text": "goes on", "kind": "info"})
    expect(page.locator("#status .t-status")).to_have_text("goes on")
    page.evaluate("(view) => window.models.run.show(view)", views["run"])
    expect(page.locator("#run .t-run")).to_be_visible()  # another view is tried by itself


def test_a_view_that_python_could_not_make_is_asked_for_again(shown: Callable[..., Any], views: dict[str, Any]) -> None:
    from playwright.sync_api import expect

    page = shown(views | {"table": {"failed": "This part cannot be drawn (KeyError: 'x')."}})
    expect(page.locator("#table .t-failed")).to_contain_text("KeyError")
    page.locator("#table .t-again").click()
    assert page.evaluate("window.sent") == [{"panel": "table", "action": "again"}]
    page.evaluate("(view) => window.models.table.show(view)", views["table"])
    expect(page.locator("#table .t-table")).to_be_visible()


def test_a_chart_that_vega_cannot_draw_is_said_in_its_panel_alone(
    shown: Callable[..., Any], views: dict[str, Any]
) -> None:
    from playwright.sync_api import expect

    chart = views["chart"]
    wrong = json.loads(json.dumps(chart["spec"])) | {"layer": [{"mark": "no such mark"}]}
    page = shown(views | {"chart": chart | {"spec": wrong, "rows": [{"id": "a", "x": 1, "y": 1}]}})
    expect(page.locator("#chart .t-failed")).to_be_visible()
    assert failed(page) == ["chart"]
    page.evaluate("(view) => window.models.chart.show(view)", chart)
    expect(page.locator("#chart .t-limit")).to_be_visible()
