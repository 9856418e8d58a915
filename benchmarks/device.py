"""What the device's page says against the same WebAssembly in a plain loop, in a headless Chromium as the device.

    python benchmarks/device.py                    # ten measurements of one network, and one throttled four times
    python benchmarks/device.py --network fashion-vgg --runs 3

Printed for each run: the page's ratio with its interval, the plain loop's ratio, whether the interval holds it; then
the standard deviation of the page's ratios, how often they were covered, the seconds until the first figure, and what
a processor that is throttled four times through the DevTools protocol says. With `--mbit 20` the network between the
page and the desk is as slow as that.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from typing import Any

import workbench as wb
from workbench.devices.invitation import Invitation

#: The plain loop: both networks, alternately, hundreds of runs each; nothing of the page's own code.
LOOP = """
async ([seconds, offer]) => {
  const ort = await import("./ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./", location.href).href;
  ort.env.wasm.numThreads = 1;
  const bytes = await Promise.all([0, 1].map(async (k) => (await fetch(`network/${k}`)).arrayBuffer()));
  const values = new Float32Array(await (await fetch("input/0")).arrayBuffer());
  const shape = [1, ...offer.inputs[0].shape];
  const one = values.subarray(0, shape.reduce((a, b) => a * b, 1));
  const sums = [[], []];
  const sessions = [];
  for (const file of bytes) sessions.push(await ort.InferenceSession.create(new Uint8Array(file)));
  const feeds = sessions.map((s) => ({ [s.inputNames[0]]: new ort.Tensor("float32", one, shape) }));
  const until = performance.now() + 1000 * seconds;
  for (let warm = true; performance.now() < until; warm = false)
    for (let k = 0; k < 2; k++) {
      const begun = performance.now();
      for (let i = 0; i < 20; i++) await sessions[k].run(feeds[k]);
      if (!warm) sums[k].push((performance.now() - begun) / 20);
    }
  const middle = (a) => a.sort((x, y) => x - y)[a.length >> 1];
  return middle(sums[0]) / middle(sums[1]);
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="fashion-mobilenet")
    parser.add_argument("--step", default="int8", help="what the variant is made with: a precision")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--loop", type=float, default=6.0, help="seconds of the plain loop")
    parser.add_argument("--mbit", type=float, default=0.0, help="how fast the network to the desk is")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    model = wb.load(given.network)
    study = wb.Study(model, wb.data("fashion-mnist"))
    variant = study.run(wb.Quantize(given.step), progress=False)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    print(f"{given.network}, {variant.name}; natively {variant['speedup']}")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        found = [measured(browser, study, variant, given) for _ in range(given.runs)]
        throttled = measured(browser, study, variant, given, slower=4)
        browser.close()
    values = [page.value for page, _, _ in found]
    spread = statistics.stdev(values) / statistics.mean(values) if len(values) > 1 else 0.0
    covered = sum(page.low <= loop <= page.high for page, loop, _ in found)
    print(f"page's ratio: sd {spread:.1%}, covered {covered} of {len(found)}")
    print(f"seconds to the first figure: {max(seconds for *_, seconds in found):.1f} at most")
    ratio, middle = throttled[0], statistics.median(values)
    print(f"throttled 4 times: {ratio}; holds the median of the others, {middle:.3f}: {ratio.holds(middle)}")


def measured(browser: Any, study: wb.Study, variant: wb.Variant, given: Any, slower: float = 1) -> Any:
    """The page's ratio, the plain loop's in the same browser just after, and seconds until the first figure."""
    context = browser.new_context()
    page = context.new_page()
    tools = context.new_cdp_session(page)
    if slower != 1:
        tools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    if given.mbit:
        rate = given.mbit * 1e6 / 8
        tools.send("Network.enable")
        how = {"offline": False, "latency": 5, "downloadThroughput": rate, "uploadThroughput": rate}
        tools.send("Network.emulateNetworkConditions", how)
    with study.device(variant) as invitation:
        begun = time.monotonic()
        page.goto(invitation.address)
        page.wait_for_selector("#tables td", timeout=300_000)
        first = time.monotonic() - begun
        finish(page, invitation)
        loop = page.evaluate(LOOP, [given.loop, invitation.offer.described()])
        ratio = invitation.devices[0].rows[0].speedup[variant.id]
    context.close()
    print(f"  page {ratio}  loop {loop:.3f}  first figure {first:.1f} s", flush=True)
    return ratio, loop, first


def finish(page: Any, invitation: Invitation) -> None:
    """Wait for the row of one thread, and stop the page there."""
    while not (invitation.devices and len(invitation.devices[0].rows[0].rounds) >= 3):
        page.wait_for_timeout(200)
    page.wait_for_timeout(1500)
    page.click("#stop")
    page.wait_for_selector("#status:has-text('Done.')", timeout=120_000)


if __name__ == "__main__":
    main()
