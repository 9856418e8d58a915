"""Measures the small studies that the first page shows, and writes them to workbench/studies.

python benchmarks/published_study.py [fashion-vgg ...]
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import workbench as wb
from workbench.measure.machine import machine
from workbench.published import FOLDER, publish

RECIPES = (
    wb.Quantize("fp16").recipe(),
    wb.Quantize("int8").recipe(),
    wb.Quantize("int4").recipe(),
    wb.Tucker(rank=0.5).recipe(),
    wb.Tucker(rank=0.5) | wb.Quantize("int8"),
    wb.Tucker(rank=0.25) | wb.Quantize("int8"),
    wb.SVD(rank=0.5) | wb.Quantize("int8"),
    wb.Prune(0.7).recipe(),
)


def main() -> None:
    names = sys.argv[1:] or list(wb.catalog().query("source == 'bundled'")["name"])
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        study = wb.Study(wb.load(name), wb.data("fashion-mnist"), keep=False)
        for recipe in (wb.Recipe(), *RECIPES):
            variant = study.run(recipe, progress=False)
            print(f"{name}: {variant.name}, {variant['accuracy']}, {variant['speedup']}", flush=True)
        text = publish(study, str(machine()), datetime.now(UTC).date().isoformat())
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{len(text):,} bytes for {name}")


if __name__ == "__main__":
    main()
