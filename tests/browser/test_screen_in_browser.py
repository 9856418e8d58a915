"""From load to reload in a real Chromium, in JupyterLab and in the standalone dashboard, without the network."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import story

# The notebook is the one in front, and its kernel answers: before that the command does nothing.
KERNEL_READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === "idle";
}"""
#: Opens more sockets of this visitor than the server lets a visitor have.
CROWD = """() => {
  const { kernel } = JSON.parse(sessionStorage.getItem("workbench-visit"));
  const address = new URL(`api/kernels/${kernel}/channels`, document.baseURI.replace("http", "ws"));
  const protocol = "v1.kernel.websocket.jupyter.org";
  window.crowd = [1, 2, 3, 4].map((n) => new WebSocket(`${address}?session_id=crowd-${n}`, protocol));
}"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LOOKS = pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])


@LOOKS
def test_dashboard(visitor: Any, dashboard: str, tmp_path: Path, width: int, theme: str) -> None:
    page = visitor(width, color_scheme=theme)
    page.goto(dashboard)
    story.whole(page, tmp_path)
    story.reload_and_find_it_again(page)
    is_in(page, theme)
    nothing_is_wider_than_the_page(page)
    story.is_accessible(page, theme)
    page.set_viewport_size({"width": 1440 + 390 - width, "height": 900})
    nothing_is_wider_than_the_page(page)
    if theme == "light":
        follows_the_theme(page)
        story.is_accessible(page, "dark")


@LOOKS
def test_jupyterlab(visitor: Any, lab: str, tmp_path: Path, width: int, theme: str) -> None:
    page = visitor(width)
    page.goto(f"{lab}?reset")
    page.wait_for_function(KERNEL_READY)
    if theme == "dark":
        page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    # What a visit before left in the notebook must not be taken for this one's.
    page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    # Not returned: the command's promise would be waited for.
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:restart-run-all'); }")
    accept(page)
    story.whole(page, tmp_path)
    is_in(page, theme)
    story.is_accessible(page, theme, within=".wb-screen")  # what surrounds it is JupyterLab's own
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    story.reload_and_find_it_again(page)
    a_saved_notebook_holds_a_picture(page)


def test_visitors_at_once_see_their_own_alone(visitor: Any, dashboard: str) -> None:
    """Three of them, each with a recipe of their own. The benchmark does it with ten."""
    from playwright.sync_api import expect

    pages = [visitor() for _ in range(3)]
    for page in pages:
        page.goto(dashboard, wait_until="commit")
    for index, page in enumerate(pages):
        story.choose_a_model(page)
        page.locator(".t-add-step").select_option("Prune")
        page.locator(".t-add").click()
        page.locator(".t-step .wb-number").first.fill(f"0.{31 + index}")
        page.locator(".t-step .wb-number").first.press("Enter")
        page.locator(f".t-run:text-is('Run Prune 0.{31 + index}')").click()
    for index, page in enumerate(pages):
        expect(page.locator(f"tr.t-variant.wb-selected:has-text('Prune 0.{31 + index}')")).to_be_visible(
            timeout=240_000
        )
        text = page.locator(".t-table tbody").inner_text()
        assert not [other for other in range(3) if other != index and f"Prune 0.{31 + other}" in text]


def test_a_kernel_that_ends_is_seen_and_said(visitor: Any, server: tuple[str, int]) -> None:
    from playwright.sync_api import expect

    page = visitor()
    before = kernels(server[1])
    page.goto(server[0])
    expect(page.locator(".t-add-step option").first).to_be_attached(timeout=60_000)
    (mine,) = kernels(server[1]) - before
    os.kill(mine, signal.SIGKILL)
    expect(page.locator(".wb-notice")).to_contain_text("has ended", timeout=30_000)
    page.locator(".wb-notice button").click()
    expect(page.locator(".wb-notice")).to_be_hidden(timeout=60_000)
    expect(page.locator(".t-add-step option").first).to_be_attached(timeout=60_000)


def test_a_connection_that_breaks_is_made_again(visitor: Any, dashboard: str) -> None:
    """The server closes the oldest socket of a visitor with too many: here the one that the page works with."""
    from playwright.sync_api import expect

    page = visitor()
    page.goto(dashboard)
    expect(page.locator(".t-add-step option").first).to_be_attached(timeout=60_000)
    with page.expect_websocket(lambda socket: "crowd" not in socket.url) as again:
        page.evaluate(CROWD)
    assert again.value.url.split("?")[0].endswith("/channels")
    expect(page.locator(".wb-notice")).to_be_hidden()
    page.locator(".t-add").click()
    expect(page.locator(".t-step")).to_be_visible()


def kernels(server: int) -> set[int]:
    """The processes of the kernels under a server: forked of its fork server, or started by itself."""
    found = [(one.pid, one.info["ppid"], str(one.info["cmdline"])) for one in psutil.process_iter(["ppid", "cmdline"])]
    fork_servers = {pid for pid, parent, command in found if parent == server and "widgets.fork_server" in command}
    own = {pid for pid, parent, command in found if parent == server and "ipykernel" in command}
    return own | {pid for pid, parent, _ in found if parent in fork_servers}


def accept(page: Any) -> None:
    """Answer JupyterLab's question whether it may restart."""
    page.locator(".jp-Dialog .jp-mod-accept").click()


def is_in(page: Any, theme: str) -> None:
    assert page.evaluate("document.body.dataset.jpThemeLight") == ("true" if theme == "light" else "false")


def nothing_is_wider_than_the_page(page: Any) -> None:
    """The page does not scroll sideways, and the chart has its width."""
    width = page.viewport_size["width"]
    page.wait_for_function(f"document.querySelector('.t-chart svg').getBoundingClientRect().right <= {width}")
    cards = page.locator(".wb-card").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert cards
    assert max(cards) <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def a_saved_notebook_holds_a_picture(page: Any) -> None:
    """A table of what was measured and a chart, in plain HTML; and no state of widgets."""
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    saved = page.evaluate("window.jupyterapp.shell.currentWidget.context.model.toJSON()")
    assert "widgets" not in saved["metadata"]
    pictures = [one["data"].get("text/html", "") for cell in saved["cells"] for one in cell.get("outputs", [])]
    still = "".join("".join(one) for one in pictures)
    assert "SVD 0.4" in still
    assert "data:image/png;base64," in still
    assert page.locator(".wb-still").first.is_hidden()


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
