"""The report in a real Chromium, opened as a file: it fetches nothing, both themes, narrow and wide, on paper."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import story

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("core", "report")]

import by_hand as make  # noqa: E402  # stands beside the tests of the report

import workbench as wb  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CHARTS = 4


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wb.report(make.several(60), tmp_path_factory.mktemp("report") / "report.html")


def opened(browser: Any, file: Path, width: int, theme: str) -> tuple[Any, list[str]]:
    """The page with its charts, and whatever went wrong or was asked for beside the file."""
    size = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")
    page, said = context.new_page(), []
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("request", lambda request: None if request.url == file.as_uri() else said.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_function(f"document.querySelectorAll('.plot svg').length === {CHARTS}", timeout=60_000)
    return page, said


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_and_fetches_nothing(browser: Any, file: Path, width: int, theme: str) -> None:
    page, said = opened(browser, file, width, theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.querySelectorAll('.plot svg')].every(one => one.getAttribute('aria-label'))")
    story.is_accessible(page, theme)
    assert not said
    page.context.close()


def test_charts_answer_the_reader(browser: Any, file: Path) -> None:
    """A mark leads to its variant, and tells its figures to whoever points at it."""
    page, said = opened(browser, file, 1440, "light")
    mark = page.locator("#front .points_marks path").nth(30)
    mark.hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for()
    mark.dispatch_event("click")
    page.wait_for_function("location.hash.length > 5")
    assert page.evaluate("document.getElementById(location.hash.slice(1)).tagName") == "ARTICLE"
    assert not said
    page.context.close()


def test_what_a_reader_without_scripts_sees_is_whole(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert "The charts need JavaScript" in page.locator("main").inner_text()
    assert page.locator("#variants tbody tr").count() == 60
    context.close()


def test_on_paper_it_is_dark_on_white_and_keeps_its_width(browser: Any, file: Path) -> None:
    """Printed from a dark screen, too: text and axes of the charts are as dark as all other text."""
    page, said = opened(browser, file, 1440, "dark")
    paper = page.pdf(format="A4", prefer_css_page_size=True)
    assert 5 < len(re.findall(rb"/Type\s*/Page\b", paper)) < 40
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 690, "height": 900})  # what A4 leaves between its margins
    colours = page.evaluate("[...document.querySelectorAll('.plot svg text')].map(one => getComputedStyle(one).fill)")
    assert colours and set(colours) == {"rgb(17, 17, 17)"}
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    wide = "[...document.querySelectorAll('main > section')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    assert page.evaluate(f"{wide}.map(one => one.id)") == []
    assert not said
    page.context.close()
