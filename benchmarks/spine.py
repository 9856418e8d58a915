"""The table of the three bundled networks: original, Tucker 0.5, int8, and both, as Markdown.

    python benchmarks/spine.py [--models fashion-vgg fashion-resnet fashion-mobilenet] [--study FOLDER]

Every figure is of the exported ONNX file in ONNX Runtime: accuracy on the 10,000 test images with
Wilson's 95 % interval, latency at batch 1 as a ratio to the original, taken in turns in one process,
with its 95 % interval. With --study, what was measured before is kept and reused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import workbench as wb

RECIPES = (
    wb.Recipe(),
    wb.Tucker(rank=0.5),
    wb.Quantize("int8"),
    wb.Tucker(rank=0.5) | wb.Quantize("int8"),
)
HEAD = ("model", "variant", "accuracy, %", "MACs, M", "memory access, MB", "file, kB", "latency, ms", "times as fast")


def row(variant: wb.Variant) -> tuple[str, ...]:
    """One line of the table."""
    accuracy, speedup = variant["accuracy"], variant["speedup"]
    return (
        variant.model.name,
        variant.name,
        f"{accuracy.value:.2%} ({accuracy.low:.2%} to {accuracy.high:.2%})".replace("%", ""),
        f"{variant['macs'].value / 1e6:.1f}",
        f"{variant['memory_access_bytes'].value / 1e6:.2f}",
        f"{variant['file_bytes'].value / 1e3:.0f}",
        f"{variant['latency_ms'].value:.3f}",
        f"{speedup.value:.2f} ({speedup.low:.2f} to {speedup.high:.2f})" if variant.recipe.steps else "1",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("fashion-vgg", "fashion-resnet", "fashion-mobilenet")
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--study", type=Path)
    args = parser.parse_args()
    data = wb.data("fashion-mnist")
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD))
    for name in args.models:
        study = wb.Study(wb.load(name), data, path=args.study / name if args.study else None, keep=False)
        for recipe in RECIPES:
            variant = study.run(recipe, progress=False)
            print("| " + " | ".join(row(variant)) + " |", flush=True)
            for note in variant.notes:
                print(f"<!-- {variant.name}: {note} -->", flush=True)


if __name__ == "__main__":
    main()
