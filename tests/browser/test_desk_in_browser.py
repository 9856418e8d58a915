"""The desk in a real Chromium: what stays in view, what is taken away, and what a server that ends leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import story

from workbench.dashboard import Site, free_port, serving

SOURCE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "core")!r})
import workbench as wb
from tiny import tiny_data, tiny_model
wb.app(wb.Study(tiny_model(), tiny_data(300)))
"""
#: Where the column's parts lie in the window, and what the strip of messages lies over.
BOXES = """() => {
  const box = (selector) => document.querySelector(selector).getBoundingClientRect();
  const seen = (selector) => { const b = box(selector); return b.top >= 0 && b.bottom <= innerHeight; };
  const strip = box(".wb-strip");
  const meets = (b) => b.left < strip.right && strip.left < b.right && b.top < strip.bottom && strip.top < b.bottom;
  const cards = [...document.querySelectorAll(".wb-panel:not(.wb-p-status)")].filter((el) => el.offsetParent);
  const over = cards.filter((el) => meets(el.getBoundingClientRect())).map((el) => el.className);
  return { prediction: seen(".t-prediction"), run: seen(".t-run"), add: seen(".t-add"), over };
}"""
#: How much of the steps is seen between the title above and "Add a step" below, and whether that button can be clicked.
ROOM = """() => {
  const box = (selector) => document.querySelector(selector).getBoundingClientRect();
  const add = box(".t-add");
  const steps = box(".wb-steps");
  const within = [box(".wb-p-recipe .wb-card-head").bottom, box(".wb-add-step").top];
  return {
    steps: Math.min(within[1], steps.bottom) - Math.max(within[0], steps.top),
    last: [...document.querySelectorAll(".t-step")].at(-1).getBoundingClientRect().height,
    add: document.elementFromPoint(add.x + add.width / 2, add.y + add.height / 2)?.classList.contains("t-add"),
    open: [...document.querySelectorAll(".t-fold")].map((one) => one.ariaExpanded),
  };
}"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def add(page: Any, *steps: str) -> None:
    from playwright.sync_api import expect

    for number, step in enumerate(steps, page.locator(".t-step").count() + 1):
        page.locator(".t-add-step").select_option(step)
        page.locator(".t-add").click()
        expect(page.locator(".t-step")).to_have_count(number)


def has_room(page: Any, folded: int) -> None:
    """As the dashboard opens: the step that was added last is read whole, and the next one can be added."""
    page.wait_for_function(f"() => {{ const found = ({ROOM})(); return found.steps >= found.last && found.add; }}")
    found = page.evaluate(ROOM)
    assert found["add"] is True
    assert found["open"] == ["false"] * folded + ["true"]
    assert found["steps"] >= found["last"] > 90


def stays_in_view(page: Any) -> None:
    """With one step, with three, and with every step open, wherever the page is scrolled to."""
    add(page, "SVD")
    has_room(page, folded=0)
    add(page, "PruneChannels", "Quantize")
    has_room(page, folded=2)
    for fold in page.locator(".t-fold").all():
        if fold.get_attribute("aria-expanded") == "false":
            fold.click()
    page.wait_for_function("document.querySelectorAll('.t-fold[aria-expanded=true]').length === 3")
    for fold in page.locator(".t-step details summary").all():
        fold.click()
    for share in (0, 0.3, 1):
        page.evaluate("share => window.scrollTo(0, share * document.documentElement.scrollHeight)", share)
        page.wait_for_timeout(300)
        assert page.evaluate(BOXES) == {"prediction": True, "run": True, "add": True, "over": []}


def run(page: Any) -> None:
    from playwright.sync_api import expect

    page.locator(".t-run").click()
    expect(page.locator("tr.t-variant")).to_have_count(2, timeout=150_000)
    expect(page.locator(".t-job").last).to_have_attribute("data-state", "done", timeout=150_000)


def test_a_server_that_ends_leaves_the_desk_as_it_was(
    visitor: Any, chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strip lies over nothing, prediction and Run stay in view; and after the server's end all is there again."""
    from playwright.sync_api import expect

    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    site = Site(token="a-token")
    with serving(free_port(19166), SOURCE, preheat=False, site=site) as (address, _):
        page = visitor()
        page.goto(address)
        expect(page.locator(".t-kept")).to_contain_text(str(tmp_path / "home"), timeout=60_000)
        expect(page.locator("tr.t-variant")).to_have_count(1, timeout=90_000)  # the original, measured by itself
        stays_in_view(page)
        run(page)
        take_away(page, tmp_path)
        side_by_side(page)
        story.is_accessible(page, "light")
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_function("document.documentElement.scrollWidth <= 390")  # once the chart is drawn anew
        assert page.evaluate(BOXES)["over"] == []
    with serving(free_port(19266), SOURCE, preheat=False, site=site) as (address, _):
        page = visitor()
        page.goto(address)
        expect(page.locator("tr.t-variant")).to_have_count(2, timeout=60_000)
        expect(page.locator(".t-step")).to_have_count(3)
        page.locator(".t-earlier summary").click()
        expect(page.locator(".wb-earlier li")).to_contain_text("2 variants")


def take_away(page: Any, folder: Path) -> None:
    for kind in ("csv", "html", "md"):
        with page.expect_download() as download:
            page.locator(f".t-take-{kind}").click()
        download.value.save_as(folder / f"taken.{kind}")
    table = (folder / "taken.csv").read_text().splitlines()
    assert len(table) == 3
    assert table[0].startswith("id,name,recipe")
    report = visitor_of(page, folder / "taken.html")
    assert "SVD" in report
    assert "Limits of the claim" in report
    assert (folder / "taken.md").read_text().startswith("---\nlibrary_name: onnx\n")


def visitor_of(page: Any, file: Path) -> str:
    """What the report shows, opened as a file."""
    other = page.context.new_page()
    other.goto(file.as_uri())
    text: str = other.locator("main").inner_text()
    other.close()
    return text


def side_by_side(page: Any) -> None:
    from playwright.sync_api import expect

    for box in page.locator(".t-beside").all():
        box.check()
    expect(page.locator(".t-beside-figures thead th")).to_have_count(3)
    page.locator(".t-answers-beside").click()
    expect(page.locator(".t-beside-images summary")).to_have_count(1, timeout=90_000)
    archive(page)
    expect(page.locator("tr.t-variant")).to_have_count(1)
    page.locator(".t-archived").check()
    expect(page.locator("tr.t-variant")).to_have_count(2)
    archive(page)  # taken out again
    expect(page.locator(".t-archived")).to_have_count(0)


def archive(page: Any) -> None:
    page.locator(".wb-label-row summary").click()
    page.locator(".t-archive").click()
