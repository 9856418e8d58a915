"""What a visitor does, from a model to an exported file; the same in JupyterLab and in Voilà."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

MODEL = "fashion-mobilenet"  # the smallest of the bundled networks
#: The least contrast of a chart's texts with the ground that they stand on, as WCAG 2 defines it.
CONTRAST = """() => {
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  const bytes = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const svg = document.querySelector(".t-chart svg");
  let ground = [255, 255, 255, 255];
  for (let node = svg; node; node = node.parentElement) {
    const own = bytes(getComputedStyle(node).backgroundColor);
    if (own[3] === 255) { ground = own; break; }
  }
  const ratios = [...svg.querySelectorAll("text")].filter((t) => t.textContent.trim()).map((t) => {
    const style = getComputedStyle(t);
    const ink = bytes(style.fill);
    const share = (ink[3] / 255) * style.fillOpacity * style.opacity;
    const [one, two] = [ground.map((g, n) => share * ink[n] + (1 - share) * g), ground].map(light);
    return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  });
  return ratios.length ? Math.min(...ratios) : 0;
}"""


def choose_a_model(page: Any) -> None:
    from playwright.sync_api import expect

    card = page.locator(f".t-model-{MODEL}")
    card.click()
    expect(card).to_have_attribute("aria-pressed", "true")
    expect(card.locator(".wb-tag")).to_have_text("chosen", timeout=60_000)


def the_chart_is_legible(page: Any) -> None:
    """Axes, legend and texts of the chart stand out from the ground, with 4.5 to 1 as WCAG 2.1 AA asks."""
    page.wait_for_function(f"({CONTRAST})() >= 4.5", timeout=10_000)


def the_chart_fits_its_place(page: Any) -> None:
    """It is as wide as it may be, and its marks lie in it."""
    page.wait_for_function(
        """() => {
          const place = document.querySelector(".t-chart").getBoundingClientRect();
          const svg = document.querySelector(".t-chart svg").getBoundingClientRect();
          const marks = [...document.querySelectorAll(".t-chart svg .points_marks path")];
          const boxes = marks.map((mark) => mark.getBoundingClientRect());
          const inside = boxes.every((b) => place.left <= b.left && b.right <= place.right);
          return svg.width > place.width - 30 && svg.width <= place.width && inside;
        }""",
        timeout=10_000,
    )


def see_the_first_drawing(page: Any) -> None:
    page.wait_for_selector(".t-chart svg .points_marks path")
    the_chart_fits_its_place(page)
    the_chart_is_legible(page)


def look_at_the_data_and_send_what_is_refused(page: Any) -> None:
    """Samples stand under the names of their classes; a pickle is refused before it is read."""
    from playwright.sync_api import expect

    expect(page.locator(".t-samples li")).to_have_count(10)
    expect(page.locator(".t-about")).to_contain_text(MODEL)
    page.locator(".t-others summary").click()
    page.locator(".t-upload").set_input_files(
        files=[{"name": "net.pt", "mimeType": "application/octet-stream", "buffer": b"\x80"}]
    )
    expect(page.locator(".t-others .wb-problem")).to_contain_text("may hold code")
    page.locator(".t-others summary").click()


def time_the_layers(page: Any) -> None:
    """A column more in the table of layers, sorted by keyboard."""
    from playwright.sync_api import expect

    page.locator(".t-ask-times").click()
    expect(page.locator(".t-job").last).to_contain_text("time of each layer")
    heading = page.locator(".t-layers th", has_text="Time")
    expect(heading).to_be_visible(timeout=120_000)
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")


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
    expect(page.locator("tr.t-layer").first).to_be_visible()


def scope_by_a_layer_and_take_it_back(page: Any) -> None:
    """A layer chosen by keyboard limits the step to it, in the code as well; undo takes it back."""
    from playwright.sync_api import expect

    box = page.locator("tr.t-layer input:not([disabled])").nth(1)
    name = page.locator("tr.t-layer").nth(1).get_attribute("data-layer")
    box.focus()
    page.keyboard.press("Space")
    expect(page.locator(".t-scope")).to_contain_text("1 layer alone")
    page.locator(".wb-code summary").click()
    expect(page.locator(".t-code")).to_contain_text(f"layers='{name}'")
    page.locator(".t-form-yaml").click()
    expect(page.locator(".t-code")).to_contain_text(f"layers: {name}")
    page.keyboard.press("Control+z")  # the focus is on a control of another region
    expect(page.locator(".t-scope")).to_contain_text("every layer")
    page.keyboard.press("Control+Shift+Z")
    expect(page.locator(".t-scope")).to_contain_text("1 layer alone")
    page.locator(".t-undo").click()
    expect(page.locator(".t-scope")).to_contain_text("every layer")
    expect(page.locator(".t-code")).not_to_contain_text("layers")


def switch_off_and_on(page: Any) -> None:
    from playwright.sync_api import expect

    page.locator(".t-switch").uncheck()
    expect(page.locator(".t-run")).to_be_disabled()
    page.locator(".t-switch").check()
    expect(page.locator(".t-run")).to_have_text("Run SVD 0.4")


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
    expect(page.locator(".t-run")).to_be_disabled()
    typed.fill(right)
    typed.press("Enter")
    expect(typed).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator(".t-status")).not_to_contain_text("Not done")


def nothing_lies_over(page: Any, control: Any) -> None:
    """Wherever a control stands in the window, a click in its middle reaches it."""
    for block in ("start", "center", "end"):
        control.evaluate("(node, block) => node.scrollIntoView({block})", block)
        hit = control.evaluate(
            "node => { const box = node.getBoundingClientRect(); return node.contains("
            "document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)); }"
        )
        assert hit, f"something lies over {control} at the {block} of the window"


def name_it_and_say_why(page: Any) -> None:
    """A name, tags and a note of the chosen variant, and its own name back."""
    from playwright.sync_api import expect

    chosen = page.locator("tr.t-variant.wb-selected")
    page.locator(".t-label summary").click()
    page.locator(".t-label-name").fill("half the ranks")
    page.locator(".t-label-name").press("Enter")
    expect(chosen).to_contain_text("half the ranks")
    page.locator(".t-label-tags").fill("best")
    page.locator(".t-label-tags").press("Tab")
    expect(page.locator(".t-tags")).to_have_text("best")
    page.locator(".t-label-name").fill("")
    page.locator(".t-label-name").press("Enter")
    expect(chosen).to_contain_text("SVD 0.4")
    page.locator(".t-label summary").click()


def run_the_recipe(page: Any) -> None:
    """The original and the variant arrive, in the table and as marks of the chart."""
    from playwright.sync_api import expect

    nothing_lies_over(page, page.locator(".t-run"))
    page.locator(".t-run").click()
    expect(page.locator(".t-job[data-state=running] [role=progressbar]").first).to_be_visible()
    chosen = page.locator("tr.t-variant.wb-selected")
    expect(chosen).to_contain_text("SVD 0.4", timeout=150_000)
    expect(chosen).not_to_contain_text("elsewhere")
    count = page.locator("tr.t-variant").count()
    expect(page.locator(".t-chart svg .points_marks path")).to_have_count(count)
    expect(page.locator(".t-chart svg")).to_have_attribute("aria-label", re.compile(f"of {count} variants"))
    expect(page.locator(".t-verdict")).to_contain_text(re.compile("faster|slower|not distinguishable"))


def select_in_chart_and_table(page: Any) -> None:
    """One selection: a mark clicked marks the row, a row chosen by keyboard marks the mark."""
    from playwright.sync_api import expect

    original, mine = (page.locator("tr.t-variant", has_text=name).first for name in ("original", "SVD 0.4"))
    page.locator(".t-chart svg .points_marks path").first.dispatch_event("click")  # marks may lie on one another
    expect(original).to_have_class(re.compile("wb-selected"))
    expect(original.locator("button")).to_have_attribute("aria-pressed", "true")
    mine.locator("button").focus()
    page.keyboard.press("Enter")
    expect(mine).to_have_class(re.compile("wb-selected"))


def look_at_the_other_charts(page: Any) -> None:
    """Every chart shows every variant, tells so in words, and chooses the same one."""
    from playwright.sync_api import expect

    count = page.locator("tr.t-variant").count()
    svg, points = page.locator(".t-chart svg"), page.locator(".t-chart svg .points_marks path")
    for tab, words in (("speedup", "Predicted speed-up"), ("parallel", "Memory"), ("lineage", "SVD 0.4")):
        page.locator(f".t-tab-{tab}").click()
        expect(svg).to_contain_text(words)
        expect(svg).to_have_attribute("aria-label", re.compile(f"of {count} variants"))
    expect(points).to_have_count(count)
    points.nth(1).dispatch_event("click")  # what was measured here comes first
    expect(page.locator("tr.t-variant.wb-selected")).to_contain_text("SVD 0.4")
    page.locator(".t-tab-tradeoff").click()
    expect(page.locator(".t-rule-y")).to_be_visible()


def drag_a_limit(page: Any) -> None:
    """The rule and the text are one limit, whichever is moved; the keyboard moves the rule too."""
    from playwright.sync_api import expect

    typed, rule = page.locator(".t-limit"), page.locator(".t-rule-y")
    rule.evaluate("node => node.scrollIntoView({block: 'center'})")  # not beneath the status strip
    box = rule.bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 12, box["y"] - 60, steps=6)
    page.mouse.up()
    expect(typed).to_have_value(re.compile(r"^accuracy >= 0\.\d+$"))
    expect(page.locator(".t-limit-said")).to_contain_text("within the limits")
    dragged = typed.input_value()
    rule.focus()
    page.keyboard.press("ArrowUp")
    expect(typed).not_to_have_value(dragged)
    # Until the last word of the rule is in the text: typed before that, the two would run into each other.
    page.wait_for_function(
        """() => Math.abs(100 * document.querySelector(".t-limit").value.split(">=")[1]
            - document.querySelector(".t-rule-y").ariaValueText.match(/[0-9.]+/)[0]) < 0.01"""
    )
    typed.fill("speedup >= 1.25")
    expect(page.locator(".t-rule-x")).to_have_attribute("aria-valuetext", "≥ 1.25×")
    expect(rule).to_have_attribute("aria-valuetext", "none")
    page.locator(".t-rule-x").focus()
    page.keyboard.press("Delete")
    expect(typed).to_have_value("")


def limit_and_compare(page: Any) -> None:
    """A limit greys and hides nothing; a comparison names the step that only one has."""
    from playwright.sync_api import expect

    count = page.locator("tr.t-variant").count()
    page.locator(".t-limit").fill("macs < 1")
    expect(page.locator("tr.t-variant.wb-grey")).to_have_count(count)
    expect(page.locator(".t-chart svg .points_marks path")).to_have_count(count)
    page.locator(".t-limit").fill("accuracy is good")
    expect(page.locator(".t-limit-said")).to_contain_text("cannot be read")
    page.locator(".t-limit").fill("")
    expect(page.locator("tr.t-variant.wb-grey")).to_have_count(0)
    page.locator(".t-compare").select_option(label="original")
    expect(page.locator(".t-comparison")).to_contain_text("SVD(rank=0.4)")
    page.locator(".t-answers-run").click()
    expect(page.locator(".t-answers")).to_contain_text("answers differ", timeout=60_000)
    expect(page.locator(".t-answers .t-flip img").first).to_have_attribute("alt", re.compile("taken for .* now for "))
    page.locator(".t-compare").select_option(label="none")


def diagnose(page: Any) -> None:
    """Every layer's error, and a button that gives the recipe with one of them restored."""
    from playwright.sync_api import expect

    page.locator(".t-diagnose").click()
    expect(page.locator(".t-strip svg")).to_be_visible(timeout=150_000)
    flipped = page.locator(".wb-p-diagnosis .t-flip img")
    expect(flipped.first).to_be_visible()
    assert flipped.first.evaluate("image => image.naturalWidth") == 28
    restore = page.locator(".t-restore").first
    name = str(restore.get_attribute("aria-label")).removeprefix("Restore ")
    restore.click()
    expect(page.locator(".t-status")).to_contain_text(f"{name} stay as in the original")
    expect(page.locator(".t-scope")).not_to_contain_text("every layer")
    page.locator(".t-undo").click()
    expect(page.locator(".t-scope")).to_contain_text("every layer")


