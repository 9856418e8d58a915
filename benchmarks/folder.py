"""A folder of JPEGs through calibration and evaluation, against a bare DataLoader loop over the same files and network.

    python benchmarks/folder.py [--images 50000] [--side 224] [--distinct 500] [--network small] [--json folder.json]

Makes the pictures (1,000 or a quarter of them for calibration, the others for the test; so many distinct ones, under
several names each), then in a process of its own each: the bare loop (torchvision-like decoding by Pillow, ONNX
Runtime, top-1), and the same through `wb.data`, int8's calibration and `measure.accuracy.evaluate`. Prints processor
seconds of both, their ratio, and the peak memory of each process. The small network leaves decoding the most to do.
`WORKBENCH_CACHE_GB=0` measures without the cache of decoded pixels; the first pass fills it, the second reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, CALIBRATION = 10, 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make(folder: Path, images: int, side: int, distinct: int) -> None:
    """Pictures of smooth noise, about as large as photographs, in folders of classes; some under several names."""
    from PIL import Image

    random = np.random.default_rng(0)
    made: list[Path] = []
    for index in range(images):
        split = "calibration" if index < min(CALIBRATION, images // 4) else "test"
        place = folder / split / f"class{index % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{index:06}.jpg"
        if index < distinct:
            small = random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
            Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(file, quality=90)
            made.append(file)
        else:
            os.link(made[index % distinct], file)


def network(path: Path, side: int, *, small: bool) -> None:
    """ResNet-18 (He et al. 2016) with random weights, as ONNX; or three layers of it."""
    import torch
    from torch import nn

    from workbench.onnx_file import write_onnx

    def layer(c_in: int, c_out: int, kernel: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(c_out))

    class Block(nn.Module):
        def __init__(self, c_in: int, c_out: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(layer(c_in, c_out, 3, stride), nn.ReLU(), layer(c_out, c_out, 3, 1))
            self.way = layer(c_in, c_out, 1, stride) if stride > 1 else nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.body(x) + self.way(x))

    torch.manual_seed(0)
    widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    blocks = [] if small else [Block(*one) for one in (*widths, (512, 512, 1))]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16 if small else 512, CLASSES))
    first = layer(3, 16, 7, 4) if small else layer(3, 64, 7, 2)
    net = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks, *head)
    write_onnx(net.eval(), torch.zeros(1, 3, side, side), path)


def bare(folder: Path, artefact: Path) -> float:
    """Top-1 by a DataLoader and nothing else, after the same calibration of int8 on 300 pictures."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from workbench.quantization.ranges import activation_ranges  # the same calibration, on what a loop has read
    from workbench.runtimes import runtime

    class Pictures(Dataset[Any]):
        def __init__(self, split: str) -> None:
            self.files = sorted((folder / split).rglob("*.jpg"))

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            with Image.open(self.files[index]) as picture:
                pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255
            inputs = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
            return inputs, int(self.files[index].parent.name.removeprefix("class"))

    import onnx

    from workbench.jobs import Reporter

    some = Pictures("calibration")
    some.files = some.files[:300]
    first = torch.cat([inputs for inputs, _ in DataLoader(some, 100)])
    activation_ranges(onnx.load(str(artefact)), first, "minmax", Reporter())
    session, right, count = runtime().load(artefact), 0, 0
    for inputs, labels in DataLoader(Pictures("test"), 100):
        right += int((session.run(inputs.numpy()).argmax(1) == labels.numpy()).sum())
        count += len(labels)
    return right / count


def through(folder: Path, artefact: Path) -> float:
    """The same through the workbench's own path."""
    import onnx

    import workbench as wb
    from workbench.jobs import Reporter
    from workbench.measure.accuracy import evaluate
    from workbench.quantization.ranges import activation_ranges
    from workbench.step import Context
    from workbench.steps.quantize import calibration_inputs

    data = wb.data(folder, mean=MEAN, std=STD)
    context = Context(data["test"].example, calibration=data["calibration"])
    activation_ranges(onnx.load(str(artefact)), calibration_inputs(context, "int8"), "minmax", Reporter())
    return evaluate(artefact, data["test"]).accuracy.value


def apart(what: str, folder: Path, artefact: Path) -> dict[str, Any]:
    """Run one of the two in a process of its own."""
    command = [sys.executable, __file__, "--run", what, "--folder", str(folder), "--artefact", str(artefact)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(what: str, folder: Path, artefact: Path) -> None:
    import torch

    import workbench.data.sources
    import workbench.measure.accuracy
    import workbench.steps.quantize  # noqa: F401  # what loads is not what is measured

    torch.set_num_threads(1)
    started = time.process_time()
    value = {"bare": bare, "workbench": through}[what](folder, artefact)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"what": what, "accuracy": value, "seconds": round(seconds, 2), "peak_mb": round(peak)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--distinct", type=int, default=10**9, help="pictures that are made; the others are links")
    parser.add_argument("--network", choices=["resnet18", "small"], default="resnet18")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", choices=["bare", "workbench"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--artefact", type=Path)
    given = parser.parse_args()
    if given.run:
        run(given.run, given.folder, given.artefact)
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        make(root / "pictures", given.images, given.side, given.distinct)
        network(root / "net.onnx", given.side, small=given.network == "small")
        names = [("bare", "bare"), ("first pass", "workbench"), ("second pass", "workbench"), ("bare again", "bare")]
        rows = {label: apart(what, root / "pictures", root / "net.onnx") for label, what in names}
        kept = sum(path.stat().st_blocks * 512 for path in (root / "cache").rglob("*") if path.is_file())
    base = (rows["bare"]["seconds"] + rows["bare again"]["seconds"]) / 2
    for label, row in rows.items():
        print(
            f"{label:12} {row['seconds']:8.1f} s  {row['seconds'] / base:5.2f} of the bare loop  "
            f"peak {row['peak_mb']:5} MB  accuracy {row['accuracy']:.4f}"
        )
    print(f"{given.network}; {given.images} pictures of {given.side} x {given.side}; kept: {kept / 1e6:.0f} MB")
    if given.json:
        given.json.write_text(json.dumps({"images": given.images, "rows": rows, "kept_bytes": kept}, indent=1))


if __name__ == "__main__":
    main()
