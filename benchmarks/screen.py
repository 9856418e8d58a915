"""How quickly the screen answers, in a real headless Chromium: the table of issue 7, medians of many tries.

    python benchmarks/screen.py [slider opening busy many visitors]

Needs the extra `test` and a Chromium. Absolute times are of the machine that it runs on.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from lab import run_cells, serving_lab
from playwright.sync_api import Browser, Page, sync_playwright

import workbench_widgets
from workbench.dashboard import free_port, notebook, serving

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PAGE = Path(workbench_widgets.__file__).parent / "static" / "page.js"
CHART = ".t-chart svg .points_marks path"
#: Sixty layers, none measured: what a slider moves before anything runs. With 128 channels each hundredth is felt.
DEEP = """
import time, torch, workbench as wb
from torch import nn
def wait(recipe, report):
    while True:
        report.check()
        time.sleep(1)
layers = [nn.Conv2d(1, 128, 3, padding=1)] + [nn.Conv2d(128, 128, 3, padding=1) for _ in range(58)]
net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
study = wb.Study(wb.load(net, example=torch.zeros(1, 1, 28, 28)), wb.data("fashion-mnist"), keep=False)
study._make = wait
wb.app(study)
"""
#: Three hundred variants with invented figures: only the screen is measured.
MANY = """
import dataclasses, random, workbench as wb
from workbench.published import published
study = wb.Study(wb.load("fashion-vgg"), wb.data("fashion-mnist"), keep=False)
known = published(study).variants
draw = random.Random(1)
for n in range(300):
    like = known[n % len(known)]
    ratio = draw.uniform(0.5, 1.5)
    figures = {k: dataclasses.replace(e, value=e.value * ratio, low=e.low * ratio, high=e.high * ratio)
               for k, e in like.estimates.items()}
    recipe = wb.Tucker(rank=(n + 300) / 1000).recipe()
    key = study.id_of(recipe)
    study._variants[key] = dataclasses.replace(like, id=key, recipe=recipe, estimates=figures)
wb.app(study)
"""
#: A job that computes on a thread of its own and reports, as a search of many variants would.
BUSY = """
import numpy, workbench as wb
study = wb.Study(wb.load("fashion-vgg"), wb.data("fashion-mnist"), keep=False)
def work(recipe, report):
    for n in range(4000):
        numpy.linalg.svd(numpy.random.rand(160, 160))
        report(n / 4000, f"variant {n} of 4000")