def is_accessible(page: Any, theme: str, within: str | None = None) -> None:
    """axe-core finds nothing serious or critical in the whole document, or in the part that a selector names."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=within).response["violations"]
    grave = [one for one in found if one["impact"] in {"serious", "critical"}]
    bad = [(one["id"], [node["html"] for node in one["nodes"]]) for one in grave]
    assert not bad, f"{theme}: {bad}"


def export_and_download(page: Any, folder: Path) -> None:
    """What arrives in the browser is what the manifest vouches for."""
    from playwright.sync_api import expect

    page.locator(".t-export").click()
    expect(page.locator(".t-verified")).to_contain_text("read back", timeout=60_000)
    expect(page.locator(".wb-export .t-take-html")).to_be_enabled()  # the report, beside the files
    for name in ("model.onnx", "manifest.json"):
        with page.expect_download() as download:
            page.locator(".t-download", has_text=name).click()
        download.value.save_as(folder / name)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest() == manifest["files"]["model.onnx"]
    assert manifest["recipe"][0]["step"] == "SVD"


def reload_and_find_it_again(page: Any) -> None:
    """What was measured is there again, and so is a job: it goes on while the page is away."""
    from playwright.sync_api import expect

    page.locator(".t-add-step").select_option("Quantize")
    page.locator(".t-add").click()
    page.locator(".t-run:text('int8')").click()
    expect(page.locator(".t-job[data-state=running]").first).to_be_visible()
    page.reload()
    job = page.locator(".t-job")
    expect(job).to_contain_text("int8", timeout=60_000)
    expect(page.locator("tr.t-variant", has_text="SVD 0.4").first).to_be_visible()
    chosen = page.locator("tr.t-variant.wb-selected")
    expect(chosen).to_contain_text("int8", timeout=150_000)
    expect(job).to_have_attribute("data-state", "done")


def whole(page: Any, folder: Path) -> None:
    """From load to export; what fails is told with what the page said then."""
    parts = (
        see_the_first_drawing,
        choose_a_model,
        look_at_the_data_and_send_what_is_refused,
        add_a_step_and_slide,
        scope_by_a_layer_and_take_it_back,
        switch_off_and_on,
        a_wrong_value_is_a_sentence,
        run_the_recipe,
        name_it_and_say_why,
        select_in_chart_and_table,
        look_at_the_other_charts,
        drag_a_limit,
        limit_and_compare,
        diagnose,
        time_the_layers,
    )
    part: Any = None
    try:
        for part in parts:
            part(page)
        part = export_and_download
        part(page, folder)
    except Exception as error:
        said = " | ".join(page.locator(".t-status, .t-job").all_inner_texts())
        raise AssertionError(f"{part.__name__} at {page.viewport_size}; the page says: {said}") from error
