"""Whether what `study.expect` promises comes true: recipes run one after another in one study, each promised before.

    python benchmarks/expectation.py [--model fashion-mobilenet]

One row a recipe, as a Markdown table: what was promised, what it took, and whether that lies in the promise. The first
of its kind has a wide promise, and is marked; later ones are promised by what those before took.
"""

from __future__ import annotations

import argparse
import time

import workbench as wb
from workbench.expectation import Expectation
from workbench.meter import BYTES

RECIPES: tuple[wb.Recipe, ...] = (
    wb.SVD(0.5).recipe(),
    wb.SVD(0.3).recipe(),
    wb.Quantize("int8").recipe(),
    wb.SVD(0.4) | wb.Quantize("int8"),
    wb.PruneChannels(0.3).recipe(),
    wb.PruneChannels(0.5) | wb.Quantize("int8"),
    wb.PruneChannels(0.6) | wb.SVD(0.5) | wb.Quantize("int8"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="fashion-mobilenet")
    args = parser.parse_args()
    study = wb.Study(wb.load(args.model), wb.data("fashion-mnist"), keep=False)
    study.run(wb.Recipe(), progress=False)
    print("| recipe | promised, s | took, s | promised, MB | took, MB | kept |\n|" + " --- |" * 6)
    for recipe in RECIPES:
        promise = study.expect(recipe)
        assert promise is not None
        begun = time.monotonic()
        variant = study.run(recipe, progress=False)
        print(row(recipe.name, promise, time.monotonic() - begun, variant.taken.get(BYTES, 0.0) / 1e6), flush=True)


def row(name: str, promise: Expectation, seconds: float, size: float) -> str:
    """One recipe's promise beside what it took."""
    low, high = promise.seconds
    least, most = (one / 1e6 for one in promise.memory or (0.0, 0.0))
    kept = "yes" if low <= seconds <= high and size <= most else "no"
    said = f"{kept}{', first of its kind' if promise.unseen else ''}"
    return f"| {name} | {low:.0f} to {high:.0f} | {seconds:.0f} | {least:.0f} to {most:.0f} | {size:.0f} | {said} |"


if __name__ == "__main__":
    main()
