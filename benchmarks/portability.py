"""The portability matrix of a bundled network, in float and in int8, over every runtime that is installed.

    python benchmarks/portability.py [--model fashion-resnet] [--threads 1 2] [--images 1000]

Accuracy and differing answers are taken on the first test images; speed at batch 1 as a ratio to ONNX
Runtime with as many threads, in turns in one process, with its 95 % interval.
"""

from __future__ import annotations

import argparse

import pandas as pd

import workbench as wb

SHOWN = ["runtime", "threads", "accuracy", "disagreement", "largest_logit_difference", "latency_ms", "speed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fashion-resnet")
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--images", type=int, default=1000)
    args = parser.parse_args()
    study = wb.Study(wb.load(args.model), wb.data("fashion-mnist"), keep=False)
    for recipe in (wb.Recipe(), wb.Recipe((wb.Quantize("int8"),))):
        variant = study.run(recipe, progress=False)
        frame = study.portability(variant, threads=args.threads, images=args.images, progress=False)
        ends = zip(frame.speedup, frame.speedup_low, frame.speedup_high, strict=True)
        frame["speed"] = ["" if pd.isna(v) else f"{v:.2f} ({low:.2f} to {high:.2f})" for v, low, high in ends]
        print(f"\n{args.model}, {variant.name}")
        print(frame[SHOWN].to_string(index=False, float_format="{:.4g}".format, na_rep=""))
        for name, note in zip(frame.runtime, frame.note, strict=True):
            if note:
                print(f"  {name}: {note}")


if __name__ == "__main__":
    main()
