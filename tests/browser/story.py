"""What a visitor does, from a model to an exported file; the same in JupyterLab and in Voilà."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

MODEL = "fashion-mobilenet"  # the smallest of the bundled networks


def choose_a_model(page: Any) -> None:
    from playwright.sync_api import expect

    card = page.locator(f".t-model-{MODEL}")
    card.click()
    expect(card).to_have_attribute("aria-pressed", "true")
    expect(card.locator(".wb-tag")).to_have_text("chosen", timeout=60_000)


def add_a_step_and_slide(page: Any) -> None:
    """The predicted figures move with the slider; nothing has run by then."""
    from playwright.sync_api import expect

    page.locator(".t-add-step").select_option("SVD")
    page.locator(".t-add").click()
    expect(page.locator(".t-step")).to_have_count(1)
    predicted = page.locator(".t-prediction tbody tr:first-child td:nth-child(3)")
    before = predicted.inner_text()
    page.locator(".t-step input[type=range]").first.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    expect(page.locator(".t-run")).to_have_text("Run SVD 0.4")  # ten steps of 0.01, and all of them have arrived
    expect(predicted).not_to_have_text(before)
    expect(page.locator(".t-prediction tbody tr:first-child td:nth-child(4)")).to_contain_text("less")
    expect(page.locator(".t-plan tbody tr").first).to_be_visible()


def a_wrong_value_is_a_sentence(page: Any) -> None:
    from playwright.sync_api import expect

    typed = page.locator(".t-step .wb-number").first
    expect(typed).to_have_value("0.4")
    right = typed.input_value()
    typed.fill("-3")
    typed.press("Enter")
    expect(page.locator(".t-status")).to_contain_text("Not done")
    expect(page.locator(".t-status")).not_to_contain_text("Traceback")
    expect(typed).to_have_attribute("aria-invalid", "true")
    typed.fill(right)
    typed.press("Enter")
    expect(typed).not_to_have_attribute("aria-invalid", "true")


def run_the_recipe(page: Any) -> None:
    """The original and the variant arrive, in the table and as marks of the chart."""
    from playwright.sync_api import expect

    page.locator(".t-run").click()
    expect(page.locator(".t-job[data-state=running] [role=progressbar]").first).to_be_visible()
    expect(page.locator("tr.t-variant")).to_have_count(2, timeout=150_000)
    expect(page.locator(".t-chart svg .points_marks path")).to_have_count(2)
    expect(page.locator(".t-chart svg")).to_have_attribute("aria-label", re.compile("of 2 variants"))
    expect(page.locator("tr.t-variant").last).to_have_class(re.compile("wb-selected"))
    expect(page.locator(".t-verdict")).to_contain_text(re.compile("faster|slower|not distinguishable"))


def select_in_chart_and_table(page: Any) -> None:
    """One selection: a mark clicked marks the row, a row chosen by keyboard marks the mark."""
    from playwright.sync_api import expect

    rows, marks = page.locator("tr.t-variant"), page.locator(".t-chart svg .points_marks path")
    marks.first.click()
    expect(rows.first).to_have_class(re.compile("wb-selected"))
    expect(rows.first.locator("button")).to_have_attribute("aria-pressed", "true")
    rows.last.locator("button").focus()
    page.keyboard.press("Enter")
    expect(rows.last).to_have_class(re.compile("wb-selected"))


def look_at_the_other_chart(page: Any) -> None:
    from playwright.sync_api import expect

    page.locator(".t-tab-speedup").click()
    expect(page.locator(".t-chart svg")).to_contain_text("Predicted speed-up")
    expect(page.locator(".t-chart svg .points_marks path")).to_have_count(2)
    page.locator(".t-tab-tradeoff").click()


def export_and_download(page: Any, folder: Path) -> None:
    """What arrives in the browser is what the manifest vouches for."""
    from playwright.sync_api import expect

    page.locator(".t-export").click()
    expect(page.locator(".t-verified")).to_contain_text("read back", timeout=60_000)
    for name in ("model.onnx", "manifest.json"):
        with page.expect_download() as download:
            page.locator(".t-download", has_text=name).click()
        download.value.save_as(folder / name)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest() == manifest["files"]["model.onnx"]
    assert manifest["recipe"][0]["step"] == "SVD"


def whole(page: Any, folder: Path) -> None:
    """From load to export."""
    choose_a_model(page)
    add_a_step_and_slide(page)
    a_wrong_value_is_a_sentence(page)
    run_the_recipe(page)
    select_in_chart_and_table(page)
    look_at_the_other_chart(page)
    export_and_download(page, folder)
