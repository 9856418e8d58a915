"""A whole search on a tiny network in a real Chromium: asked for, predicted, measured, found, taken to the editor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import story

from workbench.dashboard import free_port, serving

SOURCE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "core")!r})
import workbench as wb
from tiny import tiny_data, tiny_model
wb.app(wb.Study(tiny_model(), tiny_data(300)))
"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def tiny(chromium: str) -> Iterator[str]:
    """The address of a page that shows a tiny network."""
    with serving(free_port(19066), SOURCE, preheat=False) as (address, _):
        yield address


def number(page: Any, name: str, text: str) -> None:
    field = page.locator(f".t-{name}").first
    field.fill(text)
    field.press("Enter")


def wish(page: Any) -> None:
    """What cannot be read is said beside its row; rows come and go."""
    from playwright.sync_api import expect

    page.locator(".t-goal").select_option("macs")
    number(page, "minutes", "0.4")
    number(page, "limit-text", "many")
    expect(page.locator(".t-limit-row .wb-problem")).to_contain_text("many")
    expect(page.locator(".t-search")).to_be_disabled()
    number(page, "limit-text", "90")
    expect(page.locator(".t-limit-row .wb-problem")).to_have_count(0)
    page.locator(".t-bind-more").click()
    expect(page.locator(".t-limit-row")).to_have_count(2)
    page.locator(".t-limit-row").nth(1).locator(".t-unbind").click()
    expect(page.locator(".t-limit-row")).to_have_count(1)


def search(page: Any) -> None:
    """Begun by keyboard: the front is drawn hollow before anything is found."""
    from playwright.sync_api import expect

    page.locator(".t-axis-x").select_option("macs")
    page.locator(".t-search").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".wb-p-search [role=progressbar]")).to_be_visible()
    expect(page.locator(".wb-p-search .t-clock")).to_contain_text("left")
    hollow = page.locator(".t-chart svg .promises_marks path")
    expect(hollow.first).to_be_attached(timeout=90_000)
    assert hollow.first.get_attribute("fill") in {None, "none", "transparent"}


def find(page: Any) -> None:
    """The best is chosen, with its proof and its reasons."""
    from playwright.sync_api import expect

    expect(page.locator(".t-found")).to_be_visible(timeout=150_000)
    best = page.locator(".t-found b").inner_text().removeprefix("Best: ")
    expect(page.locator("tr.t-variant.wb-selected")).to_contain_text(best)
    expect(page.locator(".t-certificate").first).to_contain_text(re.compile("loses at most 90 points|Not known yet"))
    page.locator(".t-why summary").click()
    expect(page.locator(".t-reasons tbody tr")).to_have_count(3)


def edit_what_was_found(page: Any) -> None:
    from playwright.sync_api import expect

    page.locator(".t-take-found").click()
    expect(page.locator(".t-step").first).to_be_visible()
    page.locator(".t-front summary").click()
    page.locator(".t-promises button").last.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".t-undo")).to_be_enabled()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_a_whole_search(visitor: Any, tiny: str, width: int, theme: str) -> None:
    from playwright.sync_api import expect

    page = visitor(width, color_scheme=theme)
    page.goto(tiny)
    expect(page.locator(".t-search")).to_be_enabled(timeout=60_000)
    wish(page)
    search(page)
    find(page)
    story.is_accessible(page, theme)
    edit_what_was_found(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_limit_out_of_reach_is_a_sentence_in_the_panel(visitor: Any, tiny: str) -> None:
    from playwright.sync_api import expect

    page = visitor()
    page.goto(tiny)
    expect(page.locator(".t-search")).to_be_enabled(timeout=60_000)
    page.locator(".t-goal").select_option("macs")
    page.locator(".t-limit-figure").select_option("macs")
    expect(page.locator(".t-limit-text")).to_have_value("50")
    number(page, "limit-text", "0.001")
    page.locator(".t-search").click()
    expect(page.locator(".t-search-problem")).to_contain_text("the least that any choice reaches is", timeout=90_000)
    expect(page.locator(".t-search")).to_be_enabled()