study._make = work
wb.app(study)
"""
#: What a slider moves, and where it is seen.
MOVED = {
    "MACs moved": ".t-predicted-macs",
    "latency and size moved": ".t-predicted-file_bytes",
    "chart of layers moved": ".t-layer-chart",
}
STEPS = 14
#: Hundredths of the weights that each of the visitors prunes; none ends in a nought, which names leave out.
RATIOS = [*range(31, 40), 41]
#: Counts milliseconds from an event until what the selector finds has changed.
CHANGED = """(selector) => { const node = document.querySelector(selector);
  window.wbBegun = null; window.wbTook = null;
  document.addEventListener("keydown", () => { window.wbBegun = performance.now(); }, {capture: true, once: true});
  document.addEventListener("click", () => { window.wbBegun = performance.now(); }, {capture: true, once: true});
  const seen = new MutationObserver(() => { if (window.wbBegun !== null && window.wbTook === null) {
    seen.disconnect(); requestAnimationFrame(() => { window.wbTook = performance.now() - window.wbBegun; }); } });
  seen.observe(node, {childList: true, subtree: true, characterData: true, attributes: true}); }"""


def main() -> None:
    wanted = sys.argv[1:] or list(PARTS)
    path = next(filter(None, map(shutil.which, BROWSERS)))
    print("| what | found | at least |\n| --- | --- | --- |", flush=True)
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, headless=True, args=ARGUMENTS)
        for name in wanted:
            for row in PARTS[name](browser):
                print(f"| {' | '.join(row)} |", flush=True)
        browser.close()


def slider(browser: Browser) -> Iterator[tuple[str, str, str]]:
    """A key on a slider until the figures, and until the chart of layers, have changed."""
    for front_end, show in (("Voilà", opened), ("JupyterLab", opened_in_lab)):
        with show(browser, DEEP, ".t-add-step option") as page:
            page.locator(".t-add-step").select_option("Tucker")
            page.locator(".t-add").click()
            page.wait_for_selector(".t-layer-chart svg .after_marks path")
            page.wait_for_timeout(2000)
            for what, selector in MOVED.items():
                # At most forty-four of the forty-five steps to the slider's end.
                times = [took(page, selector, lambda: press(page, ".t-step input[type=range]")) for _ in range(STEPS)]
                yield f"slider key → {what}, 60 layers, {front_end}", spread(times[2:]), "≤ 120 ms"


def opening(browser: Browser) -> Iterator[tuple[str, str, str]]:
    """The address opened until the first chart is drawn, with and without a kernel kept warm."""
    for preheat, limit in ((False, "≤ 8 s"), (True, "≤ 3 s")):
        with serving(free_port(18700), preheat=preheat) as (address, _):
            times = []
            for _ in range(4):
                time.sleep(15 if preheat else 1)  # the next kernel is being warmed up
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                begun = time.monotonic()
                page.goto(address)
                page.wait_for_selector(CHART, timeout=120_000)
                times.append(time.monotonic() - begun)
                page.close()
        name = "preheated" if preheat else "cold"
        found = f"{statistics.median(times):.1f} s ({min(times):.1f} to {max(times):.1f})"
        yield f"{name}: address opened → first chart", found, limit
    yield "the page with @jupyterlab/services in it", f"{PAGE.stat().st_size / 1e6:.2f} MB", "≤ 0.7 MB"


def busy(browser: Browser) -> Iterator[tuple[str, str, str]]:
    """A selection in the table while a job computes and reports."""
    with opened(browser, BUSY, "tr.t-variant") as page:
        page.locator(".t-add-step").select_option("Prune")
        page.locator(".t-add").click()
        page.locator(".t-run").click()
        page.wait_for_selector(".t-job[data-state=running]")
        page.wait_for_timeout(1500)
        times = [took(page, ".t-table tbody", lambda n=n: pick(page, n % 7)) for n in range(33)][3:]
        found = f"{spread(times)}, worst {max(times):.0f} ms"
        yield "interface latency while a job runs", found, "≤ 150 ms, worst ≤ 400 ms"


def many(browser: Browser) -> Iterator[tuple[str, str, str]]:
    """A selection among 300 variants until table and chart show it."""
    with opened(browser, MANY, "tr.t-variant >> nth=299") as page:
        page.wait_for_timeout(2000)
        for what, selector in (("table", ".t-table tbody"), ("chart", ".t-chart")):
            times = [took(page, selector, lambda n=n: pick(page, 5 + 7 * n)) for n in range(23)][3:]
            yield f"300 variants: selection → {what}", spread(times), "≤ 250 ms"


def visitors(browser: Browser, count: int = 10) -> Iterator[tuple[str, str, str]]:
    """Ten visitors at once, each running a recipe of its own rank."""
    with serving(free_port(18800), preheat=False) as (address, server):
        contexts = [browser.new_context() for _ in range(count)]
        pages = [context.new_page() for context in contexts]
        for page in pages:
            page.set_default_timeout(590_000)
            page.goto(address, wait_until="commit")
        for page in pages:
            page.wait_for_selector(".t-model-fashion-mobilenet")
            page.locator(".t-model-fashion-mobilenet").click()
        for index, page in enumerate(pages):
            page.wait_for_selector(".t-model-fashion-mobilenet .wb-tag:text('chosen')")
            page.locator(".t-add-step").select_option("Prune")
            page.locator(".t-add").click()
            page.locator(".t-step .wb-number").first.fill(f"0.{RATIOS[index]}")
            page.locator(".t-step .wb-number").first.press("Enter")
            page.locator(f".t-run:text-is('Run Prune 0.{RATIOS[index]}')").click()
        finished, strangers = 0, 0
        for index, page in enumerate(pages):
            page.wait_for_selector(f"tr.t-variant.wb-selected:has-text('Prune 0.{RATIOS[index]}')")
            finished += 1
            text = page.locator(".t-table tbody").inner_text()
            strangers += sum(f"Prune 0.{RATIOS[other]}" in text for other in range(count) if other != index)
        yield f"{count} visitors, each running a recipe: finished", str(finished), f"{count}"
        yield "variants of another visitor that were seen", str(strangers), "0"
        sizes = memory(server.pid)
        yield "memory a visitor (proportional set size)", f"{statistics.median(sizes) / 2**20:.0f} MB", "reported"


def memory(server: int) -> list[int]:
    """Bytes of each kernel under the server: its own pages, and its share of those that several use."""
    found = [(one, one.info["ppid"], str(one.info["cmdline"])) for one in psutil.process_iter(["ppid", "cmdline"])]
    fork_servers = {one.pid for one, parent, command in found if parent == server and "widgets.fork_server" in command}
    own = [one for one, parent, command in found if parent == server and "ipykernel" in command]
    return [one.memory_full_info().pss for one in [*own, *(one for one, parent, _ in found if parent in fork_servers)]]


@contextmanager
def opened(browser: Browser, source: str, ready: str) -> Iterator[Page]:
    with serving(free_port(18600), source, preheat=False) as (address, _):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(address)
        page.wait_for_selector(ready, state="attached")
        yield page
        page.close()


@contextmanager
def opened_in_lab(browser: Browser, source: str, ready: str) -> Iterator[Page]:
    with serving_lab(free_port(18650), json.dumps(notebook(source))) as address:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(address)
        run_cells(page)
        page.wait_for_selector(ready, state="attached")
        yield page
        page.close()


def took(page: Page, selector: str, act: Any) -> float:
    """Milliseconds from a key or a click to the first frame with the change, taken in the page."""
    page.wait_for_timeout(250)
    page.evaluate(CHANGED, selector)
    act()
    page.wait_for_function("window.wbTook !== null")
    return float(page.evaluate("window.wbTook"))


def press(page: Page, selector: str) -> None:
    page.locator(selector).first.focus()
    page.keyboard.press("ArrowLeft")


def pick(page: Page, row: int) -> None:
    page.locator("tr.t-variant .wb-pick").nth(row).click()


def spread(times: list[float]) -> str:
    low, *_, high = statistics.quantiles(times, n=20)
    return f"{statistics.median(times):.0f} ms ({low:.0f} to {high:.0f})"


PARTS = {"slider": slider, "opening": opening, "busy": busy, "many": many, "visitors": visitors}

if __name__ == "__main__":
    main()
