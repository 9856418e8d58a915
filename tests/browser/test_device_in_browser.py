"""A headless Chromium as the device: it measures, is refused what it may not have, and goes on after a break."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import story

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

import tiny  # stands beside the tests of the core

import workbench as wb
from workbench.devices import offer
from workbench.study import Study

pytestmark = [pytest.mark.browser, pytest.mark.slow]
# Selectors, since the page's policy lets no text be run as a script.
DONE, OPENED = "#status:has-text('Done.')", "#work:not([hidden])"


@pytest.fixture(scope="module")
def study() -> Study:
    found = wb.Study(tiny.tiny_model(), tiny.tiny_data())
    found.run(wb.Quantize("int8"), progress=False)
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of a few rounds, and a minute of keeping on in a second."""
    monkeypatch.setenv("WORKBENCH_LATENCY_SECONDS", "0.1")
    monkeypatch.setattr(offer, "KEEP_S", 1.0)


def use_page(page: Any, address: str) -> None:
    """As a visitor does: wait, rename, keep on; narrow and dark, then wide and light."""
    page.goto(address)
    page.wait_for_selector(DONE)
    page.fill("#name", "Test phone")
    page.get_by_text("Rename").click()
    page.wait_for_selector("#tables:has-text('all 100')")
    page.locator("#keep").click()
    page.wait_for_selector("#sustained:not([hidden])")
    page.wait_for_selector(DONE)
    story.is_accessible(page, "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})
    story.is_accessible(page, "light")


def test_a_device_measures_and_its_figures_are_in_the_study(study: Study, visitor: Callable[..., Any]) -> None:
    with study.device() as invitation:
        use_page(visitor(390, color_scheme="dark"), invitation.address)
        (device,) = invitation.wait(seconds=60)
    assert device.name == "Test phone" and "Chrome" in device.browser and device.isolated
    one, *more = device.rows
    assert (one.backend, one.threads, one.note) == ("wasm", 1, "")
    assert [row.threads for row in more] == [device.cores] * (device.cores > 1)
    counted = [device.answers[one.id].differing for one in study.variants]
    assert counted[0] == 0 and counted[1] in range(10)  # integers are rounded otherwise here and there
    assert device.over_time().latency_ms.gt(0).all()
    variant = next(found for found in study.variants if found.recipe.steps)
    speed = variant["speedup on Test phone"]
    assert 0 < speed.low < speed.value < speed.high
    assert not invitation.refusals


def test_who_may_not_or_cannot_measure_reads_why(study: Study, visitor: Callable[..., Any]) -> None:
    with study.device() as invitation:
        first, second, third = visitor(), visitor(390), visitor()
        address = invitation.address
        third.add_init_script("WebAssembly.validate = () => false")
        third.goto(address)
        third.get_by_text("has no WebAssembly with SIMD").wait_for()
        first.goto(address)
        first.wait_for_selector(OPENED)
        second.goto(address)
        second.get_by_text("Another device has used this address already").wait_for()
        story.is_accessible(second, "light")
        second.goto(address.replace(address.rsplit("/", 2)[1], "a" * 12))
        second.get_by_text("none that the workbench gave").wait_for()


def test_what_was_measured_waits_while_the_desk_is_away(study: Study, visitor: Callable[..., Any]) -> None:
    with study.device() as invitation:
        page, breaks = visitor(), iter(range(3))
        page.route("**/times", lambda route: route.abort() if next(breaks, None) is not None else route.continue_())
        page.goto(invitation.address)
        page.get_by_text("The workbench cannot be reached from here").wait_for()
        page.wait_for_selector(DONE)
        assert page.locator("#alert").is_hidden()
        page.reload()  # what is known is not measured again
        page.wait_for_selector(DONE)
        (device,) = invitation.wait(seconds=60)
    assert device.finished and device.rows[0].speedup
